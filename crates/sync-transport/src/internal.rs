//! The way in for other services: `/internal/…`, with `X-Service-Key` instead of a token, and without a subscription.

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};
use sync_access::ServiceName;
use sync_protocol::{Audience, SpaceId, UserId};

use crate::error::Refusal;
use crate::log_line::Notes;
use crate::service::Service;

const X_SERVICE_KEY: HeaderName = HeaderName::from_static("x-service-key");

/// The service that calls.
///
/// # Errors
///
/// [`Refusal::ServiceKey`] if it has no key, or not one that counts; which of the two is not told.
pub(crate) fn caller(service: &Service, headers: &HeaderMap) -> Result<ServiceName, Refusal> {
    let mut values = headers.get_all(X_SERVICE_KEY).iter();
    let only = values.next().filter(|_| values.next().is_none());
    let known = only.and_then(|key| service.service_keys.identify(key.as_bytes()));
    known.ok_or(Refusal::ServiceKey)
}

/// A name in the path, decoded.
pub(crate) async fn segment(parts: &mut Parts, name: &str) -> Result<String, Refusal> {
    let params = RawPathParams::from_request_parts(parts, &()).await;
    let params = params.map_err(|_| Refusal::Parameter(format!("the {name} is not UTF-8")))?;
    let found = params.iter().find(|(own, _)| *own == name);
    Ok(found.map_or_else(String::new, |(_, value)| value.to_owned()))
}

/// A user by name.
pub(crate) fn user_id(text: &str) -> Result<UserId, Refusal> {
    UserId::new(text).map_err(|error| Refusal::Parameter(format!("the user {error}")))
}

/// The user that the path names.
pub(crate) async fn user(parts: &mut Parts) -> Result<Audience, Refusal> {
    let user = user_id(&segment(parts, "user_id").await?)?;
    Ok(Audience::User(user))
}

/// The space that the path names.
pub(crate) async fn space(parts: &mut Parts) -> Result<Audience, Refusal> {
    let space = SpaceId::new(&segment(parts, "space_id").await?);
    let space = space.map_err(|error| Refusal::Parameter(format!("the space {error}")))?;
    Ok(Audience::Space(space))
}

/// Notes for the log whom a request is about.
pub(crate) fn note(parts: &Parts, of: &Audience) {
    if let (Some(notes), Audience::User(user)) = (Notes::of(&parts.extensions), of) {
        notes.user(user);
    }
}
