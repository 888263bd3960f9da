//! `X-Request-Id`: the client's own if it is a short, safe token, else one of ours.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use sync_protocol::{EventIds, Millis};

use crate::random;

/// The header, of requests and of all answers.
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id taken over from a client, in bytes.
const MAX_BYTES: usize = 64;

/// The id of a request that arrived at `now` with these headers.
pub(crate) fn of(headers: &HeaderMap, now: Millis) -> HeaderValue {
    let own = headers.get(X_REQUEST_ID).filter(|id| is_safe(id));
    own.cloned().unwrap_or_else(|| fresh(now))
}

fn is_safe(id: &HeaderValue) -> bool {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    (1..=MAX_BYTES).contains(&id.len()) && id.as_bytes().iter().all(allowed)
}

fn fresh(now: Millis) -> HeaderValue {
    // An id without randomness still tells the millisecond.
    let seed = random::bits().unwrap_or_default();
    let id = EventIds::new(now, seed).fresh().to_string();
    HeaderValue::from_str(&id).expect("a UUID is printable ASCII")
}
