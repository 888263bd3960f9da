//! `GET /internal/users/{userId}/export` and `GET /internal/spaces/{spaceId}/export`: everything that is kept of a user or a
//! space.
//!
//! - In: `X-Service-Key`.
//! - Out: 200 `application/x-ndjson`, as `ndjson.rs` writes it, as fast as it is read. What fails later breaks the answer
//!   off. 401 for the key, 400 for the name; 503 if the store is away, or if there are as many exports as may be.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::response::Response;
use futures_util::{StreamExt, TryStreamExt, stream};
use sync_protocol::Audience;

use crate::error::Refusal;
use crate::service::Shared;
use crate::{internal, ndjson, reply};

/// How many exports there may be at a time on one node.
pub(crate) const EXPORTS: usize = 4;

pub(crate) async fn of_user(
    State(service): State<Shared>,
    request: Request,
) -> Result<Response, Refusal> {
    let (mut parts, _) = request.into_parts();
    internal::caller(&service, &parts.headers)?;
    let of = internal::user(&mut parts).await?;
    export(service, &parts, of).await
}

pub(crate) async fn of_space(
    State(service): State<Shared>,
    request: Request,
) -> Result<Response, Refusal> {
    let (mut parts, _) = request.into_parts();
    internal::caller(&service, &parts.headers)?;
    let of = internal::space(&mut parts).await?;
    export(service, &parts, of).await
}

async fn export(service: Shared, parts: &Parts, of: Audience) -> Result<Response, Refusal> {
    internal::note(parts, &of);
    let permit = Arc::clone(&service.exports).try_acquire_owned();
    let permit = permit.map_err(|_| Refusal::Busy)?;
    let mut pages = Box::pin(ndjson::export(
        Arc::clone(&service.store),
        of,
        service.now(),
    ));
    // As long as nothing is said, a failure is an answer of its own.
    let first = pages.next().await.expect("there is a first line")?;
    let rest = pages.inspect_err(|error| tracing::error!(%error, "an export is broken off"));
    let pages = stream::iter([Ok(first)]).chain(rest).map(move |page| {
        let _kept = &permit;
        page
    });
    Ok(reply::lines(Body::from_stream(pages)))
}
