//! Bodies of requests: read whole, unpacked, and bounded at both ends of the unpacking.
//!
//! ```text
//! socket -> at most 10 MiB as sent -> gzip or zstd -> at most 10 MiB unpacked, all of it within the time limit
//! ```

use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use axum::http::{HeaderMap, Request, Response};
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use sync_protocol::MAX_BODY_BYTES;
use tokio::time::timeout;
use tower::{BoxError, ServiceExt, service_fn};
use tower_http::decompression::{DecompressionBody, RequestDecompression};

use crate::error::Refusal;

/// How much of a refused body is read and thrown away, so that the client gets to read the refusal: most send all of
/// their body before they look, and a connection closed in the middle of it loses the answer.
const DRAIN_BYTES: usize = 4 * MAX_BODY_BYTES;
/// How long that may take.
const DRAIN_TIME: Duration = Duration::from_secs(5);

/// The body, unpacked, if it is within the bounds and arrives in time.
///
/// # Errors
///
/// [`Refusal::Coding`], [`Refusal::TooLarge`], [`Refusal::SlowBody`] or [`Refusal::BrokenBody`].
pub(crate) async fn read(
    headers: &HeaderMap,
    mut body: Body,
    time_limit: Duration,
) -> Result<Bytes, Refusal> {
    let read = timeout(time_limit, unpack(headers, &mut body)).await;
    let read = read.unwrap_or(Err(Refusal::SlowBody));
    if matches!(read, Err(Refusal::Coding | Refusal::TooLarge)) {
        drain(body).await;
    }
    read
}

/// Reads what is left of a body that nobody wants, within reason.
pub(crate) async fn drain(body: Body) {
    let mut rest = Limited::new(body, DRAIN_BYTES);
    let drained = async { while let Some(Ok(_)) = rest.frame().await {} };
    // Whether it worked does not matter: the answer is the same.
    let _ = timeout(DRAIN_TIME, drained).await;
}

async fn unpack(headers: &HeaderMap, body: &mut Body) -> Result<Bytes, Refusal> {
    let coding = coding(headers)?;
    if announced(headers).is_some_and(|length| length > MAX_BODY_BYTES) {
        return Err(Refusal::TooLarge);
    }
    let packed = Request::builder()
        .header(CONTENT_ENCODING, coding)
        .body(Limited::new(body, MAX_BODY_BYTES))
        .expect("a name out of three is a header value");
    let unpacked = RequestDecompression::new(service_fn(gather))
        .oneshot(packed)
        .await?;
    let unpacked = unpacked.into_body().collect().await;
    Ok(unpacked.map_err(broken)?.to_bytes())
}

/// What the body is packed with, by one of three names.
fn coding(headers: &HeaderMap) -> Result<&'static str, Refusal> {
    let mut values = headers.get_all(CONTENT_ENCODING).iter();
    let name = values.next().map_or(&b""[..], |value| value.as_bytes());
    if values.next().is_some() {
        return Err(Refusal::Coding);
    }
    match name.to_ascii_lowercase().as_slice() {
        b"" | b"identity" => Ok("identity"),
        b"gzip" | b"x-gzip" => Ok("gzip"),
        b"zstd" => Ok("zstd"),
        _ => Err(Refusal::Coding),
    }
}

fn announced(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

type Unpacked<'a> = DecompressionBody<Limited<&'a mut Body>>;

/// Takes the unpacked bytes as they come and stops at the limit: what is over it is never held.
async fn gather(request: Request<Unpacked<'_>>) -> Result<Response<Full<Bytes>>, Refusal> {
    let mut body = request.into_body();
    let mut gathered = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(broken)?.into_data() else {
            continue;
        };
        if gathered.len() + data.len() > MAX_BODY_BYTES {
            return Err(Refusal::TooLarge);
        }
        gathered.extend_from_slice(&data);
    }
    Ok(Response::new(Full::new(gathered.freeze())))
}

fn broken(error: BoxError) -> Refusal {
    if error.is::<LengthLimitError>() {
        Refusal::TooLarge
    } else {
        Refusal::BrokenBody
    }
}
