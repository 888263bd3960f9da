//! Bodies of requests: read whole, unpacked, and bounded at both ends of the unpacking.
//!
//! ```text
//! socket -> at most 10 MiB as sent, within the time limit -> gzip or zstd -> at most 10 MiB unpacked
//! ```

use std::time::Duration;

use async_compression::tokio::bufread::{GzipDecoder, ZstdDecoder};
use async_compression::zstd::DParameter;
use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, EXPECT};
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Limited};
use sync_protocol::MAX_BODY_BYTES;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;

use crate::error::Refusal;

/// The largest window of a zstd stream, as a power of two: 8 MiB, which every sender may use and none need exceed
/// (RFC 9659). A stream says how much memory unpacking it takes.
const ZSTD_WINDOW_LOG: u32 = 23;
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
    let taken = timeout(time_limit, take_in(headers, &mut body)).await;
    let taken = taken.unwrap_or(Err(Refusal::SlowBody));
    if matches!(taken, Err(Refusal::Coding | Refusal::TooLarge)) {
        drain(headers, body).await;
    }
    let (coding, packed) = taken?;
    coding.unpack(packed).await
}

/// Reads what is left of a body that nobody wants, within reason. A client that waits to be told to go on has not sent it.
pub(crate) async fn drain(headers: &HeaderMap, body: Body) {
    if headers.contains_key(EXPECT) {
        return;
    }
    let mut rest = Limited::new(body, DRAIN_BYTES);
    let drained = async { while let Some(Ok(_)) = rest.frame().await {} };
    // Whether it worked does not matter: the answer is the same.
    let _ = timeout(DRAIN_TIME, drained).await;
}

/// What a body is packed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Plain,
    Gzip,
    Zstd,
}

impl Coding {
    fn of(headers: &HeaderMap) -> Result<Self, Refusal> {
        let mut values = headers.get_all(CONTENT_ENCODING).iter();
        let name = values.next().map_or(&b""[..], |value| value.as_bytes());
        if values.next().is_some() {
            return Err(Refusal::Coding);
        }
        match name.to_ascii_lowercase().as_slice() {
            b"" | b"identity" => Ok(Self::Plain),
            b"gzip" | b"x-gzip" => Ok(Self::Gzip),
            b"zstd" => Ok(Self::Zstd),
            _ => Err(Refusal::Coding),
        }
    }

    async fn unpack(self, packed: Bytes) -> Result<Bytes, Refusal> {
        match self {
            Self::Plain => Ok(packed),
            Self::Gzip => {
                let mut decoder = GzipDecoder::new(&packed[..]);
                decoder.multiple_members(true);
                bounded(decoder).await
            }
            Self::Zstd => {
                let window = DParameter::window_log_max(ZSTD_WINDOW_LOG);
                let mut decoder = ZstdDecoder::with_params(&packed[..], &[window]);
                decoder.multiple_members(true);
                bounded(decoder).await
            }
        }
    }
}

async fn take_in(headers: &HeaderMap, body: &mut Body) -> Result<(Coding, Bytes), Refusal> {
    let coding = Coding::of(headers)?;
    if announced(headers).is_some_and(|length| length > MAX_BODY_BYTES) {
        return Err(Refusal::TooLarge);
    }
    let mut gathered = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Refusal::BrokenBody)?;
        let data = frame.into_data().unwrap_or_default();
        if gathered.len() + data.len() > MAX_BODY_BYTES {
            return Err(Refusal::TooLarge);
        }
        gathered.extend_from_slice(&data);
    }
    Ok((coding, gathered.freeze()))
}

fn announced(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Unpacks up to the limit: of what is over it no more than one byte is ever made.
async fn bounded(decoder: impl AsyncRead + Unpin) -> Result<Bytes, Refusal> {
    let limit = u64::try_from(MAX_BODY_BYTES).unwrap_or(u64::MAX);
    let mut unpacked = Vec::new();
    let mut decoder = decoder.take(limit + 1);
    let read = decoder.read_to_end(&mut unpacked).await;
    read.map_err(|_| Refusal::BrokenBody)?;
    if unpacked.len() > MAX_BODY_BYTES {
        return Err(Refusal::TooLarge);
    }
    Ok(Bytes::from(unpacked))
}
