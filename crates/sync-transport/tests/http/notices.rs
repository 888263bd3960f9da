//! Notices on sockets: who is told of what, and who is not.
//!
//! What must not be told is written before what is told: had it been told, its table would be in the same notice or before it.

use std::sync::Arc;

use serde_json::{Value, json};
use sync_notify::{Hub, News, Notice};
use sync_protocol::{AppId, Audience, TableName, UserId};
use sync_store::Role;
use sync_transport::Limits;

use crate::live::{Peer, access, until};
use crate::stage::{Mood, Stage};
use crate::support::{Server, insert};

async fn server() -> (Server, Arc<Hub>, Arc<Stage>) {
    let stage = Stage::new(Mood::Well);
    let (server, hub) = Server::live(stage.clone(), Limits::default()).await;
    (server, hub, stage)
}

fn shared(table: &str, id: &str) -> Value {
    json!({"since": "", "changes": [
        {"table": table, "id": id, "op": "insert", "data": {"a": 1}, "spaceId": "team"}]})
}

/// What is said to who may see other spaces than before.
const MOVED: &str = "you may see other spaces than before: pull all, and connect again";

#[tokio::test]
async fn a_unified_socket_hears_of_all_apps_and_one_of_an_app_of_its_own() {
    let (server, ..) = server().await;
    let mut unified = Peer::member(&server, "/ws", "alice", "a").await;
    let mut of_app = Peer::member(&server, "/ws/caf%C3%A9", "alice", "b").await;
    let body = insert("tasks", "t", "{}");
    server.push_to("todo", "alice", "x", body.clone()).await;
    unified.is_told("todo", &["tasks"]).await;
    server.push_to("caf%C3%A9", "alice", "x", body).await;
    unified.is_told("café", &["tasks"]).await;
    of_app.is_told("café", &["tasks"]).await;
}

#[tokio::test]
async fn all_connections_of_the_user_are_told_but_those_of_the_client_that_wrote() {
    let (server, ..) = server().await;
    let mut writer = Peer::member(&server, "/ws", "alice", "a").await;
    let mut same = Peer::member(&server, "/ws/todo", "alice", "a").await;
    let mut device = Peer::member(&server, "/ws", "alice", "b").await;
    let mut nameless = Peer::connect(&server, "/ws").await;
    nameless.auth(&server.token("alice"), None).await;
    assert_eq!(nameless.heard().await, json!({"type": "auth-ok"}));
    // The same name is another client where the user is another one.
    let mut other = Peer::member(&server, "/ws", "bob", "a").await;
    server.write("alice", "a", "first", "t").await;
    device.is_told("todo", &["first"]).await;
    nameless.is_told("todo", &["first"]).await;
    server.write("alice", "b", "second", "t").await;
    for peer in [&mut writer, &mut same, &mut nameless] {
        peer.is_told("todo", &["second"]).await;
    }
    server.write("bob", "b", "third", "t").await;
    other.is_told("todo", &["third"]).await;
    server.write("alice", "", "fourth", "t").await;
    for peer in [&mut writer, &mut same, &mut device, &mut nameless] {
        peer.is_told("todo", &["fourth"]).await;
    }
}

#[tokio::test]
async fn a_socket_may_sign_in_again_as_another_client() {
    let (server, ..) = server().await;
    let mut peer = Peer::member(&server, "/ws", "alice", "a").await;
    peer.auth(&server.token("alice"), Some("b")).await;
    assert_eq!(peer.heard().await, json!({"type": "auth-ok"}));
    server.write("alice", "b", "own", "t").await;
    server.write("alice", "a", "another", "t").await;
    peer.is_told("todo", &["another"]).await;
}

#[tokio::test]
async fn what_goes_out_to_everyone_is_told_to_its_writer_too() {
    let (server, ..) = server().await;
    server.write("alice", "a", "tasks", "t").await;
    let fields = |at: &str, value: Value| {
        json!({"since": "", "changes": [{"table": "tasks", "id": "t", "op": "update",
            "fields": {"deletedAt": {"value": value, "at": at}}}]})
    };
    let (deleted, back) = ("2025-12-01T00:00:00.000Z", "2025-12-02T00:00:00.000Z");
    let mut peer = Peer::member(&server, "/ws", "alice", "a").await;
    server
        .push_as("alice", "a", fields(deleted, json!(deleted)))
        .await;
    server
        .push_as("alice", "a", fields(back, Value::Null))
        .await;
    peer.is_told("todo", &["tasks"]).await;
    server.write("alice", "b", "marker", "t").await;
    peer.is_told("todo", &["marker"]).await;
}

#[tokio::test]
async fn a_push_that_stores_nothing_is_told_to_nobody() {
    let (server, ..) = server().await;
    let at = r#"{"a":1,"updatedAt":"2025-01-01T00:00:00Z"}"#;
    let body = insert("tasks", "t", at);
    server.push_as("alice", "a", &body).await;
    let mut peer = Peer::member(&server, "/ws", "alice", "b").await;
    server.push_as("alice", "a", &body).await;
    server
        .push_as("alice", "c", r#"{"since":"","changes":[]}"#)
        .await;
    server.write("alice", "a", "marker", "t").await;
    peer.is_told("todo", &["marker"]).await;
}

#[tokio::test]
async fn the_members_of_a_space_are_told_and_nobody_else() {
    let (server, _, stage) = server().await;
    for user in ["alice", "bob"] {
        stage.grant(user, "team", Some(Role::Writer)).await;
    }
    let mut alice = Peer::member(&server, "/ws", "alice", "a").await;
    let mut bob = Peer::member(&server, "/ws", "bob", "a").await;
    let mut eve = Peer::member(&server, "/ws", "eve", "a").await;
    let mut push = shared("shared", "t");
    let own = json!({"table": "own", "id": "t", "op": "insert", "data": {}});
    push["changes"].as_array_mut().unwrap().push(own);
    // One push into both: the members hear of one table, the user's other devices of both.
    let mut device = Peer::member(&server, "/ws", "alice", "b").await;
    server.push_as("alice", "a", push).await;
    bob.is_told("todo", &["shared"]).await;
    let mut told = Vec::new();
    while told.len() < 2 {
        let notice = device.heard().await;
        told.extend(notice["tables"].as_array().unwrap().iter().cloned());
    }
    told.sort_by_key(ToString::to_string);
    assert_eq!(told, [json!("own"), json!("shared")]);
    for (peer, user) in [(&mut alice, "alice"), (&mut bob, "bob"), (&mut eve, "eve")] {
        server.write(user, "x", "marker", user).await;
        peer.is_told("todo", &["marker"]).await;
    }
}

#[tokio::test]
async fn who_joins_a_space_is_sent_to_pull_and_hears_of_it_from_then_on() {
    let (server, hub, stage) = server().await;
    stage.grant("bob", "team", Some(Role::Writer)).await;
    let alice = Peer::member(&server, "/ws", "alice", "a").await;
    stage.grant("alice", "team", Some(Role::Reader)).await;
    access(&hub, "alice");
    assert_eq!(alice.closed().await, (1013, MOVED.to_owned()));
    let mut alice = Peer::member(&server, "/ws", "alice", "a").await;
    server.push_as("bob", "x", shared("shared", "t")).await;
    alice.is_told("todo", &["shared"]).await;
}

#[tokio::test]
async fn who_has_left_a_space_hears_nothing_more_of_it_and_is_sent_to_pull() {
    let (server, hub, stage) = server().await;
    for user in ["alice", "bob"] {
        stage.grant(user, "team", Some(Role::Writer)).await;
    }
    let alice = Peer::member(&server, "/ws", "alice", "a").await;
    // It asks for its spaces, and has no answer yet.
    stage.set(Mood::Silent);
    let asked = stage.asked();
    access(&hub, "alice");
    stage.was_asked(asked + 1).await;
    stage.grant("alice", "team", None).await;
    access(&hub, "alice");
    server.push_as("bob", "x", shared("secret", "t")).await;
    stage.set(Mood::Well);
    assert_eq!(alice.closed().await, (1013, MOVED.to_owned()));
}

#[tokio::test]
async fn a_busy_connection_is_told_once_for_each_app() {
    let (server, hub, stage) = server().await;
    let mut peer = Peer::member(&server, "/ws", "alice", "a").await;
    // It is busy: it asks for the grants again.
    stage.set(Mood::Silent);
    let asked = stage.asked();
    access(&hub, "alice");
    stage.was_asked(asked + 1).await;
    for (app, table) in [("todo", "b"), ("notes", "x"), ("todo", "a"), ("todo", "b")] {
        let body = insert(table, &format!("{app}{table}"), "{}");
        server.push_to(app, "alice", "b", body).await;
    }
    server.write("alice", "b", "c", "t").await;
    stage.set(Mood::Well);
    peer.is_told("notes", &["x"]).await;
    peer.is_told("todo", &["a", "b", "c"]).await;
    peer.is_served().await;
}

fn notice(tables: std::ops::Range<usize>) -> News {
    let name = |n| TableName::new(&format!("table{n:04}")).unwrap();
    News::Changes(Notice {
        audience: Audience::User(UserId::new("alice").unwrap()),
        app: AppId::new("todo").unwrap(),
        tables: tables.map(name).collect(),
        writer: None,
        position: 1,
    })
}

#[tokio::test]
async fn as_many_tables_as_can_wait_are_named_and_more_end_the_conversation() {
    let (server, hub, _) = server().await;
    let mut peer = Peer::member(&server, "/ws", "alice", "a").await;
    hub.hear(notice(0..1024));
    let notice_of_all = peer.heard().await;
    assert_eq!(notice_of_all["tables"].as_array().unwrap().len(), 1024);
    hub.hear(notice(0..1025));
    let why = "more tables have changes than can be named: pull all, and connect again";
    assert_eq!(peer.closed().await, (1013, why.to_owned()));
    until(|| hub.figures().connections == 0).await;
}

#[tokio::test]
async fn who_signs_in_is_told_so_once_the_spaces_are_known() {
    let (server, hub, stage) = server().await;
    for user in ["alice", "bob"] {
        stage.grant(user, "team", Some(Role::Writer)).await;
    }
    stage.set(Mood::Away);
    let mut alice = Peer::connect(&server, "/ws").await;
    alice.auth(&server.token("alice"), Some("a")).await;
    until(|| hub.figures().connections == 1).await;
    // What is written in the meantime is told, or read by who is told that it is signed in.
    server.push_as("bob", "x", shared("early", "t")).await;
    alice.is_served().await;
    stage.set(Mood::Well);
    assert_eq!(alice.heard().await, json!({"type": "auth-ok"}));
    server.push_as("bob", "x", shared("shared", "t")).await;
    alice.is_told("todo", &["shared"]).await;
}
