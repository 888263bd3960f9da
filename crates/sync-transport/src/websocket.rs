//! `GET /ws` and `GET /ws/{appId}`: the handshake of a socket of notices (RFC 6455), of all apps or of one.
//!
//! - In: no token: a page cannot send one here. `Origin`, if it is sent, must be one of the configured ones.
//! - Out: 101, and then the conversation (`conversation.rs`). 403 for the origin, 400 for the app id, 426 for what is no
//!   handshake. The connection keeps its seat.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{
    CONNECTION, CONTENT_LENGTH, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION,
    TRANSFER_ENCODING, UPGRADE,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::response::Response;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use openssl::{base64, sha};
use sync_protocol::AppId;

use crate::admit::app_id;
use crate::connection::{Afterwards, Stopping};
use crate::conversation::Conversation;
use crate::error::Refusal;
use crate::service::Shared;

/// What a server adds to a client's key (RFC 6455, 1.3).
const ACCEPT_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// How many bytes a client's key has (RFC 6455, 4.1).
const KEY_BYTES: usize = 16;

/// `GET /ws`.
pub(crate) async fn of_all_apps(
    State(service): State<Shared>,
    request: Request,
) -> Result<Response, Refusal> {
    let (parts, _) = request.into_parts();
    upgrade(service, parts, None)
}

/// `GET /ws/{appId}`.
pub(crate) async fn of_one_app(
    State(service): State<Shared>,
    request: Request,
) -> Result<Response, Refusal> {
    let (mut parts, _) = request.into_parts();
    let app = app_id(&mut parts).await?.map_err(Refusal::AppId)?;
    upgrade(service, parts, Some(app))
}

fn upgrade(service: Shared, mut parts: Parts, app: Option<AppId>) -> Result<Response, Refusal> {
    if !service.origins.allow(&parts.headers) {
        return Err(Refusal::Origin);
    }
    // The route takes a HEAD for a GET.
    if parts.method != Method::GET {
        return Err(Refusal::NoWebSocket("connect with GET"));
    }
    let accept = accept(&parts.headers)?;
    let refuse = || Refusal::NoWebSocket("connect with HTTP/1.1");
    let upgraded: OnUpgrade = parts.extensions.remove().ok_or_else(refuse)?;
    let afterwards = Afterwards::of(&parts.extensions).ok_or_else(refuse)?;
    let stopping = Stopping::of(&parts.extensions);
    let is_spared = service
        .rates
        .spare(&service.proxies, &parts.extensions, &parts.headers);
    afterwards.set(async move {
        match upgraded.await {
            Ok(socket) => {
                let socket = TokioIo::new(socket);
                let mut conversation = Conversation::begin((service, is_spared), app, socket).await;
                conversation.hold(stopping).await;
            }
            Err(error) => tracing::debug!(%error, "a connection ended before it was a socket"),
        }
    });
    Ok(switching(accept))
}

/// What the client's key is answered with.
fn accept(headers: &HeaderMap) -> Result<HeaderValue, Refusal> {
    let length = headers.get(CONTENT_LENGTH);
    if length.is_some_and(|length| length != "0") || headers.contains_key(TRANSFER_ENCODING) {
        // What a proxy takes for a body would be taken for frames here.
        return Err(Refusal::NoWebSocket("send no body"));
    }
    if !has_word(headers, &CONNECTION, "upgrade") || !has_word(headers, &UPGRADE, "websocket") {
        return Err(Refusal::NoWebSocket(
            "send Connection: Upgrade and Upgrade: websocket",
        ));
    }
    if !has_word(headers, &SEC_WEBSOCKET_VERSION, "13") {
        return Err(Refusal::NoWebSocket("send Sec-WebSocket-Version: 13"));
    }
    let key = headers
        .get(SEC_WEBSOCKET_KEY)
        .and_then(|key| key.to_str().ok());
    let is_key = |key: &&str| base64::decode_block(key).is_ok_and(|bytes| bytes.len() == KEY_BYTES);
    let key = key.filter(is_key).ok_or(Refusal::NoWebSocket(
        "send a Sec-WebSocket-Key of 16 bytes in base64",
    ))?;
    let digest = sha::sha1(&[key.as_bytes(), ACCEPT_SUFFIX].concat());
    let accept = HeaderValue::from_str(&base64::encode_block(&digest));
    Ok(accept.expect("base64 is printable"))
}

/// Whether a header with a list of words has this one, whatever its case.
fn has_word(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    let values = headers.get_all(name).iter();
    let mut words = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    words.any(|own| own.trim().eq_ignore_ascii_case(word))
}

fn switching(accept: HeaderValue) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        };
        list.iter().map(pair).collect()
    }

    const HANDSHAKE: [(&str, &str); 4] = [
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "WebSocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];

    #[test]
    fn a_key_is_answered_as_in_rfc_6455() {
        let accept = accept(&headers(&HANDSHAKE)).unwrap();
        assert_eq!(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn what_is_no_handshake_is_told_what_is_missing() {
        for (name, value, missing) in [
            (
                "connection",
                "close",
                "send Connection: Upgrade and Upgrade: websocket",
            ),
            (
                "upgrade",
                "h2c",
                "send Connection: Upgrade and Upgrade: websocket",
            ),
            (
                "sec-websocket-version",
                "8",
                "send Sec-WebSocket-Version: 13",
            ),
            (
                "sec-websocket-key",
                "AAAA",
                "send a Sec-WebSocket-Key of 16 bytes in base64",
            ),
        ] {
            for list in [vec![], vec![(name, value)]] {
                let mut handshake = HANDSHAKE.to_vec();
                handshake.retain(|(own, _)| *own != name);
                handshake.extend(list);
                let refusal = accept(&headers(&handshake)).unwrap_err().to_string();
                assert_eq!(
                    refusal,
                    format!("this path speaks WebSocket (RFC 6455): {missing}")
                );
            }
        }
    }
}
