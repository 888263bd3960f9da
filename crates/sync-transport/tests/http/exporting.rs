//! Everything of a user or a space, as lines of JSON.

use std::pin::pin;
use std::sync::Arc;

use futures_util::StreamExt;
use reqwest::Response;
use serde_json::{Value, json};
use sync_protocol::{Audience, UserId};
use sync_store::{Role, Store};
use sync_transport::export;

use crate::live::inserts;
use crate::stage::{Mood, Stage};
use crate::support::{Fault, Faulty, Make, NOW, Server, insert, refused};

pub(crate) const KEY: &str = "auth-key-of-sixteen-bytes";

impl Server {
    /// On this store, with a service that may call.
    pub(crate) async fn known_to_a_service(store: Arc<dyn Store>) -> Self {
        let make = Make {
            store,
            service_keys: "auth:auth-key-of-sixteen-bytes",
            ..Make::default()
        };
        Self::made(make).await
    }

    pub(crate) async fn internal(&self, method: &str, path: &str) -> Response {
        let request = self.request(method, path).header("X-Service-Key", KEY);
        request.send().await.unwrap()
    }

    /// The lines of an export.
    async fn exported(&self, path: &str) -> Vec<Value> {
        let response = self.internal("GET", path).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "application/x-ndjson");
        assert_eq!(response.headers()["cache-control"], "no-store");
        let text = response.text().await.unwrap();
        assert!(text.ends_with('\n'));
        let lines = text.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

#[tokio::test]
async fn an_export_has_a_head_a_line_for_each_thing_and_an_end() {
    let stage = Stage::new(Mood::Well);
    stage.grant("alice", "club", Some(Role::Writer)).await;
    stage.grant("bob", "club", Some(Role::Reader)).await;
    let server = Server::known_to_a_service(stage).await;
    let changes = r#"{"since":"","changes":[
        {"table":"t","id":"a","op":"insert","spaceId":"club","actor":{"n":1.50},
            "data":{"x":1.00,"y":[1,
2]}},
        {"table":"t","id":"b","op":"insert","data":{"x":"\u0000"}},
        {"table":"t","id":"b\u0001","op":"insert","data":{}}]}"#;
    server.push_as("alice", "phone", changes).await;
    let mut lines = server.exported("/internal/users/alice/export").await;
    assert_eq!(lines.len(), 6);
    assert_eq!(
        lines[0],
        json!({"kind": "export", "version": 1, "user": "alice", "at": "2026-01-01T00:00:00.000Z"})
    );
    assert_eq!(lines[5], json!({"kind": "end", "lines": 5}));
    let position = lines[1]["position"].take();
    assert!(
        position
            .as_str()
            .unwrap()
            .starts_with("2026-01-01T00:00:00.")
    );
    assert_eq!(
        lines[1],
        json!({"kind": "grant", "user": "alice", "space": "club", "role": "writer", "position": null})
    );
    assert_eq!(
        (&lines[2]["kind"], &lines[2]["appId"]),
        (&json!("parked"), &json!("todo"))
    );
    assert_eq!(lines[2]["change"]["id"], "b\u{1}");
    lines[3..5].sort_by_key(|line| line["id"].to_string());
    let own = lines[4].as_object_mut().unwrap();
    assert!(own.remove("position").is_some() && own.remove("eventId").is_some());
    assert_eq!(
        lines[4],
        json!({"kind": "change", "scope": "u:alice", "appId": "todo", "table": "t", "id": "b", "op": "insert",
            "schemaVersion": 1, "author": "alice", "clientId": "phone", "receivedAt": "2026-01-01T00:00:00.000Z",
            "fields": {"x": {"value": "\u{0}", "at": "1970-01-01T00:00:00.000Z"}}})
    );
    assert_eq!(
        (&lines[3]["scope"], &lines[3]["spaceId"]),
        (&json!("s:club"), &json!("club"))
    );
    let text = server.internal("GET", "/internal/spaces/club/export").await;
    let text = text.text().await.unwrap();
    for part in [
        r#"{"kind":"export","version":1,"space":"club","#,
        r#""value":1.00,"#,
        r#"{"n":1.50}"#,
        "[1, 2]",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(text.contains(r#""user":"bob""#) && !text.contains("u:alice"));
    let nobody = server.exported("/internal/users/nobody/export").await;
    assert_eq!(nobody.len(), 2);
}

#[tokio::test]
async fn a_page_is_read_when_the_one_before_it_was_taken() {
    let stage = Stage::new(Mood::Well);
    let server = Server::known_to_a_service(stage.clone()).await;
    for some in 0..5 {
        let body = inserts(&["t"], &format!("r{some}-"), 500);
        server.push_as("alice", "phone", body).await;
    }
    let of = Audience::User(UserId::new("alice").unwrap());
    let mut parts = pin!(export(stage.clone(), of, NOW));
    let mut lines = Vec::new();
    let before = stage.asked();
    let mut asked = Vec::new();
    while let Some(part) = parts.next().await {
        let part = part.unwrap();
        lines.push(part.iter().filter(|byte| **byte == b'\n').count());
        asked.push(stage.asked() - before);
    }
    // Head and grants, what is kept aside and a thousand changes, and so on: what is empty is no part.
    assert_eq!(lines, [1, 1000, 1000, 500, 1]);
    assert_eq!(asked, [1, 3, 4, 5, 6]);
}

#[tokio::test]
async fn only_a_service_may_ask_and_names_are_checked() {
    let stage = Stage::new(Mood::Well);
    let server = Server::known_to_a_service(stage).await;
    for path in [
        "/internal/users/alice/export",
        "/internal/spaces/club/export",
    ] {
        let none = server.get(path).await;
        assert_eq!(refused(none).await, (401, json!("service_key_invalid")));
        let token = server.as_user("GET", path, "phone").send().await.unwrap();
        assert_eq!(refused(token).await, (401, json!("service_key_invalid")));
    }
    let bad = server.internal("GET", "/internal/users/a%00b/export").await;
    assert_eq!(refused(bad).await, (400, json!("invalid_parameter")));
    let name = "a/b c?%ü\"";
    server.push_as(name, "phone", insert("t", "x", "{}")).await;
    let path = "/internal/users/a%2Fb%20c%3F%25%C3%BC%22/export";
    let lines = server.exported(path).await;
    assert_eq!((lines.len(), &lines[0]["user"]), (3, &json!(name)));
}

#[tokio::test]
async fn a_store_that_is_away_is_told_before_the_answer_begins() {
    let server = Server::known_to_a_service(Arc::new(Faulty::new(Fault::Away))).await;
    let away = server.internal("GET", "/internal/users/alice/export").await;
    assert_eq!(away.headers()["retry-after"], "5");
    assert_eq!(refused(away).await, (503, json!("store_unavailable")));
}
