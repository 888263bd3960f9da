//! What bodies are packed with, and how they are unpacked: bounded in what comes out and in the pieces it is made of.
//!
//! Unpacking is work, not waiting: it belongs on a thread that may be kept busy.

use async_compression::tokio::bufread::{GzipDecoder, ZstdDecoder};
use async_compression::zstd::DParameter;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_ENCODING;
use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::runtime::Handle;

use crate::error::Refusal;

/// The largest window of a zstd stream, as a power of two: 8 MiB, which every sender may use and none need exceed
/// (RFC 9659). A stream says how much memory unpacking it takes.
const ZSTD_WINDOW_LOG: u32 = 23;
/// How many gzip members or zstd frames a body may consist of. Each costs some time, however little is in it; senders make
/// one, or one for each of their own pieces.
const MAX_PIECES: usize = 1024;

/// What a body is packed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    Plain,
    Gzip,
    Zstd,
}

impl Coding {
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, Refusal> {
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

    /// What is in a packed body, if it is not longer than `limit`. It keeps the thread busy, which must be one that may wait.
    ///
    /// # Errors
    ///
    /// [`Refusal::TooLarge`] or [`Refusal::BrokenBody`].
    pub(crate) fn unpack(self, packed: Bytes, limit: usize) -> Result<Bytes, Refusal> {
        // Bytes that are all there make nobody wait: this only turns the crank of an interface that is made for sockets.
        let runtime = Handle::current();
        match self {
            Self::Plain => Ok(packed),
            Self::Gzip => {
                let rest = |piece: &GzipDecoder<_>| *piece.get_ref();
                runtime.block_on(pieces(&packed, limit, GzipDecoder::new, rest))
            }
            Self::Zstd => {
                let rest = |piece: &ZstdDecoder<_>| *piece.get_ref();
                runtime.block_on(pieces(&packed, limit, zstd, rest))
            }
        }
    }
}

fn zstd(packed: &[u8]) -> ZstdDecoder<&[u8]> {
    let window = DParameter::window_log_max(ZSTD_WINDOW_LOG);
    ZstdDecoder::with_params(packed, &[window])
}

/// Unpacks piece after piece, each with a decoder of its own, up to the limit of the whole: of what is over it no more
/// than one byte is ever made.
async fn pieces<'a, D: AsyncRead + Unpin>(
    packed: &'a [u8],
    limit: usize,
    decoder: impl Fn(&'a [u8]) -> D,
    rest: impl Fn(&D) -> &'a [u8],
) -> Result<Bytes, Refusal> {
    let (mut packed, mut unpacked) = (packed, Vec::new());
    for _ in 0..MAX_PIECES {
        let left = limit - unpacked.len();
        let one_more = u64::try_from(left).unwrap_or(u64::MAX) + 1;
        let mut piece = decoder(packed).take(one_more);
        let read = piece.read_to_end(&mut unpacked).await;
        read.map_err(|_| Refusal::BrokenBody)?;
        if unpacked.len() > limit {
            return Err(Refusal::TooLarge);
        }
        packed = rest(piece.get_ref());
        if packed.is_empty() {
            return Ok(Bytes::from(unpacked));
        }
    }
    Err(Refusal::BrokenBody)
}
