//! Who calls, for which app, from which client: what push, pull and stream want to know before anything else.
//!
//! In this order: a reserved app id is no path at all (404), the token (401), whether its user asks too often (429), the app id
//! (400), the subscription (402), `X-Client-Id` (400). Then the grants are brought up to what the membership service says.

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};
use sync_access::{Identity, TokenError, bearer_token};
use sync_protocol::{AppId, ClientId, IdentError, Millis, UserId};

use crate::error::Refusal;
use crate::log_line::Notes;
use crate::service::{Service, Shared};

/// Segments that are routes of their own, and so no app ids, however they are spelled.
pub(crate) const RESERVED_APP_IDS: [&str; 3] = ["upload", "download", "schema-version"];

const X_CLIENT_ID: HeaderName = HeaderName::from_static("x-client-id");

/// A caller that may come in.
#[derive(Debug)]
pub(crate) struct Admitted {
    /// The `sub` of its token.
    pub(crate) user: UserId,
    /// Until when its token counts.
    pub(crate) until: Millis,
    /// The app of the path, decoded.
    pub(crate) app: AppId,
    /// What `X-Client-Id` says, if it says something.
    pub(crate) client: Option<ClientId>,
}

/// Lets a caller in.
///
/// # Errors
///
/// The first thing that is wrong, in the order of this file's head.
pub(crate) async fn admit(service: &Shared, parts: &mut Parts) -> Result<Admitted, Refusal> {
    let app = app_id(parts).await?;
    let identity = identify(service, &parts.headers).await?;
    let until = service.verifier.counts_until(&identity, service.now());
    let user = identity.user;
    count(service, parts, &user)?;
    let app = app.map_err(Refusal::AppId)?;
    Notes::of(&parts.extensions).inspect(|notes| notes.app(&app));
    if !service.is_active(&user, Some(&app)).await {
        return Err(Refusal::Inactive);
    }
    let client = client_id(&parts.headers)?;
    service.settle(&user).await;
    Ok(Admitted {
        user,
        until,
        app,
        client,
    })
}

/// The app of the path, or why it is none; the latter is for those with a token only.
pub(crate) async fn app_id(parts: &mut Parts) -> Result<Result<AppId, IdentError>, Refusal> {
    // A segment that is no UTF-8 once it is decoded is refused like one with a control character.
    let Ok(params) = RawPathParams::from_request_parts(parts, &()).await else {
        return Ok(Err(IdentError::Control));
    };
    let text = params.iter().find(|(name, _)| *name == "app_id");
    let text = text.map_or("", |(_, text)| text);
    if RESERVED_APP_IDS.contains(&text) {
        return Err(Refusal::UnknownPath);
    }
    Ok(AppId::new(text))
}

async fn identify(service: &Service, headers: &HeaderMap) -> Result<Identity, Refusal> {
    Ok(service.verifier.verify(bearer(headers)?).await?)
}

/// The token of a request.
pub(crate) fn bearer(headers: &HeaderMap) -> Result<&str, TokenError> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    // Of several headers none counts: which one is meant is anybody's guess.
    let only = values.next().filter(|_| values.next().is_none());
    let only = only.ok_or(TokenError::Missing)?;
    bearer_token(Some(only.as_bytes()))
}

/// Notes for the log who calls, and counts the request as that user's.
///
/// # Errors
///
/// [`Refusal::TooOften`].
pub(crate) fn count(service: &Shared, parts: &Parts, user: &UserId) -> Result<(), Refusal> {
    if let Some(notes) = Notes::of(&parts.extensions) {
        notes.user(user);
    }
    let (rates, proxies) = (&service.rates, &service.proxies);
    if rates.spare(proxies, &parts.extensions, &parts.headers) {
        return Ok(());
    }
    let asked = rates.of_user(user);
    asked.map_err(|over| Refusal::TooOften(over, None))
}

/// An empty header is none.
fn client_id(headers: &HeaderMap) -> Result<Option<ClientId>, Refusal> {
    let Some(value) = headers.get(X_CLIENT_ID) else {
        return Ok(None);
    };
    let text = str::from_utf8(value.as_bytes())
        .map_err(|_| Refusal::ClientId("is not UTF-8".to_owned()))?;
    let client = ClientId::new(text).map_err(|error| Refusal::ClientId(error.to_string()))?;
    Ok(Some(client).filter(|client| !client.is_empty()))
}
