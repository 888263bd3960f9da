//! Sockets: time limits, the cap, HTTP/2.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::Request;
use http_body_util::BodyExt;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use sync_store::{MemoryStore, Rules, Store};
use sync_transport::Limits;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{Semaphore, watch};

use crate::support::{Fault, Faulty, Make, Server, Socket, in_time, insert};

const SHORT: Duration = Duration::from_millis(150);

#[tokio::test]
async fn a_head_that_dribbles_is_cut_off() {
    let server = Server::with_limits(Limits {
        head: SHORT,
        ..Limits::default()
    })
    .await;
    // Nothing at all, the beginning of either HTTP, a head without an end, and an idle connection.
    for beginning in [
        "",
        "P",
        "PRI * HTTP/2.0\r\n\r\nSM",
        "GET /health HTTP/1.1\r\nHost:",
    ] {
        let mut socket = server.socket().await;
        socket.say(beginning).await;
        assert_eq!(socket.all().await, "", "{beginning:?}");
    }
    let mut idle = server.socket().await;
    idle.ask().await;
    assert_eq!(idle.all().await, "");
}

#[tokio::test]
async fn a_head_byte_by_byte_does_not_win_time() {
    let server = Server::with_limits(Limits {
        head: SHORT,
        ..Limits::default()
    })
    .await;
    let mut socket = server.socket().await;
    socket.say("GET /health HTTP/1.1\r\n").await;
    let dribble = async {
        let mut ticks = tokio::time::interval(SHORT / 10);
        loop {
            ticks.tick().await;
            let written = tokio::io::AsyncWriteExt::write_all(&mut socket.0, b"x").await;
            if written.is_err() {
                break;
            }
        }
    };
    in_time(dribble).await;
}

#[tokio::test]
async fn a_client_that_waits_to_be_told_to_go_on_is_refused_before_it_sends() {
    let server = Server::start().await;
    let mut socket = server.socket().await;
    socket
        .say("POST /sync/todo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9000000\r\n\r\n")
        .await;
    let answer = socket.all().await;
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
}

#[tokio::test]
async fn a_body_that_dribbles_is_408() {
    let server = Server::with_limits(Limits {
        body: SHORT,
        ..Limits::default()
    })
    .await;
    let mut socket = server.socket().await;
    let head = format!(
        "POST /sync/todo HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Length: 100\r\n\r\n{{",
        server.token("alice"),
    );
    socket.say(head).await;
    let answer = socket.all().await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains(r#"{"error":"body_too_slow","#), "{answer}");
}

#[tokio::test]
async fn an_answer_that_nobody_takes_is_given_up() {
    let server = Server::with_limits(Limits {
        stall: SHORT,
        ..Limits::default()
    })
    .await;
    let data = format!(r#"{{"text":"{}"}}"#, "x".repeat(9 << 20));
    let pushed = server.push("a", insert("tasks", "t", &data)).await;
    assert_eq!(pushed.status(), 200);
    let small = TcpSocket::new_v4().unwrap();
    small.set_recv_buffer_size(4096).unwrap();
    let mut socket = Socket(small.connect(server.address).await.unwrap());
    let ask = format!(
        "GET /sync/todo/pull?collection=tasks&since=0 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n",
        server.token("alice"),
    );
    socket.say(ask).await;
    socket.until("HTTP/1.1 200 OK").await;
    // Until only the connection that asks for the metrics is left.
    in_time(async {
        let only = "sync_http_connections 1\n";
        while !server
            .get("/metrics")
            .await
            .text()
            .await
            .unwrap()
            .contains(only)
        {}
    })
    .await;
    assert!(socket.all().await.len() < 9 << 20);
}

#[tokio::test]
async fn beyond_the_cap_connections_wait_for_a_seat() {
    let server = Server::with_limits(Limits {
        connections: 2,
        ..Limits::default()
    })
    .await;
    let (mut first, mut second) = (server.socket().await, server.socket().await);
    first.ask().await;
    second.ask().await;
    let mut third = server.socket().await;
    third.say("GET /health HTTP/1.1\r\nHost: x\r\n\r\n").await;
    first.say("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await;
    first.until("sync_http_connections 2\n").await;
    let nothing = third.0.try_read(&mut [0]).unwrap_err();
    assert_eq!(nothing.kind(), ErrorKind::WouldBlock);
    drop(second);
    third.until("\"users\":0}").await;
}

#[tokio::test]
async fn http2_with_prior_knowledge_is_spoken() {
    let server = Server::start().await;
    let stream = TcpStream::connect(server.address).await.unwrap();
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    let request = |method: &str, path: &str, body: String| {
        axum::http::Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", server.address))
            .header("authorization", format!("Bearer {}", server.token("alice")))
            .header("x-client-id", method)
            .body(body)
            .unwrap()
    };
    let body = insert("tasks", "t", r#"{"a":1}"#);
    let pushed = sender
        .send_request(request("POST", "/sync/todo", body))
        .await;
    assert_eq!(pushed.unwrap().status(), 200);
    let path = "/sync/todo/pull?collection=tasks&since=0";
    let pulled = sender
        .send_request(request("GET", path, String::new()))
        .await
        .unwrap();
    assert_eq!(pulled.version(), axum::http::Version::HTTP_2);
    let pulled = http_body_util::BodyExt::collect(pulled.into_body())
        .await
        .unwrap();
    let pulled: serde_json::Value = serde_json::from_slice(&pulled.to_bytes()).unwrap();
    assert_eq!(pulled["serverChanges"][0]["data"], json!({"a": 1}));
}

type Http2 = (
    http2::SendRequest<String>,
    tokio::task::JoinHandle<hyper::Result<()>>,
);

/// An HTTP/2 connection whose client answers all PINGs, and takes so many bytes of an answer unasked.
async fn http2_of(server: &Server, window: u32) -> Http2 {
    let stream = TcpStream::connect(server.address).await.unwrap();
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(window);
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
    (sender, tokio::spawn(connection))
}

async fn impatient(store: impl Store) -> Server {
    Server::made(Make {
        store: Arc::new(store),
        limits: Limits {
            idle: SHORT,
            ..Limits::default()
        },
        ..Make::default()
    })
    .await
}

fn get(server: &Server, path: &str) -> Request<String> {
    Request::builder()
        .uri(format!("http://{}{path}", server.address))
        .header("authorization", format!("Bearer {}", server.token("alice")))
        .body(String::new())
        .unwrap()
}

#[tokio::test]
async fn an_http2_connection_without_a_stream_is_told_to_go() {
    let server = impatient(MemoryStore::new(Rules::default())).await;
    let (_sender, never_used) = http2_of(&server, 65_535).await;
    in_time(never_used).await.unwrap().unwrap();
    let (mut sender, used) = http2_of(&server, 65_535).await;
    let answer = sender.send_request(get(&server, "/health")).await.unwrap();
    assert_eq!(answer.status(), 200);
    drop(answer);
    in_time(used).await.unwrap().unwrap();
}

#[tokio::test]
async fn an_http2_client_that_takes_no_answer_is_cut_off() {
    let server = impatient(MemoryStore::new(Rules::default())).await;
    let (mut sender, connection) = http2_of(&server, 0).await;
    let answer = sender.send_request(get(&server, "/health")).await.unwrap();
    assert_eq!(answer.status(), 200);
    let _ = in_time(connection).await.unwrap();
    drop(answer);
}

#[tokio::test]
async fn an_http2_connection_with_a_request_under_way_is_kept() {
    let (gate, (calls, mut seen)) = (Arc::new(Semaphore::new(0)), watch::channel(0));
    let server = impatient(Faulty::new(Fault::Held(Arc::clone(&gate), calls))).await;
    let (mut sender, _connection) = http2_of(&server, 65_535).await;
    let path = "/sync/todo/pull?collection=tasks&since=0";
    let pull = tokio::spawn(sender.send_request(get(&server, path)));
    seen.wait_for(|calls| *calls == 1).await.unwrap();
    // Two that have nothing to do come and go meanwhile.
    for _ in 0..2 {
        let (_sender, idle) = http2_of(&server, 65_535).await;
        in_time(idle).await.unwrap().unwrap();
    }
    let another = sender.send_request(get(&server, "/health")).await;
    assert_eq!(another.unwrap().status(), 200);
    gate.add_permits(1);
    assert_eq!(pull.await.unwrap().unwrap().status(), 200);
}

/// The beginning of a client's HTTP/2, with empty settings (RFC 9113, 3.4), and a PING.
const OPENING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
const PING: &[u8] = b"\0\0\x08\x06\0\0\0\0\0whatever";

#[tokio::test]
async fn an_http2_client_that_only_pings_is_cut_off() {
    let server = impatient(MemoryStore::new(Rules::default())).await;
    let mut socket = server.socket().await;
    socket.say(OPENING).await;
    let pings = async {
        let mut ticks = tokio::time::interval(SHORT / 10);
        while tokio::io::AsyncWriteExt::write_all(&mut socket.0, PING)
            .await
            .is_ok()
        {
            ticks.tick().await;
        }
    };
    in_time(pings).await;
}

#[tokio::test]
async fn a_slow_reader_that_makes_progress_is_not_cut_off() {
    let idle = 2 * SHORT;
    let server = Server::with_limits(Limits {
        idle,
        ..Limits::default()
    })
    .await;
    let data = format!(r#"{{"text":"{}"}}"#, "x".repeat(4 << 20));
    let pushed = server.push("a", insert("tasks", "t", &data)).await;
    assert_eq!(pushed.status(), 200);
    let (mut sender, _connection) = http2_of(&server, 65_535).await;
    let path = "/sync/todo/pull?collection=tasks&since=0";
    let answer = sender.send_request(get(&server, path)).await.unwrap();
    let mut body = answer.into_body();
    let (began, mut taken) = (Instant::now(), 0);
    let mut ticks = tokio::time::interval(SHORT / 15);
    while let Some(frame) = body.frame().await {
        taken += frame.unwrap().into_data().map_or(0, |data| data.len());
        ticks.tick().await;
    }
    assert!(taken > 4 << 20, "{taken}");
    // It was at it for longer than a client is let alone that does nothing: idle, and five times that.
    assert!(began.elapsed() > 7 * idle);
}
