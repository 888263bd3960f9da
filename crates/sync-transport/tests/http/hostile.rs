//! Clients that mean no good to a socket, or know no better: each is closed, and others are served meanwhile.

use std::time::Duration;

use axum::http::Request;
use futures_util::{SinkExt, StreamExt};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use sync_notify::{News, Notice};
use sync_protocol::{AppId, Audience, TableName, UserId};
use sync_transport::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::interval;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::live::{Peer, until};
use crate::stage::{Mood, Stage};
use crate::support::{PATIENCE, Server, in_time};

const SHORT: Duration = Duration::from_millis(200);
const KIB_32: usize = 32 * 1024;

/// The code of the last word, whatever comes before it.
async fn code(mut peer: Peer) -> u16 {
    loop {
        if let Message::Close(Some(frame)) = peer.next().await {
            return frame.code.into();
        }
    }
}

/// As [`code`], of a client that speaks bytes.
async fn raw_code(mut stream: TcpStream) -> u16 {
    let mut bytes = Vec::new();
    in_time(stream.read_to_end(&mut bytes)).await.unwrap();
    // Before it there are pings without a payload, at the most.
    let last = bytes.chunks(2).position(|pair| pair != [0x89, 0]).unwrap();
    let last = &bytes[2 * last..];
    assert_eq!((last[0], usize::from(last[1]) + 2), (0x88, last.len()));
    u16::from_be_bytes([last[2], last[3]])
}

/// A frame of a client, masked with nothing.
fn frame(head: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    assert!(length < 126);
    [&[head, 0x80 | length, 0, 0, 0, 0], payload].concat()
}

/// Serves somebody as long as something takes, no faster than is allowed.
async fn meanwhile<T>(other: &mut Peer, what: impl Future<Output = T>) -> T {
    let mut ticks = interval(SHORT / 2);
    tokio::pin!(what);
    loop {
        tokio::select! {
            biased;
            outcome = &mut what => return outcome,
            _ = ticks.tick() => other.is_served().await,
        }
    }
}

async fn with(limits: Limits) -> Server {
    Server::with_limits(limits).await
}

/// Limits under which silence is noticed soon.
fn wary() -> Limits {
    Limits {
        heartbeat: SHORT / 2,
        silence: 5 * SHORT,
        ..Limits::default()
    }
}

#[tokio::test]
async fn who_does_not_sign_in_in_time_is_closed_whatever_it_says() {
    let sign_in = 3 * SHORT;
    let server = with(Limits {
        sign_in,
        ..Limits::default()
    })
    .await;
    let mut other = Peer::member(&server, "/ws", "alice", "a").await;
    let silent = Peer::connect(&server, "/ws").await;
    let expected = (1008, "nobody signed in in time".to_owned());
    assert_eq!(meanwhile(&mut other, silent.closed()).await, expected);
    let mut pinging = Peer::connect(&server, "/ws").await;
    let pings = async {
        let mut ticks = interval(SHORT / 4);
        loop {
            ticks.tick().await;
            let ping = Message::text(r#"{"type":"ping"}"#);
            if pinging.0.send(ping).await.is_err() {
                break;
            }
            match in_time(pinging.0.next()).await.unwrap().unwrap() {
                Message::Close(frame) => return u16::from(frame.unwrap().code),
                pong => assert_eq!(pong, Message::text(r#"{"type":"pong"}"#)),
            }
        }
        panic!("there was no last word")
    };
    assert_eq!(meanwhile(&mut other, pings).await, 1008_u16);
    // Byte by byte of one frame, and part by part of one message without end.
    let long = frame(0x81, &[b'x'; 120]);
    let parts = [frame(0x01, b""), frame(0x00, b"").repeat(1000)].concat();
    for (bytes, step) in [(long, 1), (parts, 60)] {
        let stream = Peer::connect(&server, "/ws").await.0.into_inner();
        let (mut reads, mut writes) = stream.into_split();
        let drip = async {
            let mut ticks = interval(SHORT / 10);
            for part in bytes.chunks(step) {
                ticks.tick().await;
                if writes.write_all(part).await.is_err() {
                    break;
                }
            }
            std::future::pending::<()>().await;
        };
        let mut seen = [0; 4];
        let ended = async {
            tokio::select! {
                read = in_time(reads.read_exact(&mut seen)) => drop(read.unwrap()),
                () = drip => {}
            }
        };
        meanwhile(&mut other, ended).await;
        assert_eq!(
            (seen[0], &seen[2..]),
            (0x88, 1008_u16.to_be_bytes().as_slice())
        );
    }
}

#[tokio::test]
async fn who_does_not_answer_pings_is_closed_and_who_does_is_not() {
    let server = with(wary()).await;
    let mut other = Peer::member(&server, "/ws", "alice", "a").await;
    let silent = Peer::member(&server, "/ws", "alice", "b").await;
    // It reads nothing, and so answers nothing, until it is all over.
    let stream = silent.0.into_inner();
    let over = async {
        stream.readable().await.unwrap();
        raw_code(stream).await
    };
    // This one says nothing of its own, but takes what comes, and its pongs go out.
    let (ended, heard) = tokio::join!(over, async {
        let mut pings = 0;
        while pings < 8 {
            assert_eq!(other.next().await, Message::Ping("".into()));
            pings += 1;
        }
        pings
    });
    assert_eq!((ended, heard), (1001, 8));
    other.is_served().await;
    server.write("alice", "b", "tasks", "t").await;
    other.is_told("todo", &["tasks"]).await;
}

#[tokio::test]
async fn who_does_not_read_is_cut_off_and_holds_nobody_up() {
    let stage = Stage::new(Mood::Well);
    let limits = Limits {
        stall: SHORT,
        ..Limits::default()
    };
    let (server, hub) = Server::live(stage, limits).await;
    let small = TcpSocket::new_v4().unwrap();
    small.set_recv_buffer_size(4096).unwrap();
    let stream = small.connect(server.address).await.unwrap();
    let mut deaf = Peer::over(stream, &server, "/ws").await;
    deaf.auth(&server.token("alice"), Some("a")).await;
    assert_eq!(deaf.heard().await, json!({"type": "auth-ok"}));
    let mut other = Peer::member(&server, "/ws", "bob", "b").await;
    let name = |n| TableName::new(&format!("{n:0>250}")).unwrap();
    let loud = News::Changes(Notice {
        audience: Audience::User(UserId::new("alice").unwrap()),
        app: AppId::new("todo").unwrap(),
        tables: (0..1000).map(name).collect(),
        writer: None,
        position: 1,
    });
    let gone = until(|| {
        hub.hear(loud.clone());
        hub.figures().connections == 1
    });
    meanwhile(&mut other, gone).await;
    server.write("bob", "c", "tasks", "t").await;
    other.is_told("todo", &["tasks"]).await;
}

#[tokio::test]
async fn what_is_no_text_is_1003() {
    let server = Server::start().await;
    let mut peer = Peer::member(&server, "/ws", "alice", "a").await;
    peer.0.send(Message::binary("{}".as_bytes())).await.unwrap();
    assert_eq!(peer.closed().await, (1003, "send text".to_owned()));
}

#[tokio::test]
async fn a_message_has_at_most_32_kib() {
    let server = Server::start().await;
    let mut peer = Peer::connect(&server, "/ws").await;
    let ping = |bytes: usize| format!("{:<bytes$}", r#"{"type":"ping"}"#);
    peer.say(ping(KIB_32)).await;
    assert_eq!(peer.heard().await, json!({"type": "pong"}));
    let in_parts = [frame(0x01, b"x"), frame(0x00, &[b'x'; 100]).repeat(400)].concat();
    let mut stream = Peer::connect(&server, "/ws").await.0.into_inner();
    stream.write_all(&in_parts).await.unwrap();
    assert_eq!(raw_code(stream).await, 1009);
    let expected = (1009, "a message has at most 32 KiB".to_owned());
    peer.say(ping(KIB_32 + 1)).await;
    assert_eq!(peer.closed().await, expected);
}

#[tokio::test]
async fn who_sends_a_megabyte_hears_why_it_is_closed() {
    let server = Server::start().await;
    for _ in 0..10 {
        let mut peer = Peer::member(&server, "/ws", "alice", "a").await;
        // Whether it could be written to its end is the server's to say.
        match peer.0.send(Message::text("x".repeat(1 << 20))).await {
            Ok(()) | Err(Error::Io(_)) => {}
            Err(error) => panic!("{error}"),
        }
        let expected = (1009, "a message has at most 32 KiB".to_owned());
        assert_eq!(peer.closed().await, expected);
    }
}

#[tokio::test]
async fn bytes_that_are_no_frames_of_a_client_are_closed_with_the_code_that_says_so() {
    let server = Server::start().await;
    for (bytes, code) in [
        (frame(0x81, b"{\"type\":\"\xff\"}"), 1007),
        (b"\x81\x0f{\"type\":\"ping\"}".to_vec(), 1002),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), 1002),
        (frame(0x83, b"x"), 1002),
        (frame(0xc1, b"x"), 1002),
        (frame(0x80, b"x"), 1002),
        (frame(0x09, b"x"), 1002),
    ] {
        let mut stream = Peer::connect(&server, "/ws").await.0.into_inner();
        stream.write_all(&bytes).await.unwrap();
        assert_eq!(raw_code(stream).await, code, "{bytes:x?}");
    }
}

#[tokio::test]
async fn who_says_too_much_is_closed() {
    let server = Server::start().await;
    let mut other = Peer::member(&server, "/ws", "alice", "a").await;
    for message in [
        Message::text(r#"{"type":"ping"}"#),
        Message::text("nonsense"),
        Message::Ping("x".into()),
        Message::Pong("x".into()),
    ] {
        let mut peer = Peer::member(&server, "/ws", "alice", "b").await;
        for _ in 0..200 {
            peer.0.feed(message.clone()).await.unwrap();
        }
        peer.0.flush().await.unwrap();
        assert_eq!(meanwhile(&mut other, code(peer)).await, 1008);
    }
}

#[tokio::test]
async fn what_is_said_together_with_the_handshake_is_heard() {
    let server = Server::start().await;
    let mut socket = server.socket().await;
    let handshake = "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let ping = frame(0x81, br#"{"type":"ping"}"#);
    socket.say([handshake.as_bytes(), &ping].concat()).await;
    let answer = socket.until(r#"{"type":"pong"}"#).await;
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
}

#[tokio::test]
async fn a_handshake_over_http2_or_http_1_0_is_426() {
    let server = Server::start().await;
    let stream = TcpStream::connect(server.address).await.unwrap();
    let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    let request = Request::builder()
        .uri(format!("http://{}/ws", server.address))
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .body(String::new())
        .unwrap();
    let answer = in_time(sender.send_request(request)).await.unwrap();
    assert_eq!(answer.status(), 426);
    let mut old = server.socket().await;
    old.say(
        "GET /ws HTTP/1.0\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    )
    .await;
    let answer = old.all().await;
    assert!(answer.starts_with("HTTP/1.0 426 "), "{answer}");
}

#[tokio::test]
async fn a_socket_outlives_the_time_limits_of_requests() {
    let limits = Limits {
        request: 2 * SHORT,
        idle: 2 * SHORT,
        head: 2 * SHORT,
        stall: 2 * SHORT,
        heartbeat: SHORT / 4,
        silence: PATIENCE,
        ..Limits::default()
    };
    let server = with(limits).await;
    let mut peer = Peer::member(&server, "/ws", "alice", "a").await;
    for _ in 0..20 {
        assert_eq!(peer.next().await, Message::Ping("".into()));
    }
    peer.is_served().await;
}
