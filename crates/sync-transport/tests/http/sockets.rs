//! Sockets: the handshake, signing in, and how a conversation ends.

use std::sync::Arc;
use std::time::Duration;

use futures_util::SinkExt;
use reqwest::{RequestBuilder, Response};
use serde_json::json;
use sync_notify::Hub;
use sync_transport::{Drained, Limits};
use tokio_tungstenite::tungstenite::Message;

use crate::live::{Peer, until};
use crate::stage::{Mood, Stage};
use crate::support::{Make, Server, refused};

const SHORT: Duration = Duration::from_millis(500);

/// A handshake, as far as it goes over a client that does not know what is behind.
fn handshake(server: &Server, method: &str, path: &str) -> RequestBuilder {
    server
        .request(method, path)
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
}

async fn status(request: RequestBuilder) -> u16 {
    request.send().await.unwrap().status().as_u16()
}

mod handshakes {
    use super::*;

    #[tokio::test]
    async fn a_handshake_is_answered_as_in_rfc_6455() {
        let server = Server::start().await;
        for path in ["/ws", "/ws/todo"] {
            let response = handshake(&server, "GET", path).send().await.unwrap();
            assert_eq!(response.status(), 101);
            for (name, value) in [
                ("connection", "upgrade"),
                ("upgrade", "websocket"),
                ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
            ] {
                assert_eq!(response.headers()[name], value);
            }
        }
    }

    #[tokio::test]
    async fn what_is_no_handshake_is_426() {
        let server = Server::start().await;
        let plain = server.get("/ws").await;
        assert_eq!(plain.headers()["upgrade"], "websocket");
        assert_eq!(plain.headers()["sec-websocket-version"], "13");
        assert_eq!(refused(plain).await, (426, json!("upgrade_required")));
        let head = handshake(&server, "HEAD", "/ws/todo").send().await.unwrap();
        assert_eq!(head.status(), 426, "only a GET opens a socket");
    }

    #[tokio::test]
    async fn other_methods_and_paths_are_refused() {
        let server = Server::start().await;
        let allow = |response: &Response| response.headers()["allow"].to_str().unwrap().to_owned();
        for path in ["/ws", "/ws/todo"] {
            let post = handshake(&server, "POST", path).send().await.unwrap();
            assert_eq!(allow(&post), "GET,HEAD");
            assert_eq!(refused(post).await, (405, json!("method_not_allowed")));
        }
        for (path, expected) in [
            ("/ws/", (404, json!("not_found"))),
            ("/ws/a/b", (404, json!("not_found"))),
            ("/ws/upload", (404, json!("not_found"))),
            ("/ws/a%00b", (400, json!("invalid_app_id"))),
        ] {
            let response = handshake(&server, "GET", path).send().await.unwrap();
            assert_eq!(refused(response).await, expected, "{path}");
        }
    }

    #[tokio::test]
    async fn pages_of_other_origins_may_not_connect() {
        let server = Server::made(Make {
            origins: "https://app.example",
            ..Make::default()
        })
        .await;
        let from = |origin: &str| handshake(&server, "GET", "/ws").header("Origin", origin);
        assert_eq!(status(handshake(&server, "GET", "/ws")).await, 101);
        assert_eq!(status(from("https://app.example")).await, 101);
        for origin in [
            "https://evil.example",
            "https://app.example.evil.example",
            "null",
            "",
        ] {
            let response = from(origin).send().await.unwrap();
            assert_eq!(refused(response).await, (403, json!("origin_not_allowed")));
        }
        let two = from("https://evil.example").header("Origin", "https://app.example");
        assert_eq!(status(two).await, 403);
    }

    #[tokio::test]
    async fn a_socket_may_begin_on_a_connection_that_was_used_before() {
        let server = Server::start().await;
        let mut socket = server.socket().await;
        for _ in 0..3 {
            socket.ask().await;
        }
        let mut peer = Peer::over(socket.0, &server, "/ws").await;
        peer.is_served().await;
    }

    #[tokio::test]
    async fn a_socket_keeps_its_seat_until_it_ends() {
        let server = Server::with_limits(Limits {
            connections: 2,
            ..Limits::default()
        })
        .await;
        let mut first = Peer::connect(&server, "/ws").await;
        let mut second = server.socket().await;
        second.ask().await;
        let mut third = server.socket().await;
        third.say("GET /health HTTP/1.1\r\nHost: x\r\n\r\n").await;
        for _ in 0..20 {
            second.ask().await;
        }
        let nothing = third.0.try_read(&mut [0]).unwrap_err();
        assert_eq!(nothing.kind(), std::io::ErrorKind::WouldBlock);
        first.is_served().await;
        drop(first);
        third.until("\"users\":0}").await;
    }
}

mod signing_in {
    use super::*;

    #[tokio::test]
    async fn a_ping_is_answered_before_and_after_the_sign_in() {
        let server = Server::start().await;
        for path in ["/ws", "/ws/todo"] {
            let mut peer = Peer::connect(&server, path).await;
            peer.is_served().await;
            peer.auth(&server.token("alice"), None).await;
            assert_eq!(peer.heard().await, json!({"type": "auth-ok"}));
            peer.is_served().await;
        }
    }

    #[tokio::test]
    async fn what_makes_no_sense_is_said_and_the_conversation_goes_on() {
        let server = Server::start().await;
        let mut peer = Peer::connect(&server, "/ws").await;
        let token = server.token("alice");
        for (text, why) in [
            (
                json!({"type": "auth"}).to_string(),
                "missing token: send {\"type\":\"auth\",\"token\":\"…\"}",
            ),
            (
                json!({"type": "auth", "token": token, "clientId": 7}).to_string(),
                "clientId is no text",
            ),
            (
                json!({"type": "subscribe"}).to_string(),
                "unknown message type: send auth or ping",
            ),
            (
                json!([{"type": "ping"}]).to_string(),
                "a message is a JSON object",
            ),
            (String::new(), "a message is a JSON object"),
        ] {
            peer.say(text).await;
            assert_eq!(peer.error().await, why);
        }
        peer.say("{\"type\":\"ping\"").await;
        let why = peer.error().await;
        assert!(
            why.starts_with("the message cannot be read as JSON: "),
            "{why}"
        );
        peer.is_served().await;
    }

    #[tokio::test]
    async fn a_token_that_is_no_good_is_said_and_ends_it() {
        let server = Server::start().await;
        let expired = server.token_for("alice", -61);
        for (token, why) in [
            ("", None),
            ("nonsense", None),
            (
                expired.as_str(),
                Some("the token has expired: sign in again"),
            ),
        ] {
            let mut peer = Peer::connect(&server, "/ws").await;
            peer.auth(token, None).await;
            let said = peer.error().await;
            assert!(why.is_none_or(|why| why == said), "{said}");
            assert_eq!(peer.closed().await, (1008, said));
        }
    }

    #[tokio::test]
    async fn without_keys_it_is_asked_to_come_again() {
        let server = Server::made(Make {
            keys: false,
            ..Make::default()
        })
        .await;
        let mut peer = Peer::connect(&server, "/ws").await;
        peer.auth(&server.token("alice"), None).await;
        let said = "tokens cannot be verified at the moment: try again later";
        assert_eq!(peer.error().await, said);
        assert_eq!(peer.closed().await, (1013, said.to_owned()));
    }

    #[tokio::test]
    async fn a_socket_ends_when_its_token_does() {
        let server = Server::start().await;
        for seconds in [1, -59] {
            let mut peer = Peer::connect(&server, "/ws").await;
            peer.auth(&server.token_for("alice", seconds), None).await;
            assert_eq!(peer.heard().await, json!({"type": "auth-ok"}));
            let expected = (1008, "the token has expired".to_owned());
            assert_eq!(peer.closed().await, expected);
        }
    }

    #[tokio::test]
    async fn another_token_of_the_same_user_extends() {
        let server = Server::start().await;
        let mut short = Peer::connect(&server, "/ws").await;
        let mut long = Peer::connect(&server, "/ws").await;
        for peer in [&mut short, &mut long] {
            peer.auth(&server.token_for("alice", 1), None).await;
            assert_eq!(peer.heard().await, json!({"type": "auth-ok"}));
        }
        long.auth(&server.token_for("alice", 3000), None).await;
        assert_eq!(long.heard().await, json!({"type": "auth-ok"}));
        assert_eq!(short.closed().await.0, 1008, "the time is over");
        long.is_served().await;
    }

    #[tokio::test]
    async fn a_sign_in_of_another_user_ends_it_and_the_first_is_told_nothing_more() {
        let stage = Stage::new(Mood::Well);
        let (server, hub) = Server::live(stage, Limits::default()).await;
        let mut peer = Peer::member(&server, "/ws", "alice", "a").await;
        peer.auth(&server.token("bob"), None).await;
        let said = peer.error().await;
        assert_eq!(said, "another user is signed in here: open another socket");
        until(|| hub.figures().connections == 0).await;
        server.write("alice", "b", "tasks", "t").await;
        assert_eq!(peer.closed().await, (1008, said));
    }

    #[tokio::test]
    async fn a_user_has_so_many_connections_sockets_and_streams_together() {
        let hub = Hub::new(2);
        let server = Server::made(Make {
            hub: Arc::clone(&hub),
            ..Make::default()
        })
        .await;
        let _stream = server.events("alice", "s", "").await;
        let first = Peer::member(&server, "/ws", "alice", "a").await;
        let mut second = Peer::connect(&server, "/ws").await;
        second.auth(&server.token("alice"), None).await;
        let said = "you have too many streams and sockets open: close some";
        assert_eq!(second.error().await, said);
        assert_eq!(second.closed().await, (1013, said.to_owned()));
        drop(first);
        until(|| hub.figures().connections == 1).await;
        Peer::member(&server, "/ws", "alice", "a").await;
    }

    #[tokio::test]
    async fn whoever_goes_before_signing_in_leaves_nothing_behind() {
        let stage = Stage::new(Mood::Well);
        let (server, hub) = Server::live(stage.clone(), Limits::default()).await;
        let gone = [
            Peer::connect(&server, "/ws").await,
            Peer::member(&server, "/ws", "alice", "a").await,
        ];
        assert_eq!(hub.figures().connections, 1);
        drop(gone);
        until(|| hub.figures().connections == 0).await;
        // While the sign-in is under way, too.
        stage.set(Mood::Silent);
        let mut peer = Peer::connect(&server, "/ws").await;
        peer.auth(&server.token("bob"), None).await;
        stage.was_asked(2).await;
        assert_eq!(hub.figures().users, 1);
        drop(peer);
        stage.set(Mood::Well);
        until(|| hub.figures().users == 0).await;
    }
}

mod ending {
    use super::*;

    #[tokio::test]
    async fn a_close_is_answered_with_its_code() {
        let server = Server::start().await;
        let mut peer = Peer::member(&server, "/ws", "alice", "a").await;
        peer.0.close(None).await.unwrap();
        assert_eq!(peer.next().await, Message::Close(None));
    }

    #[tokio::test]
    async fn a_server_that_stops_says_so_to_its_sockets() {
        let mut server = Server::start().await;
        let member = Peer::member(&server, "/ws", "alice", "a").await;
        let nobody = Peer::connect(&server, "/ws/todo").await;
        server.stop();
        let expected = (1001, "the server stops: connect again".to_owned());
        assert_eq!(member.closed().await, expected);
        assert_eq!(nobody.closed().await, expected);
        assert_eq!(server.ended().await, Drained::Clean);
    }

    #[tokio::test]
    async fn a_client_that_does_not_go_does_not_hold_up_a_server_that_stops() {
        let mut server = Server::start().await;
        let _stays = Peer::member(&server, "/ws", "alice", "a").await;
        server.stop();
        assert_eq!(server.ended().await, Drained::Clean);
    }

    #[tokio::test]
    async fn who_vanishes_without_a_word_was_not_closed_by_the_server() {
        let server = Server::with_limits(Limits {
            sign_in: SHORT,
            ..Limits::default()
        })
        .await;
        drop(Peer::member(&server, "/ws", "alice", "a").await);
        let late = Peer::connect(&server, "/ws").await;
        assert_eq!(
            late.closed().await,
            (1008, "nobody signed in in time".to_owned())
        );
        let closes = async || -> Vec<String> {
            let metrics = server.get("/metrics").await.text().await.unwrap();
            let lines = metrics
                .lines()
                .filter(|line| line.starts_with("sync_socket_closes"));
            lines.map(str::to_owned).collect()
        };
        assert_eq!(
            closes().await,
            [r#"sync_socket_closes_total{code="1008"} 1"#]
        );
    }

    #[tokio::test]
    async fn a_message_in_parts_is_one() {
        let server = Server::start().await;
        let mut peer = Peer::connect(&server, "/ws").await;
        let frame = |bytes: &str, fin| {
            use tokio_tungstenite::tungstenite::protocol::frame::Frame;
            use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
            let code = if bytes.starts_with('{') {
                Data::Text
            } else {
                Data::Continue
            };
            Message::Frame(Frame::message(bytes.to_owned(), OpCode::Data(code), fin))
        };
        peer.0.send(frame("{\"type\":", false)).await.unwrap();
        peer.0.send(Message::Ping("x".into())).await.unwrap();
        assert_eq!(peer.next().await, Message::Pong("x".into()));
        peer.0.send(frame("\"ping\"}", true)).await.unwrap();
        assert_eq!(peer.heard().await, json!({"type": "pong"}));
    }
}
