//! The one line that a request leaves in the log, and its place in the metrics: written when the last byte of its answer
//! has been handed to the connection, or when the client is gone. A stream has its place in the metrics from its head on.
//!
//! A line has no payload, no query, no token, and of the user only a digest.

use std::mem::take;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::{Extensions, HeaderValue, Method};
use axum::response::Response;
use openssl::sha::sha256;
use sync_protocol::{AppId, UserId};

use crate::Metrics;
use crate::error::Failure;
use crate::reply::EVENT_STREAM;

/// The route of all paths that are none.
const UNKNOWN_ROUTE: &str = "unknown";
/// The status of a request whose client went away before there was an answer; it is never sent.
const CLIENT_GONE: u16 = 499;
/// How many bytes of the digest of a user stand in the log.
const USER_BYTES: usize = 6;

/// What a request tells about itself on its way; it travels in the request's extensions.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    user: OnceLock<String>,
    app: OnceLock<String>,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
}

impl Notes {
    pub(crate) fn of(extensions: &Extensions) -> Option<&Self> {
        extensions.get::<Arc<Self>>().map(Arc::as_ref)
    }

    /// Who it is, once that is known.
    pub(crate) fn user(&self, user: &UserId) {
        let digest = sha256(user.as_str().as_bytes());
        let hex = digest[..USER_BYTES]
            .iter()
            .map(|byte| format!("{byte:02x}"));
        let _ = self.user.set(hex.collect());
    }

    /// Which app, once somebody is admitted to it.
    pub(crate) fn app(&self, app: &AppId) {
        let _ = self.app.set(app.as_str().escape_debug().to_string());
    }

    pub(crate) fn received(&self, bytes: usize) {
        add(&self.bytes_in, bytes);
    }

    pub(crate) fn sent(&self, bytes: usize) {
        add(&self.bytes_out, bytes);
    }
}

fn add(count: &AtomicU64, bytes: usize) {
    count.fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Ordering::Relaxed);
}

/// A request that is not over yet. Dropping it writes the line.
pub(crate) struct LogLine {
    began: Instant,
    metrics: Metrics,
    method: &'static str,
    route: String,
    request_id: HeaderValue,
    notes: Arc<Notes>,
    status: u16,
    failure: Option<Failure>,
    /// Whether it is not counted yet.
    is_open: bool,
}

impl LogLine {
    pub(crate) fn begin(
        metrics: &Metrics,
        request: &Request,
        request_id: HeaderValue,
        notes: Arc<Notes>,
    ) -> Self {
        let route = request.extensions().get::<MatchedPath>();
        metrics.began();
        Self {
            began: Instant::now(),
            metrics: metrics.clone(),
            method: known(request.method()),
            route: route.map_or(UNKNOWN_ROUTE, MatchedPath::as_str).to_owned(),
            request_id,
            notes,
            status: CLIENT_GONE,
            failure: None,
            is_open: true,
        }
    }

    /// The head of the answer is there.
    pub(crate) fn answered(&mut self, response: &Response) {
        self.status = response.status().as_u16();
        self.failure = response.extensions().get().cloned();
        let kind = response.headers().get(CONTENT_TYPE);
        if kind.is_some_and(|kind| kind == EVENT_STREAM) {
            // A stream is answered now. How long it stays says nothing of how fast anything is.
            self.count();
        }
    }

    /// Takes its place in the metrics, once.
    fn count(&mut self) {
        if !take(&mut self.is_open) {
            return;
        }
        let took = self.began.elapsed();
        self.metrics
            .ended(self.method, &self.route, self.status, took);
    }
}

/// Methods that nobody has heard of share one name: names are the client's to choose, and labels cost memory.
fn known(method: &Method) -> &'static str {
    let known = [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::DELETE,
        Method::OPTIONS,
        Method::PATCH,
    ];
    let names = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"];
    let place = known.iter().position(|one| one == method);
    place.map_or("other", |place| names[place])
}

impl Drop for LogLine {
    fn drop(&mut self) {
        self.count();
        let took = self.began.elapsed();
        let notes = &self.notes;
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    method = self.method,
                    route = self.route,
                    status = self.status,
                    ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
                    bytes_in = notes.bytes_in.load(Ordering::Relaxed),
                    bytes_out = notes.bytes_out.load(Ordering::Relaxed),
                    request_id = self.request_id.to_str().unwrap_or_default(),
                    user = notes.user.get().map(String::as_str),
                    app = notes.app.get().map(String::as_str),
                    error = self.failure.as_ref().map(|failure| failure.code),
                    detail = self
                        .failure
                        .as_ref()
                        .and_then(|failure| failure.detail.as_deref()),
                    "request"
                )
            };
        }
        if self.status >= 500 {
            line!(error);
        } else {
            line!(info);
        }
    }
}
