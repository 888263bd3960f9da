//! Packed bodies, both ways.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Response};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use sync_protocol::MAX_BODY_BYTES;
use sync_transport::Limits;
use tokio::sync::{Semaphore, watch};
use tower::{ServiceExt, service_fn};
use tower_http::compression::Compression;
use tower_http::decompression::Decompression;

use crate::support::{Fault, Faulty, Make, Server, insert, refused};

/// These bytes, packed.
async fn pack(coding: &str, bytes: impl Into<Body>) -> Vec<u8> {
    let body = std::sync::Mutex::new(Some(bytes.into()));
    let service = service_fn(|_: Request<()>| {
        let body = body.lock().unwrap().take().unwrap();
        async { Ok::<_, Infallible>(Response::new(body)) }
    });
    let request = Request::builder()
        .header("accept-encoding", coding)
        .body(())
        .unwrap();
    let packed = Compression::new(service).oneshot(request).await.unwrap();
    assert_eq!(packed.headers()["content-encoding"], coding);
    packed
        .into_body()
        .collect()
        .await
        .unwrap()
        .to_bytes()
        .to_vec()
}

async fn unpack(coding: &str, bytes: Bytes) -> Vec<u8> {
    let service = service_fn(|_: Request<()>| {
        let response = Response::builder().header("content-encoding", coding);
        let response = response.body(Full::new(bytes.clone())).unwrap();
        async { Ok::<_, Infallible>(response) }
    });
    let unpacked = Decompression::new(service)
        .oneshot(Request::new(()))
        .await
        .unwrap();
    unpacked
        .into_body()
        .collect()
        .await
        .unwrap()
        .to_bytes()
        .to_vec()
}

async fn push(server: &Server, coding: &str, body: Vec<u8>) -> reqwest::Response {
    let request = server
        .as_user("POST", "/sync/todo", "a")
        .header("Content-Encoding", coding);
    request.body(body).send().await.unwrap()
}

#[tokio::test]
async fn packed_pushes_are_read() {
    let server = Server::start().await;
    for (coding, name) in [("gzip", "gzip"), ("gzip", "X-GZip"), ("zstd", "zstd")] {
        let body = pack(coding, insert("tasks", name, r#"{"a":1}"#)).await;
        assert_eq!(push(&server, name, body).await.status(), 200, "{name}");
    }
    let body = insert("tasks", "plain", r#"{"a":1}"#).into_bytes();
    assert_eq!(push(&server, "identity", body).await.status(), 200);
    let pulled = server.pull("b", "tasks").await;
    assert_eq!(pulled["serverChanges"].as_array().unwrap().len(), 4);
}

#[tokio::test]
async fn a_body_may_be_packed_in_several_pieces() {
    let server = Server::start().await;
    let body = insert("tasks", "t", r#"{"a":1}"#);
    let (first, second) = body.split_at(40);
    for coding in ["gzip", "zstd"] {
        let pieces = [
            pack(coding, first.to_owned()).await,
            pack(coding, second.to_owned()).await,
        ];
        assert_eq!(push(&server, coding, pieces.concat()).await.status(), 200);
    }
}

/// The head of a zstd frame that wants a window of 2^`log` bytes (RFC 8878, 3.1.1), and one empty block.
fn wide(log: u8) -> Vec<u8> {
    vec![0x28, 0xb5, 0x2f, 0xfd, 0, (log - 10) << 3, 1, 0, 0]
}

#[tokio::test]
async fn a_stream_does_not_say_how_much_memory_it_gets() {
    let server = Server::start().await;
    // 8 MiB are granted, and what is unpacked is no JSON; 16 MiB are not.
    for (log, code) in [(23, "invalid_json"), (24, "body_broken")] {
        let refused = refused(push(&server, "zstd", wide(log)).await).await;
        assert_eq!(refused, (400, json!(code)));
    }
}

#[tokio::test]
async fn a_coding_that_is_not_understood_is_415() {
    let server = Server::start().await;
    for coding in ["br", "deflate", "gzip, gzip", "nonsense"] {
        let response = push(&server, coding, b"{}".to_vec()).await;
        assert_eq!(
            refused(response).await,
            (415, json!("unsupported_encoding")),
            "{coding}"
        );
    }
}

#[tokio::test]
async fn what_cannot_be_unpacked_is_400() {
    let server = Server::start().await;
    for coding in ["gzip", "zstd"] {
        let whole = pack(coding, insert("tasks", "t", r#"{"a":1}"#)).await;
        let cut = whole[..whole.len() - 5].to_vec();
        let mut more = whole.clone();
        more.extend_from_slice(b"garbage behind it");
        let bodies = [
            ("cut", cut),
            ("more", more),
            ("json", b"{}".to_vec()),
            ("zeros", vec![0; 100]),
        ];
        for (name, body) in bodies {
            let refused = refused(push(&server, coding, body).await).await;
            assert_eq!(refused, (400, json!("body_broken")), "{coding} {name}");
        }
        let empty = push(&server, coding, Vec::new()).await;
        assert_eq!(empty.status(), 400);
    }
    assert_eq!(server.pull("b", "tasks").await["serverChanges"], json!([]));
}

/// The most memory that this process ever had, in bytes.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    let kilobytes = line.split_whitespace().nth(1).unwrap();
    kilobytes.parse::<usize>().unwrap() * 1024
}

/// So many bytes of nothing, packed.
async fn bomb(coding: &str, megabytes: usize) -> Vec<u8> {
    let zeros = Bytes::from_static(&[0; 1 << 16]);
    let parts = (0..megabytes * 16).map(move |_| Ok::<_, io::Error>(zeros.clone()));
    pack(coding, Body::from_stream(futures_util::stream::iter(parts))).await
}

#[tokio::test]
async fn a_bomb_is_413_and_costs_little() {
    let server = Server::start().await;
    for (coding, megabytes) in [("zstd", 1024), ("gzip", 64)] {
        let body = bomb(coding, megabytes).await;
        assert!(body.len() < 1 << 20, "{}", body.len());
        let before = peak();
        let response = push(&server, coding, body).await;
        assert_eq!(refused(response).await, (413, json!("body_too_large")));
        let grown = peak() - before;
        assert!(grown < 64 << 20, "{grown} bytes for {coding}");
    }
}

#[tokio::test]
async fn the_limit_holds_for_the_unpacked_body_to_the_byte() {
    let server = Server::start().await;
    let limit = 10 * 1024 * 1024;
    let empty = insert("big", "b", r#"{"text":""}"#).len();
    for (bytes, status) in [(limit, 200), (limit + 1, 413)] {
        let text = format!(r#"{{"text":"{}"}}"#, "x".repeat(bytes - empty));
        let body = pack("zstd", insert("big", "b", &text)).await;
        assert_eq!(push(&server, "zstd", body).await.status(), status);
    }
}

/// A gzip member of nothing (RFC 1952).
const EMPTY_MEMBER: [u8; 20] = [
    0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0,
];
/// A zstd frame of nothing (RFC 8878).
const EMPTY_FRAME: [u8; 9] = [0x28, 0xb5, 0x2f, 0xfd, 0x20, 0, 1, 0, 0];

#[tokio::test]
async fn a_body_of_very_many_pieces_is_refused() {
    let server = Server::start().await;
    let whole = insert("tasks", "t", "{}");
    for (coding, empty) in [("gzip", &EMPTY_MEMBER[..]), ("zstd", &EMPTY_FRAME)] {
        let last = pack(coding, whole.clone()).await;
        for (pieces, status) in [(1023, 200), (1024, 400), (20_000, 400)] {
            let mut body = empty.repeat(pieces);
            body.extend_from_slice(&last);
            let response = push(&server, coding, body).await;
            assert_eq!(response.status(), status, "{pieces} of {coding}");
        }
    }
    let body = EMPTY_MEMBER.repeat(500_000);
    let refused = refused(push(&server, "gzip", body).await).await;
    assert_eq!(refused, (400, json!("body_broken")));
}

#[tokio::test]
async fn what_is_unpacked_counts_against_the_budget() {
    let (gate, (calls, mut seen)) = (Arc::new(Semaphore::new(0)), watch::channel(0));
    let server = Server::made(Make {
        store: Arc::new(Faulty::new(Fault::Held(Arc::clone(&gate), calls))),
        limits: Limits {
            bodies: MAX_BODY_BYTES,
            body: Duration::from_secs(2),
            ..Limits::default()
        },
        ..Make::default()
    })
    .await;
    let mut bodies = Vec::new();
    for bytes in [120 * 1024, 70 * 1024, 60 * 1024] {
        let data = format!(r#"{{"text":"{}"}}"#, "x".repeat(bytes));
        let body = pack("gzip", insert("big", &bytes.to_string(), &data)).await;
        assert!(body.len() < 1024);
        bodies.push(body);
    }
    let [first, second, small] = bodies.try_into().unwrap();
    let held = push(&server, "gzip", first);
    let others = async {
        seen.wait_for(|calls| *calls == 1).await.unwrap();
        let second = push(&server, "gzip", second).await;
        assert_eq!(refused(second).await, (503, json!("server_busy")));
        gate.add_permits(2);
        push(&server, "gzip", small).await
    };
    let (held, small) = tokio::join!(held, others);
    assert_eq!(held.status(), 200);
    assert_eq!(small.status(), 200);
}

#[tokio::test]
async fn a_client_that_forbids_an_answer_as_it_is_gets_it_so_and_no_406() {
    let server = Server::start().await;
    for accepted in [
        "identity;q=0",
        "*;q=0",
        "br, identity;q=0",
        "identity;q=0, *;q=0",
    ] {
        let request = server
            .as_user("POST", "/sync/todo", "a")
            .header("Accept-Encoding", accepted);
        let answer = request.body(insert("tasks", "t", "{}")).send().await;
        let answer = answer.unwrap();
        assert_eq!(answer.status(), 200, "{accepted}");
        assert_eq!(answer.headers().get("content-encoding"), None);
    }
}

#[tokio::test]
async fn long_answers_are_packed_if_asked_for() {
    let server = Server::start().await;
    let data = format!(r#"{{"text":"{}"}}"#, "x".repeat(5000));
    server
        .push("a", insert("tasks", "t", &data))
        .await
        .error_for_status()
        .unwrap();
    let plain = server.pull("b", "tasks").await;
    let path = "/sync/todo/pull?collection=tasks&since=1970-01-01T00:00:00Z";
    for coding in ["gzip", "zstd"] {
        let request = server
            .as_user("GET", path, "b")
            .header("Accept-Encoding", coding);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.headers()["content-encoding"], coding);
        assert_eq!(answer.headers()["content-type"], "application/json");
        let vary: Vec<_> = answer.headers().get_all("vary").iter().collect();
        assert_eq!(vary, ["accept-encoding", "Origin"]);
        let packed = answer.bytes().await.unwrap();
        assert!(packed.len() < 1000);
        let unpacked: Value = serde_json::from_slice(&unpack(coding, packed).await).unwrap();
        assert_eq!(unpacked, plain);
    }
    let short = server
        .request("GET", "/health")
        .header("Accept-Encoding", "gzip");
    let short = short.send().await.unwrap();
    assert_eq!(short.headers().get("content-encoding"), None);
}
