//! Users and addresses that ask too often, or connect too often: they are told so, and others are served.

use std::io::ErrorKind;
use std::num::{NonZeroU32, NonZeroUsize};

use reqwest::Response;
use serde_json::{Value, json};
use sync_transport::Limits;
use tokio::io::AsyncWriteExt;

use crate::live::Peer;
use crate::support::{Make, Server, in_time, keep_log, line};

const PULL: &str = "/sync/todo/pull?collection=tasks&since=0";

/// An answer says that somebody of whom so many requests a minute are taken asks too often, and when to come again.
async fn is_too_often(response: Response, whose: &str, per_minute: u64) {
    assert_eq!(response.status(), 429);
    assert!(!response.headers()["x-request-id"].is_empty());
    let seconds = response.headers()["retry-after"].to_str().unwrap();
    let seconds: u64 = seconds.parse().unwrap();
    assert!((1..=60_u64.div_ceil(per_minute)).contains(&seconds));
    let message = format!(
        "more than {per_minute} requests a minute of this {whose}: try again in {seconds} s"
    );
    let body: Value = response.json().await.unwrap();
    assert_eq!(body, json!({"error": "rate_limited", "message": message}));
}

/// The text of the metrics has these lines.
async fn counts(server: &Server, lines: &[&str]) {
    let text = server.get("/metrics").await.text().await.unwrap();
    for line in lines {
        assert!(text.contains(&format!("{line}\n")), "{line} in {text}");
    }
}

mod users {
    use super::*;

    async fn server(per_minute: u32) -> Server {
        Server::with_limits(Limits {
            user_rate: NonZeroU32::new(per_minute),
            ..Limits::default()
        })
        .await
    }

    async fn pull(server: &Server, user: &str) -> Response {
        let request = server.request("GET", PULL);
        request
            .bearer_auth(server.token(user))
            .send()
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn who_asks_too_often_is_told_when_to_come_again_and_others_are_served() {
        let server = server(4).await;
        assert_eq!(pull(&server, "anna").await.status(), 200);
        is_too_often(pull(&server, "anna").await, "user", 4).await;
        assert_eq!(pull(&server, "ben").await.status(), 200);
    }

    #[tokio::test]
    async fn pushes_pulls_and_streams_count_together_whatever_is_wrong_with_them() {
        let server = server(9).await;
        let as_anna = |method, path| {
            let request = server.request(method, path);
            request.bearer_auth(server.token("anna"))
        };
        for (method, path, status) in [
            ("POST", "/sync/todo", 400),
            ("GET", "/sync/todo/stream", 200),
            ("GET", "/sync/a%00b/pull", 400),
        ] {
            let response = as_anna(method, path).body("{").send().await.unwrap();
            assert_eq!(response.status(), status, "{path}");
        }
        for (method, path) in [
            ("POST", "/sync/todo"),
            ("GET", "/sync/todo/stream"),
            ("GET", PULL),
            ("GET", "/sync/a%00b/pull"),
        ] {
            let response = as_anna(method, path).send().await.unwrap();
            is_too_often(response, "user", 9).await;
        }
        let limited = r#"sync_rate_limited_total{limit="user"} 4"#;
        counts(&server, &[limited]).await;
    }

    #[tokio::test]
    async fn who_waits_may_ask_again() {
        let server = server(60).await;
        let until_over = async { while pull(&server, "anna").await.status() == 200 {} };
        in_time(until_over).await;
        let again = async { while pull(&server, "anna").await.status() == 429 {} };
        in_time(again).await;
    }

    #[tokio::test]
    async fn a_bad_token_takes_nothing_from_the_user_that_it_names() {
        let server = server(4).await;
        let other = Server::start().await;
        let request = server.request("GET", PULL);
        let forged = request.bearer_auth(other.token("anna")).send().await;
        assert_eq!(forged.unwrap().status(), 401);
        assert_eq!(pull(&server, "anna").await.status(), 200);
    }

    #[tokio::test]
    async fn a_refused_request_is_in_the_log_with_its_user_as_a_digest() {
        keep_log();
        let server = server(4).await;
        assert_eq!(pull(&server, "anna").await.status(), 200);
        let over = pull(&server, "anna").await;
        let line = line(over.headers()["x-request-id"].to_str().unwrap()).await;
        let fields = &line["fields"];
        assert_eq!(fields["error"], "rate_limited");
        assert_eq!(fields["user"].as_str().unwrap().len(), 12);
        assert_eq!(fields["detail"], Value::Null);
    }

    #[tokio::test]
    async fn a_sign_in_of_a_socket_counts_too() {
        let server = server(4).await;
        let mut first = Peer::member(&server, "/ws", "anna", "phone").await;
        let mut second = Peer::connect(&server, "/ws").await;
        second.auth(&server.token("anna"), None).await;
        let message = second.error().await;
        let so_often = "more than 4 requests a minute of this user: try again in ";
        assert!(message.starts_with(so_often), "{message}");
        assert_eq!(second.closed().await, (1013, message));
        assert_eq!(pull(&server, "anna").await.status(), 429);
        first.is_served().await;
        Peer::member(&server, "/ws", "ben", "phone").await;
    }
}

mod addresses {
    use super::*;

    async fn server(per_minute: u32, proxies: &'static str) -> Server {
        Server::made(Make {
            limits: Limits {
                address_rate: NonZeroU32::new(per_minute),
                ..Limits::default()
            },
            proxies,
            ..Make::default()
        })
        .await
    }

    /// The status of a request without a token that comes, or says that it comes, from there.
    async fn from(server: &Server, forwarded: &str) -> u16 {
        let request = server.request("GET", PULL);
        let request = request.header("X-Forwarded-For", forwarded);
        request.send().await.unwrap().status().as_u16()
    }

    #[tokio::test]
    async fn an_address_that_asks_too_often_is_refused_before_its_token_is_looked_at() {
        let server = server(4, "").await;
        assert_eq!(server.get(PULL).await.status(), 401);
        is_too_often(server.get(PULL).await, "address", 4).await;
        let with_token = server.as_user("GET", PULL, "a").send().await.unwrap();
        assert_eq!(with_token.status(), 429);
        let limited = r#"sync_rate_limited_total{limit="address"} 2"#;
        counts(&server, &[limited]).await;
    }

    #[tokio::test]
    async fn a_client_that_says_everything_first_still_hears_that_it_asks_too_often() {
        let server = server(4, "").await;
        assert_eq!(server.get(PULL).await.status(), 401);
        let mut talker = server.socket().await;
        let head = "POST /sync/todo HTTP/1.1\r\nHost: x\r\nContent-Length: 8000000\r\n\r\n";
        talker.say(head).await;
        talker.say(vec![b'x'; 8_000_000]).await;
        talker.until("HTTP/1.1 429 ").await;
    }

    #[tokio::test]
    async fn whatever_is_asked_for_counts() {
        for (method, path, status) in [
            ("GET", "/ws", 426),
            ("GET", "/nowhere", 404),
            ("PUT", "/sync/todo", 405),
            ("GET", "/sync/todo/stream", 401),
        ] {
            let server = server(4, "").await;
            let first = server.request(method, path).send().await.unwrap();
            assert_eq!(first.status(), status, "{path}");
            assert_eq!(server.get(path).await.status(), 429, "{path}");
        }
    }

    #[tokio::test]
    async fn who_watches_over_the_server_is_never_refused() {
        let server = server(4, "").await;
        assert_eq!(server.get(PULL).await.status(), 401);
        assert_eq!(server.get(PULL).await.status(), 429);
        for path in ["/health", "/ready", "/metrics"] {
            for _ in 0..3 {
                assert_eq!(server.get(path).await.status(), 200, "{path}");
            }
            let wrong = server.request("POST", path).send().await.unwrap();
            assert_eq!(wrong.status(), 405, "{path}");
        }
        assert_eq!(server.get(PULL).await.status(), 429);
    }

    #[tokio::test]
    async fn pages_may_read_that_they_ask_too_often() {
        let origin = "https://app.example";
        let server = Server::made(Make {
            limits: Limits {
                address_rate: NonZeroU32::new(4),
                ..Limits::default()
            },
            origins: origin,
            ..Make::default()
        })
        .await;
        let ask = || server.request("GET", PULL).header("Origin", origin).send();
        assert_eq!(ask().await.unwrap().status(), 401);
        let over = ask().await.unwrap();
        assert_eq!(over.headers()["access-control-allow-origin"], origin);
        assert_eq!(over.status(), 429);
    }

    #[tokio::test]
    async fn behind_a_trusted_proxy_each_client_counts_and_what_it_makes_up_does_not() {
        let server = server(4, "127.0.0.0/8").await;
        assert_eq!(from(&server, "198.51.100.1").await, 401);
        assert_eq!(from(&server, "198.51.100.1").await, 429);
        assert_eq!(from(&server, "203.0.113.7, 198.51.100.1").await, 429);
        assert_eq!(from(&server, "198.51.100.1, 198.51.100.2").await, 401);
        assert_eq!(from(&server, "198.51.100.3, 127.0.0.5").await, 401);
        assert_eq!(from(&server, "198.51.100.3").await, 429);
    }

    #[tokio::test]
    async fn of_who_is_no_proxy_nothing_is_believed_and_the_log_tells_the_operator() {
        keep_log();
        let server = server(4, "10.0.0.0/8").await;
        assert_eq!(from(&server, "198.51.100.1").await, 401);
        let request = server.request("GET", PULL);
        let over = request.header("X-Forwarded-For", "198.51.100.2").send();
        let over = over.await.unwrap();
        assert_eq!(over.status(), 429);
        let line = line(over.headers()["x-request-id"].to_str().unwrap()).await;
        let detail = line["fields"]["detail"].as_str().unwrap();
        assert!(detail.contains("SYNC_TRUSTED_PROXIES"), "{detail}");
        assert!(!line.to_string().contains("198.51.100"), "{line}");
    }
}

mod connections {
    use super::*;
    use crate::support::Socket;

    async fn server(each: usize, proxies: &'static str) -> Server {
        Server::made(Make {
            limits: Limits {
                address_connections: NonZeroUsize::new(each),
                ..Limits::default()
            },
            proxies,
            ..Make::default()
        })
        .await
    }

    /// Asks on a connection of its own, which ends; gives the head and the body of the answer.
    async fn asked(server: &Server) -> (String, String) {
        let mut socket = server.socket().await;
        let asked = "GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        socket.say(asked).await;
        let answer = socket.all().await;
        let (head, body) = answer.split_once("\r\n\r\n").expect("it is told");
        (head.to_owned(), body.to_owned())
    }

    /// Asks over a connection that stays, until it is the only one.
    async fn until_alone(watcher: &mut Socket) {
        let alone = async {
            loop {
                watcher
                    .say("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
                    .await;
                watcher.until("gauge\nsync_http_connections ").await;
                if watcher.until("\n").await == "1\n" {
                    break;
                }
            }
        };
        in_time(alone).await;
    }

    /// A server of two connections for each address, and one that stays.
    async fn watched() -> (Server, Socket) {
        let server = server(2, "").await;
        let mut watcher = server.socket().await;
        watcher.ask().await;
        (server, watcher)
    }

    async fn is_full(server: &Server) {
        let (head, _) = asked(server).await;
        assert!(head.starts_with("HTTP/1.1 429 "), "{head}");
    }

    #[tokio::test]
    async fn one_more_than_an_address_may_have_is_told_so_and_served_once_another_is_closed() {
        let server = server(2, "").await;
        let (mut first, mut second) = (server.socket().await, server.socket().await);
        first.ask().await;
        second.ask().await;
        let (head, body) = asked(&server).await;
        let length = format!("content-length: {}", body.len());
        for line in [
            "HTTP/1.1 429 Too Many Requests",
            "content-type: application/json",
            "retry-after: 5",
            "connection: close",
            &length,
        ] {
            assert!(head.lines().any(|own| own == line), "{line} in {head}");
        }
        let body: Value = serde_json::from_str(&body).unwrap();
        let message = "this address has as many connections open as one may have: close some";
        let error = json!({"error": "too_many_connections", "message": message});
        assert_eq!(body, error);
        drop(first);
        until_alone(&mut second).await;
        server.socket().await.ask().await;
    }

    #[tokio::test]
    async fn a_client_that_sends_a_lot_still_hears_why_it_is_refused() {
        let server = server(1, "").await;
        let mut only = server.socket().await;
        only.ask().await;
        let mut talker = server.socket().await;
        let length = 8 << 20;
        talker
            .say(format!(
                "POST /sync/todo HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n"
            ))
            .await;
        // It does not look for an answer before it has said everything.
        talker.say(vec![b'x'; length]).await;
        let answer = talker.all().await;
        assert!(answer.starts_with("HTTP/1.1 429 "), "{answer}");
    }

    #[tokio::test]
    async fn a_refused_connection_takes_no_seat_and_many_of_them_are_just_closed() {
        let server = Server::with_limits(Limits {
            connections: 3,
            address_connections: NonZeroUsize::new(2),
            ..Limits::default()
        })
        .await;
        let (mut first, mut second) = (server.socket().await, server.socket().await);
        first.ask().await;
        second.ask().await;
        // They say nothing, so that they are waited for as long as that may take.
        let mut silent = Vec::new();
        for _ in 0..64 {
            silent.push(server.socket().await);
        }
        let mut one_more = server.socket().await;
        assert_eq!(one_more.all().await, "");
        let nothing = silent[63].0.try_read(&mut [0]).unwrap_err();
        assert_eq!(nothing.kind(), ErrorKind::WouldBlock, "it is waited for");
        let metrics = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
        first.say(metrics).await;
        first.until("sync_connections_refused_total 65\n").await;
        for mut socket in silent {
            assert_eq!(socket.all().await, "", "each is closed in the end");
        }
        is_full(&server).await;
    }

    #[tokio::test]
    async fn trusted_proxies_have_as_many_as_they_like() {
        let server = server(1, "127.0.0.1").await;
        let mut sockets = Vec::new();
        for _ in 0..5 {
            let mut socket = server.socket().await;
            socket.ask().await;
            sockets.push(socket);
        }
    }

    #[tokio::test]
    async fn however_a_connection_ends_its_place_is_free_again() {
        let (server, mut watcher) = watched().await;
        // A client that goes without a word, before its request and after it.
        drop(server.socket().await);
        until_alone(&mut watcher).await;
        let mut idle = server.socket().await;
        idle.ask().await;
        is_full(&server).await;
        drop(idle);
        until_alone(&mut watcher).await;
        // One that breaks off.
        let mut broken = server.socket().await;
        broken.ask().await;
        broken.0.set_zero_linger().unwrap();
        drop(broken);
        until_alone(&mut watcher).await;
        // One that speaks nonsense, and is closed by the server.
        let mut nonsense = server.socket().await;
        nonsense.say("nonsense\r\n\r\n").await;
        assert!(nonsense.all().await.starts_with("HTTP/1.1 400 "));
        until_alone(&mut watcher).await;
        server.socket().await.ask().await;
    }

    #[tokio::test]
    async fn a_stream_has_a_place_until_it_ends() {
        let (server, mut watcher) = watched().await;
        let stream = format!(
            "GET /sync/todo/stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n",
            server.token("anna")
        );
        let mut socket = server.socket().await;
        socket.say(&stream).await;
        socket.until(": open").await;
        is_full(&server).await;
        drop(socket);
        until_alone(&mut watcher).await;
        server.socket().await.ask().await;
    }

    #[tokio::test]
    async fn a_socket_has_a_place_until_it_ends_however_it_does() {
        let (server, mut watcher) = watched().await;
        // The client is gone.
        let peer = Peer::member(&server, "/ws", "anna", "phone").await;
        is_full(&server).await;
        drop(peer);
        until_alone(&mut watcher).await;
        // The server closes it.
        let mut peer = Peer::connect(&server, "/ws").await;
        is_full(&server).await;
        peer.auth("nonsense", None).await;
        peer.error().await;
        assert_eq!(peer.closed().await.0, 1008);
        until_alone(&mut watcher).await;
        // It breaks the protocol.
        let mut peer = Peer::connect(&server, "/ws").await;
        peer.0.get_mut().write_all(&[0xff; 16]).await.unwrap();
        assert_eq!(peer.closed().await.0, 1002);
        until_alone(&mut watcher).await;
        // The handshake is refused, and the connection closed.
        let mut refused = server.socket().await;
        let handshake = "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        refused.say(handshake).await;
        assert!(refused.all().await.starts_with("HTTP/1.1 426 "));
        until_alone(&mut watcher).await;
        server.socket().await.ask().await;
    }
}
