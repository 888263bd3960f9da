//! A user or a space is erased, and whoever is there is told.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use sync_store::{MemoryStore, Role, Rules};
use sync_transport::Limits;
use tokio::sync::{Semaphore, watch};

use crate::exporting::KEY;
use crate::live::Peer;
use crate::stage::{Mood, Stage};
use crate::support::{Fault, Faulty, Make, Server, in_time, insert, refused};

#[tokio::test]
async fn an_erased_user_has_nothing_left_and_its_connections_are_closed() {
    let server = Server::known_to_a_service(Arc::new(MemoryStore::new(Rules::default()))).await;
    server.write("alice", "phone", "t", "a").await;
    server.write("bob", "phone", "t", "b").await;
    let mut stream = server.events("alice", "laptop", "?collections=t").await;
    assert_eq!(stream.changes("t").await, ["a"]);
    let socket = Peer::member(&server, "/ws", "alice", "tab").await;
    let mut other = Peer::member(&server, "/ws", "bob", "tab").await;
    let response = server.internal("DELETE", "/internal/users/alice").await;
    assert_eq!(response.status(), 200);
    let removed: Value = response.json().await.unwrap();
    assert_eq!(
        removed,
        json!({"changes": 1, "records": 1, "parked": 0, "grants": 0, "anonymized": 0, "claims": 0})
    );
    assert_eq!(stream.news().await, None);
    let said = "everything of this user was erased: what comes now begins anew".to_owned();
    assert_eq!(socket.closed().await, (1008, said));
    other.is_served().await;
    let since = "1970-01-01T00:00:00Z";
    let read = server.pull_as("alice", "new", "t", since).await;
    assert_eq!(read["serverChanges"], json!([]));
    let read = server.pull_as("bob", "new", "t", since).await;
    assert_eq!(read["serverChanges"][0]["id"], "b");
    server.write("alice", "phone", "t", "a").await;
    let read = server.pull_as("alice", "new", "t", since).await;
    assert_eq!(read["serverChanges"][0]["id"], "a", "it may begin anew");
}

#[tokio::test]
async fn members_of_an_erased_space_are_told() {
    let stage = Stage::new(Mood::Well);
    stage.grant("alice", "club", Some(Role::Writer)).await;
    stage.grant("bob", "club", Some(Role::Reader)).await;
    let server = Server::known_to_a_service(stage).await;
    let shared = insert("t", "a", r#"{"spaceId":"club"}"#);
    server.push_as("alice", "phone", shared).await;
    let mut stream = server.events("bob", "laptop", "?collections=t").await;
    assert_eq!(stream.changes("t").await, ["a"]);
    let socket = Peer::member(&server, "/ws", "bob", "tab").await;
    let response = server.internal("DELETE", "/internal/spaces/club").await;
    let removed: Value = response.json().await.unwrap();
    assert_eq!(
        (&removed["changes"], &removed["grants"]),
        (&json!(1), &json!(2))
    );
    let told = stream.news().await.unwrap();
    assert_eq!(
        (told.name.as_str(), &told.data),
        ("spaces", &json!({"removed": ["club"]}))
    );
    assert_eq!(socket.closed().await.0, 1013);
}

#[tokio::test]
async fn only_a_service_may_erase() {
    let server = Server::known_to_a_service(Arc::new(MemoryStore::new(Rules::default()))).await;
    server.write("alice", "phone", "t", "a").await;
    for path in ["/internal/users/alice", "/internal/spaces/club"] {
        let wrong = server
            .request("DELETE", path)
            .header("X-Service-Key", "another-key-of-bytes");
        let wrong = wrong.send().await.unwrap();
        assert_eq!(refused(wrong).await, (401, json!("service_key_invalid")));
        let get = server.internal("GET", path).await;
        assert_eq!(refused(get).await, (405, json!("method_not_allowed")));
    }
    let bad = server.internal("DELETE", "/internal/users/a%00b").await;
    assert_eq!(refused(bad).await, (400, json!("invalid_parameter")));
    let read = server
        .pull_as("alice", "new", "t", "1970-01-01T00:00:00Z")
        .await;
    assert_eq!(read["serverChanges"][0]["id"], "a");
}

#[tokio::test]
async fn what_takes_long_goes_on_and_is_asked_for_again() {
    let (gate, calls) = (Arc::new(Semaphore::new(0)), watch::Sender::new(0));
    let store = Faulty::new(Fault::Held(Arc::clone(&gate), calls.clone()));
    let make = Make {
        store: Arc::new(store),
        service_keys: "auth:auth-key-of-sixteen-bytes",
        limits: Limits {
            request: Duration::from_millis(400),
            ..Limits::default()
        },
        ..Make::default()
    };
    assert!(make.service_keys.ends_with(KEY));
    let server = Server::made(make).await;
    for _ in 0..2 {
        let response = server.internal("DELETE", "/internal/users/alice").await;
        assert_eq!(response.status(), 202);
        let body: Value = response.json().await.unwrap();
        assert_eq!(body["status"], "erasing");
    }
    assert_eq!(*calls.borrow(), 1, "the second waits for the first");
    gate.add_permits(10);
    in_time(calls.subscribe().wait_for(|calls| *calls == 2))
        .await
        .unwrap();
    let response = server.internal("DELETE", "/internal/users/alice").await;
    assert_eq!(response.status(), 200);
}

#[tokio::test]
async fn an_erasure_without_a_store_is_to_be_repeated() {
    let server = Server::known_to_a_service(Arc::new(Faulty::new(Fault::Away))).await;
    let away = server.internal("DELETE", "/internal/users/alice").await;
    assert_eq!(away.headers()["retry-after"], "5");
    assert_eq!(refused(away).await, (503, json!("store_unavailable")));
}
