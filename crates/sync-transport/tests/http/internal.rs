//! The way in for other services: who may come in, and who not.

use std::num::NonZeroU32;

use reqwest::{RequestBuilder, Response};
use serde_json::json;
use sync_transport::Limits;
use test_services::Services;

use crate::stage::{Mood, Stage};
use crate::support::{Make, Server, insert, refused};

const KEY: &str = "billing-0123456789abcdef";
const KEYS: &str = "billing:billing-0123456789abcdef,auth:auth-0123456789abcdef";
const PUSH: &str = "/internal/sync/todo?user=alice";
const CHANGED: &str = "/internal/memberships/alice/changed";

async fn server() -> Server {
    made(Make::default()).await
}

async fn made(make: Make) -> Server {
    Server::made(Make {
        service_keys: KEYS,
        ..make
    })
    .await
}

async fn sent(request: RequestBuilder) -> Response {
    request.send().await.unwrap()
}

#[tokio::test]
async fn without_the_key_of_a_service_nobody_comes_in() {
    let server = server().await;
    let token = server.token("alice");
    for path in [PUSH, CHANGED] {
        let request = || {
            server
                .request("POST", path)
                .body(insert("tasks", "t", "{}"))
        };
        for request in [
            request(),
            request().bearer_auth(&token),
            request().bearer_auth(KEY),
            request().header("X-Service-Key", ""),
            request().header("X-Service-Key", "billing"),
            request().header("X-Service-Key", &KEY[..KEY.len() - 1]),
            request().header("X-Service-Key", format!("{KEY}x")),
            request().header("X-Service-Key", format!("billing:{KEY}")),
            request().header("X-Service-Key", &token),
            // Which of two is meant is anybody's guess.
            request()
                .header("X-Service-Key", KEY)
                .header("X-Service-Key", KEY),
        ] {
            let response = sent(request).await;
            let challenge = response.headers()["www-authenticate"].clone();
            assert_eq!(challenge, "ServiceKey realm=\"sync\"");
            let refused = refused(response).await;
            assert_eq!(refused, (401, json!("service_key_invalid")), "{path}");
        }
    }
    assert_eq!(server.pull("b", "tasks").await["serverChanges"], json!([]));
}

#[tokio::test]
async fn a_server_without_keys_lets_no_service_in() {
    let server = Server::start().await;
    for key in ["", KEY] {
        let request = server.request("POST", PUSH).header("X-Service-Key", key);
        let refused = refused(sent(request.body("{}")).await).await;
        assert_eq!(refused, (401, json!("service_key_invalid")));
    }
}

#[tokio::test]
async fn the_key_of_a_service_is_no_token() {
    let server = server().await;
    let path = "/sync/todo/pull?collection=tasks&since=0";
    let with_key = server.request("GET", path).header("X-Service-Key", KEY);
    let as_token = server.request("GET", path).bearer_auth(KEY);
    for (request, code) in [(with_key, "token_missing"), (as_token, "token_invalid")] {
        assert_eq!(refused(sent(request).await).await, (401, json!(code)));
    }
}

#[tokio::test]
async fn a_service_writes_for_the_user_that_it_names_and_for_nobody_else() {
    let server = server().await;
    let push = |path: &str| server.request("POST", path).header("X-Service-Key", KEY);
    let body = insert("tasks", "t", r#"{"a":1}"#);
    for path in [
        "/internal/sync/todo",
        "/internal/sync/todo?user=",
        "/internal/sync/todo?user=%00",
    ] {
        let refused = refused(sent(push(path).body(body.clone())).await).await;
        assert_eq!(refused, (400, json!("invalid_parameter")), "{path}");
    }
    // Its key says who calls, whatever it calls itself.
    let request = push(PUSH).header("X-Client-Id", "phone");
    assert_eq!(sent(request.body(body)).await.status(), 200);
    let pulled = server.pull("phone", "tasks").await;
    assert_eq!(pulled["serverChanges"][0]["data"], json!({"a": 1}));
    let path = "/sync/todo/pull?collection=tasks&since=0";
    let other = server.request("GET", path).bearer_auth(server.token("bob"));
    let other: serde_json::Value = sent(other).await.json().await.unwrap();
    assert_eq!(other["serverChanges"], json!([]));
}

#[tokio::test]
async fn a_wrong_method_of_an_internal_path_is_405_as_everywhere() {
    let server = server().await;
    for method in ["GET", "HEAD", "PUT", "OPTIONS"] {
        for path in [PUSH, CHANGED] {
            let request = server.request(method, path).header("X-Service-Key", KEY);
            let response = sent(request).await;
            assert_eq!(response.headers()["allow"], "POST", "{method} {path}");
            assert_eq!(response.status(), 405);
            if method != "HEAD" {
                let refused = refused(response).await;
                assert_eq!(refused, (405, json!("method_not_allowed")), "{path}");
            }
        }
    }
}

#[tokio::test]
async fn a_page_is_not_allowed_to_send_the_key_of_a_service() {
    let origin = "https://app.example";
    let server = made(Make {
        origins: origin,
        ..Make::default()
    })
    .await;
    for path in [PUSH, CHANGED] {
        let asked = server.request("OPTIONS", path).header("Origin", origin);
        let asked = asked.header("Access-Control-Request-Method", "POST");
        let asked = asked.header("Access-Control-Request-Headers", "x-service-key");
        let answer = sent(asked).await;
        let headers = answer.headers()["access-control-allow-headers"].clone();
        assert!(
            !headers.to_str().unwrap().contains("service"),
            "{headers:?}"
        );
    }
}

#[tokio::test]
async fn who_tries_keys_is_slowed_down_and_a_service_is_not() {
    let server = made(Make {
        limits: Limits {
            address_rate: NonZeroU32::new(4),
            ..Limits::default()
        },
        ..Make::default()
    })
    .await;
    let push = |key: &str| {
        let request = server.request("POST", PUSH).header("X-Service-Key", key);
        sent(request.body(insert("tasks", "t", "{}")))
    };
    for _ in 0..5 {
        assert_eq!(push(KEY).await.status(), 200);
    }
    assert_eq!(push("wrong-0123456789abcdef").await.status(), 401);
    assert_eq!(push("wrong-0123456789abcdef").await.status(), 429);
    assert_eq!(push(KEY).await.status(), 200);
}

#[tokio::test]
async fn a_removal_that_is_announced_counts_before_the_announcer_is_answered() {
    let services = Services::start().await.unwrap();
    let stage = Stage::new(Mood::Well);
    let server = made(Make {
        store: stage,
        services: Some(services.url()),
        ..Make::default()
    })
    .await;
    services.set_memberships("alice", &[("team", "member")]);
    services.set_memberships("bob", &[("team", "member")]);
    let shared = insert("tasks", "t", r#"{"spaceId":"team"}"#);
    let pushed = server
        .request("POST", "/sync/todo")
        .bearer_auth(server.token("bob"));
    assert_eq!(sent(pushed.body(shared)).await.status(), 200);
    let read = server.pull("b", "tasks").await;
    assert_eq!(read["serverChanges"][0]["id"], "t");
    services.set_memberships("alice", &[]);
    let announced = server.request("POST", CHANGED).header("X-Service-Key", KEY);
    assert_eq!(sent(announced).await.status(), 204);
    let read = server.pull("b", "tasks").await;
    assert_eq!(read["serverChanges"], json!([]));
    assert_eq!(read["removedSpaces"], json!(["team"]));
    let shared = insert("tasks", "u", r#"{"spaceId":"team"}"#);
    let pushed: serde_json::Value = server.push("a", shared).await.json().await.unwrap();
    assert_eq!(pushed["warnings"][0]["code"], "space_write_denied");
}
