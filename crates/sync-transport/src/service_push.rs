//! `POST /internal/sync/{appId}?user=ID`: takes a changeset of another service on behalf of a user.
//!
//! - In: `X-Service-Key`; `user`, the `sub` of the user's tokens; a changeset as in a push. What it writes is the user's, by
//!   the client `service:<name>`, whatever the body calls itself.
//! - Out: as of a push; 401 for the key, then 400 for app and user.

use axum::extract::{Query, Request, State};
use axum::http::Uri;
use axum::http::request::Parts;
use axum::response::Response;
use sync_protocol::{ClientId, Millis, UserId};

use crate::admit::{Admitted, app_id};
use crate::error::Refusal;
use crate::log_line::Notes;
use crate::service::{Service, Shared};
use crate::{body, internal, push};

pub(crate) async fn service_push(
    State(service): State<Shared>,
    request: Request,
) -> Result<Response, Refusal> {
    let (mut parts, packed) = request.into_parts();
    match admit(&service, &mut parts).await {
        Ok(admitted) => push::take(service, admitted, &parts.headers, packed).await,
        Err(refusal) => {
            body::drain(&parts.headers, packed).await;
            Err(refusal)
        }
    }
}

async fn admit(service: &Service, parts: &mut Parts) -> Result<Admitted, Refusal> {
    let app = app_id(parts).await?;
    let name = internal::caller(service, &parts.headers)?;
    let (app, user) = (app.map_err(Refusal::AppId)?, user(&parts.uri)?);
    let client = ClientId::new(&format!("service:{name}"));
    let client = client.map_err(|error| Refusal::ClientId(error.to_string()))?;
    if let Some(notes) = Notes::of(&parts.extensions) {
        notes.user(&user);
        notes.app(&app);
    }
    service.settle(&user).await;
    Ok(Admitted {
        user,
        until: Millis(i64::MAX),
        app,
        client: Some(client),
    })
}

fn user(uri: &Uri) -> Result<UserId, Refusal> {
    let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri)
        .map_err(|_| Refusal::Parameter("the query cannot be read".to_owned()))?;
    let named = pairs.iter().find(|(name, _)| name == "user");
    let (_, user) = named.ok_or_else(|| Refusal::Parameter("missing user parameter".to_owned()))?;
    internal::user_id(user)
}
