//! What ends a request that does not end by itself: the time limit, and the net under panics.

use std::any::Any;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::time::timeout;

use crate::error::Refusal;
use crate::service::Shared;

/// Answers 503 when a request has had its time. What it had begun is dropped, but for a push that the store has already:
/// that goes on, happens as a whole or not at all, and can be sent again.
pub(crate) async fn time_limit(
    State(service): State<Shared>,
    request: Request,
    next: Next,
) -> Response {
    let answer = timeout(service.limits.request, next.run(request)).await;
    answer.unwrap_or_else(|_| Refusal::TimeLimit.into_response())
}

/// The answer of a request whose handler panicked. The panic's own text has been written by the hook of the process;
/// here it would come into the log of requests, where nothing of a payload may be.
pub(crate) fn panicked(_panic: Box<dyn Any + Send + 'static>) -> Response {
    Refusal::Broken("a handler panicked".to_owned()).into_response()
}
