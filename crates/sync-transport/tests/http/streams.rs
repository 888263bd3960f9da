//! Streams: how events look, what they hold, and where they begin.

use reqwest::Response;
use serde_json::{Value, json};
use sync_store::{MemoryStore, Role, Rules};
use sync_transport::Limits;

use crate::live::{Event, Events, inserts};
use crate::stage::{Mood, Stage};
use crate::support::{Server, in_time, insert, refused};

const BEGINNING: &str = "1970-01-01T00:00:00Z";

/// Of a table without changes, at the head.
fn nothing(table: &str, until: &str, id: Option<&str>) -> Event {
    Event {
        name: "changes".to_owned(),
        data: json!({"table": table, "changes": [], "syncedUntil": until, "hasMore": false}),
        id: id.map(str::to_owned),
    }
}

#[tokio::test]
async fn a_stream_is_framed_as_clients_parse_it_by_hand() {
    let server = Server::start().await;
    let pushed = server
        .push_as("alice", "a", inserts(&["tasks"], "t", 1))
        .await;
    let until = pushed["syncedUntil"].as_str().unwrap();
    let pull = format!("/sync/todo/pull?collection=tasks&since={BEGINNING}");
    let pulled = server.as_user("GET", &pull, "b").send().await.unwrap();
    let pulled = pulled.text().await.unwrap();
    let (_, tasks) = pulled.split_once("\"serverChanges\":").unwrap();
    let (tasks, _) = tasks.split_once(",\"conflicts\"").unwrap();
    let request = server.stream("alice", "b", "?collections=tasks,notes");
    let mut response = request.send().await.unwrap();
    for (name, value) in [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-cache, no-store"),
        ("x-accel-buffering", "no"),
        ("transfer-encoding", "chunked"),
    ] {
        assert_eq!(response.headers()[name], value);
    }
    let expected = format!(
        ": open\n\nevent: changes\ndata: {{\"table\":\"tasks\",\"changes\":{tasks},\"syncedUntil\":\"{until}\",\"hasMore\":false}}\n\n\
         event: changes\ndata: {{\"table\":\"notes\",\"changes\":[],\"syncedUntil\":\"{until}\",\"hasMore\":false}}\nid: {until}\n\n"
    );
    let mut seen = String::new();
    while seen.len() < expected.len() {
        let bytes = in_time(response.chunk()).await.unwrap().unwrap();
        seen.push_str(str::from_utf8(&bytes).unwrap());
    }
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn the_greeting_comes_at_once_even_while_the_store_hangs() {
    let stage = Stage::new(Mood::Silent);
    let (server, _) = Server::live(stage.clone(), Limits::default()).await;
    let mut events = server.events("alice", "b", "?collections=tasks").await;
    stage.set(Mood::Well);
    assert_eq!(events.changes("tasks").await, Vec::<String>::new());
}

#[tokio::test]
async fn line_breaks_between_the_parts_of_a_value_do_not_end_an_event() {
    let server = Server::start().await;
    let data = "{\n\"a\":[1,\r\n2\r],\r\r\"b\":\"\\n\u{2028}\\r\"}";
    let body = insert("tasks", "t", data).replacen(
        r#""op""#,
        "\"actor\":{\"x\":\n\nnull,\"data\":\r\n\r\n\"event: evil\"},\"op\"",
        1,
    );
    server.push_as("alice", "a", body).await;
    let mut events = server.events("alice", "b", "").await;
    let event = events.event().await.unwrap();
    let change = &event.data["changes"][0];
    assert_eq!(change["data"], json!({"a": [1, 2], "b": "\n\u{2028}\r"}));
    assert_eq!(change["actor"], json!({"x": null, "data": "event: evil"}));
    assert_eq!(*change, server.pull("b", "tasks").await["serverChanges"][0]);
}

#[tokio::test]
async fn a_stream_drains_to_the_head_by_itself_in_pages() {
    let server = Server::start().await;
    server
        .push_as("alice", "a", inserts(&["tasks", "notes"], "r", 2500))
        .await;
    let query = "?collections=notes,tasks,zebra,apple";
    let mut events = server.events("alice", "b", query).await;
    let (mut pages, mut seen) = (Vec::new(), Vec::new());
    for (size, more) in [(1000, true), (1000, true), (500, false)] {
        let (tasks, notes) = (events.event().await.unwrap(), events.event().await.unwrap());
        assert_eq!((tasks.table(), notes.table()), ("tasks", "notes"));
        for event in [&tasks, &notes] {
            assert_eq!(event.data["hasMore"], json!(more));
            assert_eq!(event.until(), tasks.until());
            assert_eq!(event.ids().len(), size / 2);
        }
        assert_eq!(tasks.id, None, "what follows is of the same page");
        if more {
            assert_eq!(notes.id.as_deref(), Some(notes.until()));
        }
        seen.extend(
            tasks
                .ids()
                .into_iter()
                .zip(notes.ids())
                .flat_map(|(task, note)| [task, note]),
        );
        pages.push(notes);
    }
    let all: Vec<_> = (0..2500).map(|n| format!("r{n}")).collect();
    assert_eq!(seen, all);
    let head = pages[2].until().to_owned();
    assert_eq!(pages[2].id, None);
    assert_eq!(events.event().await.unwrap(), nothing("apple", &head, None));
    assert_eq!(
        events.event().await.unwrap(),
        nothing("zebra", &head, Some(&head))
    );
    server.write("alice", "a", "zebra", "z").await;
    assert_eq!(events.changes("zebra").await, ["z"]);
}

#[tokio::test]
async fn without_collections_nothing_is_said_of_tables_that_have_nothing() {
    let server = Server::start().await;
    let mut events = server.events("alice", "b", "").await;
    server.write("alice", "a", "tasks", "t").await;
    assert_eq!(events.changes("tasks").await, ["t"]);
    server.write("alice", "a", "notes", "n").await;
    assert_eq!(events.changes("notes").await, ["n"]);
}

#[tokio::test]
async fn a_change_looks_as_it_does_in_a_pull() {
    let stage = Stage::new(Mood::Well);
    let (server, _) = Server::live(stage.clone(), Limits::default()).await;
    for user in ["alice", "bob"] {
        stage.grant(user, "team", Some(Role::Writer)).await;
    }
    let at = "2025-06-01T00:00:00.000Z";
    let body = json!({"since": "", "changes": [
        {"table": "tasks", "id": "t", "op": "insert", "data": {"a": 1, "updatedAt": at}, "spaceId": "team",
         "actor": {"kind": "user"}, "origin": "system", "eventId": "01890a5d-ac96-774b-bcce-b302099a8057"},
        {"table": "tasks", "id": "t", "op": "update", "fields": {"b": {"value": [1], "at": "2025-06-02T00:00:00.000Z"}}, "spaceId": "team"},
        {"table": "tasks", "id": "own", "op": "insert", "data": {"a": 1}},
        {"table": "tasks", "id": "own", "op": "delete", "deletedAt": "2026-01-01T00:00:00.000Z"},
    ]});
    server.push_as("bob", "x", body).await;
    for user in ["alice", "bob"] {
        let mut events = server.events(user, "b", "?collections=tasks").await;
        let event = events.event().await.unwrap();
        let pulled = server.pull_as(user, "b", "tasks", BEGINNING).await;
        let expected = json!({
            "table": "tasks",
            "changes": pulled["serverChanges"],
            "syncedUntil": pulled["syncedUntil"],
            "hasMore": false,
        });
        assert_eq!(event.data, expected);
        let change = &event.data["changes"][0];
        assert_eq!(
            (&change["author"], &change["spaceId"]),
            (&json!("bob"), &json!("team"))
        );
        let ids: &[&str] = if user == "bob" {
            &["t", "t", "own", "own"]
        } else {
            &["t", "t"]
        };
        assert_eq!(event.ids(), ids);
    }
}

#[tokio::test]
async fn a_client_is_not_sent_its_own_writes_but_what_goes_out_to_everyone() {
    let server = Server::start().await;
    let first = server.write("alice", "a", "tasks", "t").await;
    let since = format!("?since={}", first["syncedUntil"].as_str().unwrap());
    let mut own = server.events("alice", "a", &since).await;
    let mut other = server.events("alice", "b", &since).await;
    let delete = |at: &str, value: Value| {
        json!({"since": "", "changes": [{"table": "tasks", "id": "t", "op": "update",
            "fields": {"deletedAt": {"value": value, "at": at}}}]})
    };
    let deleted = "2025-12-01T00:00:00.000Z";
    server
        .push_as("alice", "a", delete(deleted, json!(deleted)))
        .await;
    assert_eq!(other.changes("tasks").await, ["t"]);
    // What is found back goes out whole, to its writer, too.
    let back = delete("2025-12-02T00:00:00.000Z", Value::Null);
    server.push_as("alice", "a", back).await;
    let (own, other) = (own.event().await.unwrap(), other.event().await.unwrap());
    assert_eq!(own, other);
    let fields = &own.data["changes"][0]["fields"];
    assert_eq!(
        (&fields["a"]["value"], &fields["deletedAt"]["value"]),
        (&json!(1), &Value::Null)
    );
}

#[tokio::test]
async fn a_reconnect_with_the_last_event_id_skips_no_table() {
    let server = Server::start().await;
    server
        .push_as("alice", "a", inserts(&["tasks", "notes"], "r", 1500))
        .await;
    let mut events = server
        .events("alice", "b", "?collections=tasks,notes")
        .await;
    let page = [events.event().await.unwrap(), events.event().await.unwrap()];
    let id = page[1].id.clone().unwrap();
    // Of the second page it reads one event of two.
    events.event().await.unwrap();
    drop(events);
    let query = "?collections=tasks,notes&since=2027-01-01T00:00:00.000000000Z";
    let request = server
        .stream("alice", "b", query)
        .header("Last-Event-ID", id);
    let mut again = Events::of(request).await;
    let (tasks, notes) = (again.changes("tasks").await, again.changes("notes").await);
    assert_eq!((tasks.len(), notes.len()), (250, 250));
    assert_eq!((tasks[0].as_str(), notes[0].as_str()), ("r1000", "r1001"));
}

#[tokio::test]
async fn a_stream_begins_behind_since_and_nonsense_is_the_beginning() {
    let server = Server::start().await;
    let first = server.write("alice", "a", "tasks", "t").await;
    server.write("alice", "a", "tasks", "u").await;
    let since = first["syncedUntil"].as_str().unwrap();
    for (query, ids) in [
        (format!("?since={since}"), vec!["u"]),
        ("?since=yesterday".to_owned(), vec!["t", "u"]),
        ("?since=".to_owned(), vec!["t", "u"]),
        (String::new(), vec!["t", "u"]),
    ] {
        let mut events = server.events("alice", "b", &query).await;
        assert_eq!(events.changes("tasks").await, ids, "{query}");
    }
    let mut events = server
        .events(
            "alice",
            "b",
            "?collections=tasks&since=2999-01-01T00:00:00Z",
        )
        .await;
    let at_head = events.event().await.unwrap();
    let head = at_head.until().to_owned();
    assert_eq!(at_head, nothing("tasks", &head, Some(&head)));
    server.write("alice", "a", "tasks", "v").await;
    assert_eq!(
        events.changes("tasks").await,
        ["v"],
        "what comes is behind no cursor"
    );
}

#[tokio::test]
async fn names_that_no_table_can_have_are_passed_over_and_more_than_256_refused() {
    let server = Server::start().await;
    server.write("alice", "a", "tasks", "t").await;
    let mut events = server
        .events("alice", "b", "?collections=%00,nobody,,tasks")
        .await;
    assert_eq!(events.changes("tasks").await, ["t"]);
    assert_eq!(events.changes("nobody").await, Vec::<String>::new());
    let mut impossible = server.events("alice", "b", "?collections=%00").await;
    server.write("alice", "a", "tasks", "u").await;
    assert_eq!(events.changes("tasks").await, ["u"]);
    let names: String = (0..257).map(|n| format!("t{n},")).collect();
    let many = server.stream("alice", "b", &format!("?collections={names}"));
    let many = many.send().await.unwrap();
    assert_eq!(refused(many).await, (400, json!("invalid_parameter")));
    let mut server = server;
    server.stop();
    assert_eq!(impossible.block().await, None, "there was nothing to say");
}

#[tokio::test]
async fn who_may_not_stream_is_told_why() {
    let server = Server::start().await;
    let token = server.token("alice");
    let path = "/sync/todo/stream";
    let send = |method: &'static str, path: &str| {
        let request = server.request(method, path);
        let request = request.bearer_auth(&token);
        async move { request.send().await.unwrap() }
    };
    let none = server.get(path).await;
    assert!(none.headers().contains_key("www-authenticate"));
    assert_eq!(refused(none).await, (401, json!("token_missing")));
    let in_url = server.get(&format!("{path}?token={token}")).await;
    assert_eq!(refused(in_url).await, (401, json!("token_missing")));
    let app = send("GET", "/sync/a%00b/stream").await;
    assert_eq!(refused(app).await, (400, json!("invalid_app_id")));
    let reserved = send("GET", "/sync/upload/stream").await;
    assert_eq!(refused(reserved).await, (404, json!("not_found")));
    let allow = |response: &Response| response.headers()["allow"].to_str().unwrap().to_owned();
    let post = send("POST", path).await;
    assert_eq!(allow(&post), "GET,HEAD");
    assert_eq!(refused(post).await, (405, json!("method_not_allowed")));
    let client = server.stream("alice", "a\tb", "").send().await.unwrap();
    assert_eq!(refused(client).await, (400, json!("invalid_client_id")));
}

#[tokio::test]
async fn a_head_of_a_stream_is_its_head_and_holds_nothing() {
    let store = MemoryStore::new(Rules::default());
    let (server, hub) = Server::live(std::sync::Arc::new(store), Limits::default()).await;
    let path = "/sync/todo/stream";
    let head = server.as_user("HEAD", path, "b").send().await.unwrap();
    assert_eq!(head.status(), 200);
    assert_eq!(head.headers()["content-type"], "text/event-stream");
    assert_eq!(head.text().await.unwrap(), "");
    assert_eq!(hub.figures().connections, 0);
}

#[tokio::test]
async fn a_stream_is_never_packed() {
    let server = Server::start().await;
    server
        .push_as("alice", "a", inserts(&["tasks"], "t", 100))
        .await;
    let request = server
        .stream("alice", "b", "")
        .header("Accept-Encoding", "gzip, zstd");
    let mut response = request.send().await.unwrap();
    assert_eq!(response.headers().get("content-encoding"), None);
    let first = in_time(response.chunk()).await.unwrap().unwrap();
    assert!(first.starts_with(b": open\n\n"));
}

#[tokio::test]
async fn nobody_is_streamed_what_another_user_wrote() {
    let stage = Stage::new(Mood::Well);
    let (server, _) = Server::live(stage.clone(), Limits::default()).await;
    stage.grant("bob", "team", Some(Role::Writer)).await;
    let mut events = server.events("alice", "b", "").await;
    server.write("bob", "a", "tasks", "personal").await;
    let body = json!({"since": "", "changes": [
        {"table": "tasks", "id": "shared", "op": "insert", "data": {}, "spaceId": "team"}]});
    server.push_as("bob", "a", body).await;
    server.write("alice", "a", "tasks", "own").await;
    assert_eq!(events.changes("tasks").await, ["own"]);
}
