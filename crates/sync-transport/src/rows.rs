//! The routes of the rows dialect, and what they have in common: a caller is a user and the device that its token names.
//!
//! In this order: the token (401), its device (401), whether its user asks too often (429). Then each route looks at what was
//! asked (400) and at the subscription (402). Grants have no say: rows are personal.

mod download;
mod failures;
mod retry;
mod schema_version;
mod upload;

use std::time::Instant;

use axum::Router;
use axum::extract::Query;
use axum::http::Uri;
use axum::http::request::Parts;
use axum::routing::{MethodRouter, get, post};
use sync_access::TokenError;
use sync_store::{Caller, StoreError};

use crate::admit::{bearer, count};
use crate::error::Refusal;
use crate::metrics::Call;
use crate::service::{Service, Shared};

/// The routes.
pub(crate) fn routes() -> Router<Shared> {
    Router::new()
        .route("/sync/upload", post(upload::upload))
        .route("/sync/download", only(get(download::download)))
        .route(
            "/sync/schema-version",
            only(get(schema_version::schema_version)),
        )
        .route("/admin/materialize-failures", only(get(failures::failures)))
        .route("/admin/materialize-failures/retry", post(retry::retry))
}

/// Clients of this dialect know that a `HEAD` is refused.
fn only(get: MethodRouter<Shared>) -> MethodRouter<Shared> {
    get.head(not_get).fallback(not_get)
}

async fn not_get() -> Refusal {
    Refusal::NotGet
}

/// Lets a device in.
///
/// # Errors
///
/// The first thing that is wrong, in the order of this file's head.
async fn admit(service: &Shared, parts: &Parts) -> Result<Caller, Refusal> {
    let identity = service
        .verifier
        .verify_rows(bearer(&parts.headers)?)
        .await?;
    let reason = "the token names no device: rows clients need one with the claim did";
    let device = identity.device.ok_or(TokenError::Invalid { reason });
    count(service, parts, &identity.user)?;
    Ok(Caller {
        user: identity.user,
        client: device?,
    })
}

/// The query of a request; of a parameter given twice the first counts.
struct Parameters(Vec<(String, String)>);

impl Parameters {
    fn of(uri: &Uri) -> Result<Self, Refusal> {
        let pairs = Query::try_from_uri(uri);
        let Query(pairs) =
            pairs.map_err(|_| Refusal::Request("the query cannot be read".to_owned()))?;
        Ok(Self(pairs))
    }

    fn first(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(own, _)| own == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// Asks the store, and counts how long it took.
async fn ask<T>(
    service: &Service,
    call: Call,
    store: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let began = Instant::now();
    let answered = store.await;
    let failed = answered.as_ref().err();
    service.metrics.waited(call, began.elapsed(), failed);
    answered
}
