//! Streams that are opened and not read: they hold up nobody, and hold little.

use std::time::Duration;

use hyper::Request;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use sync_transport::Limits;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::stage::{Mood, Stage};
use crate::support::{Server, in_time};

const SHORT: Duration = Duration::from_millis(200);

type Connection = JoinHandle<hyper::Result<()>>;

/// A connection of a client that takes so many bytes of each stream, and no more unless it reads.
async fn http2_of(server: &Server, window: u32) -> (http2::SendRequest<String>, Connection) {
    let stream = TcpStream::connect(server.address).await.unwrap();
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(window);
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
    (sender, tokio::spawn(connection))
}

fn stream(server: &Server, user: &str) -> Request<String> {
    Request::builder()
        .uri(format!(
            "http://{}/sync/todo/stream?collections=tasks",
            server.address
        ))
        .header("authorization", format!("Bearer {}", server.token(user)))
        .body(String::new())
        .unwrap()
}

#[tokio::test]
async fn streams_that_are_not_read_hold_up_nobody_elses() {
    let stage = Stage::new(Mood::Silent);
    let limits = Limits {
        heartbeat: SHORT,
        stream_reads: 2,
        ..Limits::default()
    };
    let (server, _) = Server::live(stage.clone(), limits).await;
    // The greeting fits, the heartbeat does not: from then on nobody asks for more.
    let (mut sender, _connection) = http2_of(&server, 8).await;
    let mut unread = Vec::new();
    for _ in 0..20 {
        let answer = in_time(sender.send_request(stream(&server, "mallory")))
            .await
            .unwrap();
        unread.push(answer.into_body());
    }
    stage.was_asked(2).await;
    let mut beats = server.events("mallory", "b", "?collections=tasks").await;
    assert_eq!(beats.event().await.unwrap().name, "heartbeat");
    stage.set(Mood::Well);
    let mut other = server.events("alice", "a", "?collections=tasks").await;
    assert_eq!(other.changes("tasks").await, Vec::<String>::new());
}

#[tokio::test]
async fn a_user_who_does_not_read_holds_few_pages_and_hears_elsewhere_as_others_do() {
    let stage = Stage::new(Mood::Well);
    let (server, _) = Server::live(stage.clone(), Limits::default()).await;
    let large = json!("x".repeat(200_000));
    for n in 0..3 {
        let body = json!({"since": "", "changes": [
            {"table": "tasks", "id": format!("r{n}"), "op": "insert", "data": {"a": large}}]});
        server.push_as("mallory", "x", body).await;
    }
    let (mut sender, _connection) = http2_of(&server, 8).await;
    let mut unread = Vec::new();
    for _ in 0..20 {
        let answer = in_time(sender.send_request(stream(&server, "mallory")))
            .await
            .unwrap();
        unread.push(answer.into_body());
    }
    // Eight have a large page that is not on its way yet; the others know that theirs would be large, and wait.
    stage.have_read(20).await;
    for (user, collection) in [("mallory", "notes"), ("alice", "tasks")] {
        let query = format!("?collections={collection}");
        let mut other = server.events(user, "a", &query).await;
        assert_eq!(other.changes(collection).await, Vec::<String>::new());
    }
    assert_eq!(stage.reads(), 20 + 2);
}
