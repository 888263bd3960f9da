//! How much a push may make the server hold in memory.

use std::path::Path;
use std::sync::Arc;

use rusqlite::Connection;
use serde_json::{Value as Json, json};
use sync_store::contract::{Device, changes};
use sync_store::{Loaded, MAX_LOAD_BYTES, Rules, Store};
use sync_store_sqlite::SqliteStore;

fn insert(id: &str) -> Json {
    json!({"table": "tasks", "id": id, "op": "insert", "data": {"title": id}})
}

fn update(id: &str) -> Json {
    json!({"table": "tasks", "id": id, "op": "update",
        "fields": {"n": {"value": 1, "at": "2025-02-01T10:00:00.000Z"}}})
}

/// Makes the row of record `a` larger than may be loaded, and that of `z` one that nobody can read.
fn tamper(path: &Path) {
    let digits = MAX_LOAD_BYTES / 2;
    let sql = format!(
        "UPDATE sync_changes
        SET data = iif(record_id = 'a', '{{\"title\":\"' || hex(zeroblob({digits})) || '\"}}', 'broken')
        WHERE record_id IN ('a', 'z')"
    );
    Connection::open(path)
        .and_then(|connection| connection.execute(&sql, []))
        .expect("the file is changed");
}

#[tokio::test]
async fn a_push_that_needs_too_much_loads_no_more_is_told_so_and_stores_nothing() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let path = folder.path().join("sync.db");
    let store = SqliteStore::open(&path, Rules::default()).expect("a new database");
    let store: Arc<dyn Store> = Arc::new(store);
    let mut anna = Device::new(&store, "anna", "phone");
    let mut ben = Device::new(&store, "ben", "phone");
    anna.push(json!([insert("a"), insert("z")])).await;
    tamper(&path);
    let push = anna.read(&json!([insert("b"), update("a"), update("z")]).to_string());
    let (refused, taken) = tokio::join!(store.push(push), ben.push(json!([insert("c")])));
    assert_eq!(refused, Err(Loaded::too_large()));
    assert_eq!(taken.appended, 1);
    let mut tab = Device::new(&store, "anna", "tab");
    tab.since = anna.since;
    assert_eq!(tab.pull().await, json!([]));
    let read = Device::new(&store, "ben", "tab").page("", 10).await;
    assert_eq!(changes(&read.server_changes)[0]["id"], "c");
}
