//! Users and addresses that ask too often: they are told so, and others are served.

use std::num::NonZeroU32;

use reqwest::{Response, header::HeaderMap};
use serde_json::{Value, json};
use sync_transport::Limits;

use crate::live::Peer;
use crate::support::{Make, Server, in_time, keep_log, line, refused};

const PULL: &str = "/sync/todo/pull?collection=tasks&since=0";

/// What an answer says of who asks too often: status, code, when to come again.
async fn told(response: Response) -> (u16, Value, Option<u64>) {
    let seconds = retry_after(response.headers());
    let (status, code) = refused(response).await;
    (status, code, seconds)
}

fn retry_after(headers: &HeaderMap) -> Option<u64> {
    let value = headers.get("retry-after")?.to_str().unwrap();
    Some(value.parse().unwrap())
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
        let over = pull(&server, "anna").await;
        let seconds = retry_after(over.headers());
        let body: Value = over.json().await.unwrap();
        let message = "more than 4 requests a minute of this user: try again in 15 s";
        assert_eq!(
            (seconds, body),
            (
                Some(15),
                json!({"error": "rate_limited", "message": message})
            )
        );
        assert_eq!(pull(&server, "ben").await.status(), 200);
    }

    #[tokio::test]
    async fn pushes_pulls_and_streams_count_together_whatever_is_wrong_with_them() {
        let server = server(12).await;
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
            let (status, code, seconds) = told(as_anna(method, path).send().await.unwrap()).await;
            assert_eq!((status, code), (429, json!("rate_limited")), "{path}");
            assert!((1..=5).contains(&seconds.unwrap()), "{seconds:?}");
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
        let message = "more than 4 requests a minute of this user: try again in 15 s";
        assert_eq!(second.error().await, message);
        assert_eq!(second.closed().await, (1013, message.to_owned()));
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
        let over = told(server.get(PULL).await).await;
        assert_eq!(over, (429, json!("rate_limited"), Some(15)));
        let with_token = server.as_user("GET", PULL, "a").send().await.unwrap();
        assert_eq!(with_token.status(), 429);
        let limited = r#"sync_rate_limited_total{limit="address"} 2"#;
        counts(&server, &[limited]).await;
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
