//! `POST /internal/memberships/{userId}/changed`: says that the spaces of a user are others than before.
//!
//! - In: `X-Service-Key`. What has changed is not said: the membership service is asked, and what it says counts at once.
//! - Out: 204 when the store has it and whoever listens was told. 401 for the key, 400 for the user; 501 if there is no
//!   membership service to ask, 503 if it did not say: then its next answer counts at once.

use axum::extract::{Request, State};
use axum::http::StatusCode;

use crate::error::Refusal;
use crate::internal;
use crate::service::Shared;

pub(crate) async fn membership_changed(
    State(service): State<Shared>,
    request: Request,
) -> Result<StatusCode, Refusal> {
    let (mut parts, _) = request.into_parts();
    internal::caller(&service, &parts.headers)?;
    let user = internal::user_id(&internal::segment(&mut parts, "user_id").await?)?;
    let memberships = service.memberships.as_ref();
    let memberships = memberships.ok_or(Refusal::NoMemberships)?;
    let told = memberships.announced(&user).await;
    told.map_err(|_| Refusal::Memberships)?;
    Ok(StatusCode::NO_CONTENT)
}
