//! Who is in which space, as the membership service says; and other services that call.

use reqwest::Response;
use serde_json::{Value, json};
use test_services::{Mood, Service, Services};

use crate::live::{Peer, said};
use crate::support::{Make, Server, refused};

const KEYS: &str =
    "mailer:0123456789abcdef-mailer,crm:0123456789abcdef-crm,crm:0123456789abcdef-next";

/// A server that asks, and that lets services in.
async fn server() -> (Server, Services) {
    let services = Services::start().await.unwrap();
    let make = Make {
        services: Some(services.url()),
        service_keys: KEYS,
        ..Make::default()
    };
    (Server::made(make).await, services)
}

async fn call(server: &Server, path: &str, key: &str, body: &str) -> Response {
    let request = server.request("POST", path).header("X-Service-Key", key);
    request.body(body.to_owned()).send().await.unwrap()
}

fn shared(space: &str) -> Value {
    let change =
        json!({"table": "tasks", "id": "t", "op": "insert", "data": {"a": 1}, "spaceId": space});
    json!({"since": "", "changes": [change]})
}

#[tokio::test]
async fn the_members_of_a_space_are_those_that_the_service_names() {
    let (server, services) = server().await;
    services.set_memberships("alice", &[("team", "owner")]);
    services.set_memberships("bob", &[("team", "guest"), ("_personal:bob", "owner")]);
    let pushed = server.push_as("alice", "a", shared("team")).await;
    assert_eq!(pushed.get("warnings"), None);
    let since = "1970-01-01T00:00:00Z";
    let read = server.pull_as("bob", "b", "tasks", since).await;
    assert_eq!(read["serverChanges"][0]["author"], "alice");
    let denied = server.push_as("bob", "b", shared("team")).await;
    assert_eq!(denied["warnings"][0]["code"], "space_write_denied");
    let none = server.pull_as("eve", "e", "tasks", since).await;
    assert_eq!(none["serverChanges"], json!([]));
    assert_eq!(services.count(Service::Memberships), 3, "answers are kept");
}

#[tokio::test]
async fn a_change_that_names_an_unknown_space_has_the_service_asked_once_more() {
    let (server, services) = server().await;
    server.pull("a", "tasks").await;
    services.set_memberships("alice", &[("team", "owner")]);
    // Asked a moment ago, it is not asked again at once.
    let pushed = server.push_as("alice", "a", shared("team")).await;
    assert_eq!(pushed["warnings"][0]["code"], "space_write_denied");
    assert_eq!(services.count(Service::Memberships), 1);
    server.step_by(11_000);
    let pushed = server.push_as("alice", "a", shared("team")).await;
    assert_eq!(pushed.get("warnings"), None);
    assert_eq!(services.count(Service::Memberships), 2);
}

#[tokio::test]
async fn a_change_that_is_announced_bites_at_once() {
    let (server, services) = server().await;
    services.set_memberships("alice", &[("team", "owner")]);
    services.set_memberships("bob", &[("team", "member")]);
    let mut events = server.events("bob", "b", "").await;
    server.push_as("alice", "a", shared("team")).await;
    assert_eq!(events.changes("tasks").await, ["t"]);
    let peer = Peer::member(&server, "/ws", "bob", "c").await;
    services.set_memberships("bob", &[]);
    let path = "/internal/memberships/bob/changed";
    let told = call(&server, path, "0123456789abcdef-crm", "").await;
    assert_eq!(told.status(), 204);
    let why = "you may see other spaces than before: pull all, and connect again";
    assert_eq!(peer.closed().await, (1013, why.to_owned()));
    let left = said("spaces", json!({"removed": ["team"]}));
    assert_eq!(events.news().await, left);
    let read = server
        .pull_as("bob", "b", "tasks", "1970-01-01T00:00:00Z")
        .await;
    assert_eq!(
        (&read["serverChanges"], &read["removedSpaces"]),
        (&json!([]), &json!(["team"]))
    );
}

#[tokio::test]
async fn an_announcement_that_cannot_be_looked_into_is_refused_and_remembered() {
    let (server, services) = server().await;
    services.set_memberships("bob", &[("team", "member")]);
    server.push_as("bob", "b", shared("team")).await;
    services.set_memberships("bob", &[]);
    services.mood(Service::Memberships, Mood::Status(500));
    let path = "/internal/memberships/bob/changed";
    let told = call(&server, path, "0123456789abcdef-crm", "").await;
    assert_eq!(refused(told).await, (503, json!("memberships_unavailable")));
    let since = "1970-01-01T00:00:00Z";
    let read = server.pull_as("bob", "c", "tasks", since).await;
    assert_eq!(read["serverChanges"][0]["id"], "t", "grants stand");
    services.mood(Service::Memberships, Mood::Well);
    let read = server.pull_as("bob", "c", "tasks", since).await;
    assert_eq!(read["removedSpaces"], json!(["team"]));
}

#[tokio::test]
async fn a_service_writes_for_a_user_by_its_own_name() {
    let (server, _services) = server().await;
    let mut peer = Peer::member(&server, "/ws", "../x?y#z", "b").await;
    let path = "/internal/sync/todo?user=..%2Fx%3Fy%23z";
    let body = r#"{"clientId":"b","since":"","changes":[{"table":"mail","id":"m","op":"insert","data":{"a":1}}]}"#;
    for key in ["0123456789abcdef-next", "0123456789abcdef-crm"] {
        let answer = call(&server, path, key, body).await;
        assert_eq!(answer.status(), 200);
        let answer: Value = answer.json().await.unwrap();
        // It is the same service, so the same write: the second time it stores nothing.
        assert_eq!(answer["conflicts"], json!([]));
    }
    peer.is_told("todo", &["mail"]).await;
    let read = server
        .pull_as("../x?y#z", "b", "mail", "2025-01-01T00:00:00Z")
        .await;
    assert_eq!(read["serverChanges"][0]["id"], "m");
    let read = server
        .pull_as("../x?y#z", "service:crm", "mail", "2025-01-01T00:00:00Z")
        .await;
    assert_eq!(
        read["serverChanges"],
        json!([]),
        "its own client does not hear of it"
    );
}

#[tokio::test]
async fn without_a_key_that_counts_nobody_is_a_service() {
    let (server, _services) = server().await;
    let paths = [
        "/internal/sync/todo?user=alice",
        "/internal/memberships/alice/changed",
    ];
    for path in paths {
        let mut answers = vec![server.request("POST", path)];
        for key in ["", "0123456789abcdef-crn", "crm:0123456789abcdef-crm"] {
            answers.push(server.request("POST", path).header("X-Service-Key", key));
        }
        let twice = server.request("POST", path);
        let key = "0123456789abcdef-crm";
        answers.push(
            twice
                .header("X-Service-Key", key)
                .header("X-Service-Key", key),
        );
        answers.push(
            server
                .request("POST", path)
                .bearer_auth(server.token("alice")),
        );
        for request in answers {
            let response = request.body("{}").send().await.unwrap();
            assert!(response.headers().contains_key("www-authenticate"));
            assert_eq!(refused(response).await, (401, json!("service_key_invalid")));
        }
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_service_s_call_is_said() {
    let (server, _services) = server().await;
    let key = "0123456789abcdef-crm";
    let long = format!("/internal/memberships/{}/changed", "a".repeat(257));
    for (path, code) in [
        ("/internal/sync/todo", "invalid_parameter"),
        ("/internal/sync/todo?user=", "invalid_parameter"),
        ("/internal/sync/todo?user=a%00", "invalid_parameter"),
        ("/internal/sync/%00?user=alice", "invalid_app_id"),
        ("/internal/sync/todo?user=alice", "invalid_json"),
        ("/internal/memberships/%00/changed", "invalid_parameter"),
        ("/internal/memberships/%FF/changed", "invalid_parameter"),
        (&long, "invalid_parameter"),
    ] {
        let answer = refused(call(&server, path, key, "no JSON").await).await;
        assert_eq!(answer, (400, json!(code)), "{path}");
    }
    let alone = Server::made(Make {
        service_keys: KEYS,
        ..Make::default()
    });
    let answer = call(&alone.await, "/internal/memberships/alice/changed", key, "").await;
    assert_eq!(refused(answer).await, (501, json!("memberships_off")));
}
