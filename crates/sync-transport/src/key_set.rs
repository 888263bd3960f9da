//! `GET /.well-known/jwks.json`: the key set of the development issuer; not there without one.

use axum::extract::State;
use axum::response::Response;

use crate::error::Refusal;
use crate::reply;
use crate::service::Shared;

pub(crate) async fn key_set(State(service): State<Shared>) -> Result<Response, Refusal> {
    let issuer = service.development_issuer.as_ref();
    let issuer = issuer.ok_or(Refusal::UnknownPath)?;
    Ok(reply::json_text(issuer.key_set()))
}
