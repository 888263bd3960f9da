//! What web clients hear of an upload, and rows clients see of a push.

use serde_json::json;

use super::{PK, change};
use crate::live::Peer;
use crate::support::{Server, insert};

#[tokio::test]
async fn streams_and_sockets_of_the_user_hear_of_an_upload_in_each_of_its_apps() {
    let server = Server::start().await;
    let mut events = server.events("alice", "a", "?collections=tasks").await;
    assert_eq!(events.changes("tasks").await, Vec::<String>::new());
    let mut of_all = Peer::member(&server, "/ws", "alice", "a").await;
    let mut of_app = Peer::member(&server, "/ws/todo", "alice", "b").await;
    let mut other = Peer::member(&server, "/ws", "bob", "a").await;
    server.uploaded("phone", &[change("notes", 1, PK)]).await;
    of_all.is_told("notes", &["tasks"]).await;
    server.uploaded("phone", &[change("todo", 2, PK)]).await;
    of_all.is_told("todo", &["tasks"]).await;
    of_app.is_told("todo", &["tasks"]).await;
    let event = events.news().await.unwrap();
    assert_eq!((event.table(), event.ids()), ("tasks", vec![PK.to_owned()]));
    // Nobody else was told anything.
    server.write("bob", "b", "marker", "t").await;
    other.is_told("todo", &["marker"]).await;
}

#[tokio::test]
async fn a_device_that_speaks_both_dialects_does_not_hear_its_own_upload() {
    let server = Server::start().await;
    let mut own = Peer::member(&server, "/ws", "alice", "phone").await;
    server.uploaded("phone", &[change("todo", 1, PK)]).await;
    server.write("alice", "b", "marker", "t").await;
    own.is_told("todo", &["marker"]).await;
}

#[tokio::test]
async fn an_upload_that_changes_nothing_is_told_to_nobody() {
    let server = Server::start().await;
    server.uploaded("phone", &[change("todo", 1, PK)]).await;
    let mut peer = Peer::member(&server, "/ws", "alice", "b").await;
    // A replay, a conflict, a delete of nothing, and what is no row.
    server.uploaded("phone", &[change("todo", 1, PK)]).await;
    server.uploaded("tablet", &[change("todo", 1, PK)]).await;
    let absent = "1b7c1a2e-30f4-4c55-8d66-77e8f9a0b1c2";
    let delete = json!({"source_change_id": 2, "schema": "todo", "table": "tasks", "op": "DELETE", "pk": absent});
    server.uploaded("phone", &[delete]).await;
    let bad = json!({"source_change_id": 3, "schema": "todo", "table": "tasks", "op": "INSERT", "pk": "1"});
    server.uploaded("phone", &[bad]).await;
    server.write("alice", "a", "marker", "t").await;
    peer.is_told("todo", &["marker"]).await;
}

#[tokio::test]
async fn rows_and_changes_are_about_the_same_records() {
    let server = Server::start().await;
    server.uploaded("phone", &[change("todo", 1, PK)]).await;
    let pulled = server.pull("browser", "tasks").await;
    assert_eq!(pulled["serverChanges"][0]["id"], PK);
    let other = "1b7c1a2e-30f4-4c55-8d66-77e8f9a0b1c2";
    let body = insert("tasks", other, r#"{"title":"bread"}"#);
    server.push("browser", body).await;
    // What has no UUID is not for rows clients.
    server.push("browser", insert("tasks", "t1", "{}")).await;
    let page = server.downloaded("phone", "?schema=todo").await;
    let rows = page["changes"].as_array().unwrap();
    assert_eq!(rows.len(), 1, "{page}");
    assert_eq!(
        (
            &rows[0]["pk"],
            &rows[0]["payload"],
            &rows[0]["server_version"]
        ),
        (
            &json!(other),
            &json!({"id": other, "title": "bread"}),
            &json!(1)
        )
    );
    assert_eq!(rows[0]["source_change_id"], 0);
}
