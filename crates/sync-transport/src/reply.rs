//! Answers: JSON that no cache keeps.

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use serde::Serialize;

const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
/// The kind of a stream.
pub(crate) const EVENT_STREAM: &str = "text/event-stream";

const JSON: HeaderValue = HeaderValue::from_static("application/json");

const NDJSON: HeaderValue = HeaderValue::from_static("application/x-ndjson");

/// 200 with this body.
pub(crate) fn ok(body: &impl Serialize) -> Response {
    with_status(StatusCode::OK, body)
}

/// JSON with this status.
pub(crate) fn with_status(status: StatusCode, body: &impl Serialize) -> Response {
    let body = serde_json::to_vec(body).expect("texts, numbers and kept JSON are always JSON");
    raw(status, JSON, body)
}

/// JSON that is text already.
pub(crate) fn json_text(body: String) -> Response {
    raw(StatusCode::OK, JSON, body)
}

/// Any text.
pub(crate) fn text(kind: &'static str, body: String) -> Response {
    raw(StatusCode::OK, HeaderValue::from_static(kind), body)
}

/// Lines of JSON, as they come.
pub(crate) fn lines(body: Body) -> Response {
    raw(StatusCode::OK, NDJSON, body)
}

/// Server-Sent Events, as long as they last.
pub(crate) fn events(body: Body) -> Response {
    let mut response = raw(StatusCode::OK, HeaderValue::from_static(EVENT_STREAM), body);
    let headers = response.headers_mut();
    headers.insert(
        CACHE_CONTROL,
        HeaderValue::from_static("no-cache, no-store"),
    );
    // Proxies that gather answers are asked not to.
    headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    response
}

fn raw(status: StatusCode, kind: HeaderValue, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, kind);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
