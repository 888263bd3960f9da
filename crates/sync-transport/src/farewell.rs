//! The last word on a connection that ends before its client expects it, said so that it is heard: what the client was still
//! sending is let come to its end, since a connection that is closed on it would take the last word with it.

use std::time::Duration;

use axum::http::HeaderValue;
use axum::http::header::{CONNECTION, CONTENT_LENGTH};
use axum::response::IntoResponse;
use http_body_util::BodyExt;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::error::Refusal;

/// How long the client may take to hear the last word, and to go.
pub(crate) const FAREWELL_TIME: Duration = Duration::from_secs(2);
/// What is passed over of what it was still sending.
const FAREWELL_BYTES: usize = 16 * 1024 * 1024;
/// How many connections are told at a time why they are not served. Further ones are closed without a word.
const FAREWELLS: usize = 64;

/// The connections that are being told why they are not served. They take no seat.
#[derive(Debug, Default)]
pub(crate) struct Farewells(JoinSet<()>);

impl Farewells {
    /// Tells why, if not too many others are told.
    pub(crate) fn tell(&mut self, stream: TcpStream, why: Refusal) {
        while self.0.try_join_next().is_some() {}
        if self.0.len() < FAREWELLS {
            self.0.spawn(async move {
                let _ = timeout(FAREWELL_TIME, answer(stream, why)).await;
            });
        }
    }
}

/// Answers the request that comes first, whatever it is.
async fn answer(mut stream: TcpStream, why: Refusal) -> std::io::Result<()> {
    // A client that hears an answer before it has asked may not know what to do with it.
    if stream.read(&mut [0; 64]).await? == 0 {
        return Ok(());
    }
    stream.write_all(&http1(why).await).await?;
    stream.shutdown().await?;
    drain(&mut stream).await;
    Ok(())
}

/// A refusal as it travels on a connection that ends with it.
async fn http1(why: Refusal) -> Vec<u8> {
    let (mut head, body) = why.into_response().into_parts();
    let body = body.collect().await.unwrap_or_default().to_bytes();
    head.headers.insert(CONTENT_LENGTH, body.len().into());
    let close = HeaderValue::from_static("close");
    head.headers.insert(CONNECTION, close);
    let mut bytes = format!("HTTP/1.1 {}\r\n", head.status).into_bytes();
    for (name, value) in &head.headers {
        let line = [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"];
        bytes.extend(line.concat());
    }
    bytes.extend([b"\r\n", &body[..]].concat());
    bytes
}

/// Passes over what still comes, up to a bound.
pub(crate) async fn drain(socket: &mut (impl AsyncRead + Unpin)) {
    // Not in the task, which would have room for it all the time.
    let mut buffer = vec![0; 4096];
    let mut room = FAREWELL_BYTES;
    while let Ok(bytes @ 1..) = socket.read(&mut buffer).await {
        room = room.saturating_sub(bytes);
        if room == 0 {
            return;
        }
    }
}
