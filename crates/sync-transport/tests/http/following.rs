//! Streams that are open: what they are told, and when.

use std::time::Duration;

use axum::http::Request;
use http_body_util::BodyExt;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use sync_store::Role;
use sync_transport::{Drained, Limits};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpSocket, TcpStream};

use crate::live::{access, inserts, said};
use crate::stage::{Mood, Stage};
use crate::support::{Server, Socket, in_time, insert};

const SHORT: Duration = Duration::from_millis(100);

fn shared(id: &str) -> Value {
    json!({"since": "", "changes": [
        {"table": "tasks", "id": id, "op": "insert", "data": {"a": 1}, "spaceId": "team"}]})
}

mod arriving {
    use super::*;

    #[tokio::test]
    async fn a_change_that_is_written_between_the_first_read_and_the_wait_arrives() {
        let stage = Stage::new(Mood::Holding(0));
        let (server, _) = Server::live(stage.clone(), Limits::default()).await;
        let mut events = server.events("alice", "b", "?collections=tasks").await;
        stage.have_read(1).await;
        server.write("alice", "a", "tasks", "t").await;
        stage.set(Mood::Well);
        assert_eq!(events.changes("tasks").await, Vec::<String>::new());
        assert_eq!(events.changes("tasks").await, ["t"]);
    }

    #[tokio::test]
    async fn a_change_that_is_written_during_the_drain_arrives_once() {
        let stage = Stage::new(Mood::Holding(1));
        let (server, _) = Server::live(stage.clone(), Limits::default()).await;
        server
            .push_as("alice", "a", inserts(&["tasks"], "r", 1500))
            .await;
        let mut events = server.events("alice", "b", "").await;
        assert_eq!(events.changes("tasks").await.len(), 1000);
        stage.have_read(2).await;
        server.write("alice", "a", "tasks", "t").await;
        stage.set(Mood::Well);
        assert_eq!(events.changes("tasks").await.len(), 500);
        assert_eq!(events.changes("tasks").await, ["t"]);
        server.write("alice", "a", "tasks", "u").await;
        assert_eq!(events.changes("tasks").await, ["u"]);
    }

    #[tokio::test]
    async fn changes_that_are_written_while_nobody_reads_are_one_page_later() {
        let stage = Stage::new(Mood::Well);
        let (server, _) = Server::live(stage.clone(), Limits::default()).await;
        let mut events = server.events("alice", "b", "?collections=tasks").await;
        events.changes("tasks").await;
        stage.set(Mood::Holding(1));
        for id in ["t", "u", "v"] {
            server.write("alice", "a", "tasks", id).await;
            stage.have_read(2).await;
        }
        stage.set(Mood::Well);
        assert_eq!(events.changes("tasks").await, ["t"]);
        assert_eq!(events.changes("tasks").await, ["u", "v"]);
    }

    /// It takes nothing of an answer that is far larger than what the system holds for it.
    #[tokio::test]
    async fn a_slow_reader_holds_a_page_and_is_read_again_from_its_cursor() {
        let stage = Stage::new(Mood::Well);
        let (server, _) = Server::live(stage.clone(), Limits::default()).await;
        let data = format!(r#"{{"text":"{}"}}"#, "x".repeat(900 << 10));
        for n in 0..40 {
            let body = insert("tasks", &format!("t{n}"), &data);
            server.push_as("alice", "a", body).await;
        }
        let small = TcpSocket::new_v4().unwrap();
        small.set_recv_buffer_size(64 << 10).unwrap();
        let mut socket = Socket(small.connect(server.address).await.unwrap());
        let token = server.token("alice");
        let ask = format!(
            "GET /sync/todo/stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n"
        );
        socket.say(ask).await;
        socket.until(": open").await;
        // What the buffers between here and there hold is read, and no more: others are served, and it is not read for.
        for _ in 0..100 {
            server.get("/health").await;
        }
        let reads = stage.reads();
        assert!((1..20).contains(&reads), "{reads}");
        for _ in 0..100 {
            server.get("/health").await;
        }
        assert_eq!(stage.reads(), reads);
        let mut seen: Vec<u8> = Vec::new();
        let (last, mut from) = (b"\"id\":\"t39\"", 0);
        while !seen[from..].windows(last.len()).any(|part| part == last) {
            from = seen.len().saturating_sub(last.len());
            let bytes = in_time(socket.0.read_buf(&mut seen)).await.unwrap();
            assert_ne!(bytes, 0);
        }
        let seen = String::from_utf8_lossy(&seen);
        let places = (0..40).map(|n| seen.find(&format!("\"id\":\"t{n}\"")).unwrap());
        assert!(places.is_sorted());
        assert_eq!(stage.reads(), 40);
    }

    #[tokio::test]
    async fn no_more_streams_read_at_a_time_than_may() {
        let stage = Stage::new(Mood::Silent);
        let limits = Limits {
            stream_reads: 2,
            ..Limits::default()
        };
        let (server, _) = Server::live(stage.clone(), limits).await;
        let mut streams = Vec::new();
        for _ in 0..5 {
            streams.push(server.events("alice", "b", "?collections=tasks").await);
        }
        stage.was_asked(2).await;
        for _ in 0..20 {
            server.get("/health").await;
        }
        assert_eq!(stage.asked(), 2);
        stage.set(Mood::Well);
        for mut events in streams {
            assert_eq!(events.changes("tasks").await, Vec::<String>::new());
        }
    }

    #[tokio::test]
    async fn a_page_of_a_stream_has_about_a_mebibyte() {
        let stage = Stage::new(Mood::Well);
        let (server, _) = Server::live(stage.clone(), Limits::default()).await;
        let data = format!(r#"{{"text":"{}"}}"#, "x".repeat(200 << 10));
        for n in 0..10 {
            let body = insert("tasks", &format!("t{n}"), &data);
            server.push_as("alice", "a", body).await;
        }
        let mut events = server.events("alice", "b", "").await;
        let (mut seen, mut pages) = (Vec::new(), 0);
        while seen.len() < 10 {
            let event = events.event().await.unwrap();
            assert!(event.data.to_string().len() < 1 << 20);
            seen.extend(event.ids());
            pages += 1;
        }
        let all: Vec<_> = (0..10).map(|n| format!("t{n}")).collect();
        assert_eq!(seen, all);
        assert_eq!(stage.reads(), pages);
    }
}

mod spaces {
    use super::*;

    #[tokio::test]
    async fn what_a_space_has_is_streamed_at_once_to_who_joins_it() {
        let stage = Stage::new(Mood::Well);
        let (server, hub) = Server::live(stage.clone(), Limits::default()).await;
        stage.grant("bob", "team", Some(Role::Writer)).await;
        server.push_as("bob", "x", shared("before")).await;
        let mut events = server.events("alice", "b", "?collections=tasks").await;
        events.changes("tasks").await;
        stage.grant("alice", "team", Some(Role::Reader)).await;
        access(&hub, "alice");
        assert_eq!(events.changes("tasks").await, ["before"]);
        server.push_as("bob", "x", shared("later")).await;
        assert_eq!(events.changes("tasks").await, ["later"]);
    }

    #[tokio::test]
    async fn a_space_that_is_left_is_named_and_streamed_no_more() {
        let stage = Stage::new(Mood::Well);
        let (server, hub) = Server::live(stage.clone(), Limits::default()).await;
        for user in ["alice", "bob"] {
            stage.grant(user, "team", Some(Role::Writer)).await;
        }
        let mut events = server.events("alice", "b", "").await;
        server.push_as("bob", "x", shared("t")).await;
        assert_eq!(events.changes("tasks").await, ["t"]);
        stage.grant("alice", "team", None).await;
        // Written before the stream knows of it: no row of it goes out all the same.
        server.push_as("bob", "x", shared("u")).await;
        access(&hub, "alice");
        assert_eq!(
            events.event().await,
            said("spaces", json!({"removed": ["team"]}))
        );
        let reads = stage.reads();
        server.push_as("bob", "x", shared("v")).await;
        server.write("alice", "a", "tasks", "own").await;
        assert_eq!(events.changes("tasks").await, ["own"]);
        assert!(stage.reads() <= reads + 2, "nobody woke it for the space");
    }

    #[tokio::test]
    async fn one_push_is_told_to_its_user_and_to_the_members_of_its_space() {
        let stage = Stage::new(Mood::Well);
        let (server, _) = Server::live(stage.clone(), Limits::default()).await;
        for user in ["alice", "bob"] {
            stage.grant(user, "team", Some(Role::Writer)).await;
        }
        let mut alice = server
            .events("alice", "b", "?collections=tasks,notes")
            .await;
        let mut bob = server.events("bob", "b", "?collections=tasks,notes").await;
        for events in [&mut alice, &mut bob] {
            assert_eq!(events.changes("notes").await, Vec::<String>::new());
            assert_eq!(events.changes("tasks").await, Vec::<String>::new());
        }
        let mut push = shared("both");
        let own = json!({"table": "notes", "id": "own", "op": "insert", "data": {}});
        push["changes"].as_array_mut().unwrap().push(own);
        server.push_as("alice", "a", push).await;
        assert_eq!(alice.changes("tasks").await, ["both"]);
        assert_eq!(alice.changes("notes").await, ["own"]);
        assert_eq!(bob.changes("tasks").await, ["both"]);
    }
}

#[tokio::test]
async fn a_stream_is_spoken_over_http2_too() {
    let limits = Limits {
        idle: 4 * SHORT,
        request: 4 * SHORT,
        heartbeat: SHORT,
        ..Limits::default()
    };
    let mut server = Server::with_limits(limits).await;
    let stream = TcpStream::connect(server.address).await.unwrap();
    let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::builder()
        .uri(format!("http://{}/sync/todo/stream", server.address))
        .header("authorization", format!("Bearer {}", server.token("alice")))
        .body(String::new())
        .unwrap();
    let mut body = sender.send_request(request).await.unwrap().into_body();
    let mut seen = String::new();
    let beats = format!(": open\n\n{}", "event: heartbeat\ndata: {}\n\n".repeat(10));
    while seen != beats {
        let frame = in_time(body.frame()).await.unwrap().unwrap();
        seen.push_str(str::from_utf8(&frame.into_data().unwrap()).unwrap());
        assert!(beats.starts_with(&seen), "{seen}");
    }
    server.write("alice", "a", "tasks", "t").await;
    while !seen.contains("\"id\":\"t\"") {
        let frame = in_time(body.frame()).await.unwrap().unwrap();
        seen.push_str(str::from_utf8(&frame.into_data().unwrap()).unwrap());
    }
    server.stop();
    while let Some(frame) = in_time(body.frame()).await {
        frame.unwrap();
    }
    drop(sender);
    in_time(connection).await.unwrap().unwrap();
    assert_eq!(server.ended().await, Drained::Clean);
}
