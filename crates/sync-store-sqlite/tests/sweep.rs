//! What a sweep leaves: every live row is still read, and the figures of what is dead cost little.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::Connection;
use serde_json::{Value as Json, json};
use sync_store::contract::{Device, START};
use sync_store::{MAX_PAGE, Rules, Store};
use sync_store_sqlite::SqliteStore;
use tempfile::TempDir;

const TIME: &str = "2025-02-01T10:00:00.000Z";

fn place() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let path = folder.path().join("sync.db");
    (folder, path)
}

/// A store that keeps no history.
fn open(path: &Path) -> Arc<dyn Store> {
    let rules = Rules {
        history_millis: 0,
        ..Rules::default()
    };
    Arc::new(SqliteStore::open(path, rules).expect("the database opens"))
}

/// Changes the file as nobody but a test does.
fn tamper(path: &Path, sql: &str) {
    Connection::open(path)
        .and_then(|connection| connection.execute(sql, []))
        .expect("the file is changed");
}

fn insert(id: &str) -> Json {
    json!({"table": "tasks", "id": id, "op": "insert", "data": {"title": id}})
}

/// What a new device reads until it is told that there is no more, page by page.
async fn pages(store: &Arc<dyn Store>) -> Vec<Vec<String>> {
    let mut device = Device::new(store, "anna", "new");
    let mut pages = Vec::new();
    loop {
        let answer = device.page("", MAX_PAGE).await;
        let ids = answer.server_changes.iter();
        pages.push(ids.map(|change| change.id.as_str().to_owned()).collect());
        if !answer.has_more {
            return pages;
        }
    }
}

#[tokio::test]
async fn what_stands_behind_stripped_tombstones_is_still_read() {
    let (_folder, path) = place();
    let store = open(&path);
    let mut phone = Device::new(&store, "anna", "phone");
    for id in ["r1", "r2"] {
        let note = "x".repeat(2_600_000);
        phone
            .push(
                json!([{"table": "tasks", "id": id, "op": "delete", "deletedAt": TIME,
                "fields": {"note": {"value": note, "at": TIME}}}]),
            )
            .await;
    }
    phone.push(json!([insert("r3")])).await;
    assert_eq!(pages(&store).await, [["r1"], ["r2"], ["r3"]]);
    let swept = store.sweep(START).await.expect("a sweep");
    assert_eq!(swept.records, 2);
    assert_eq!(pages(&store).await, [["r1", "r2", "r3"]]);
}

#[tokio::test]
async fn a_row_whose_size_is_wrong_hides_none_behind_it() {
    let (_folder, path) = place();
    let store = open(&path);
    let ids = ["r1", "r2", "r3"];
    let mut phone = Device::new(&store, "anna", "phone");
    phone.push(ids.map(insert).into_iter().collect()).await;
    for size in [i64::MIN, 0, 2_600_000, i64::MAX] {
        tamper(&path, &format!("UPDATE sync_changes SET size = {size}"));
        assert_eq!(pages(&store).await.concat(), ids, "{size}");
    }
}

#[tokio::test]
async fn no_more_than_ten_thousand_dead_rows_are_counted() {
    let (_folder, path) = place();
    let store = open(&path);
    let mut phone = Device::new(&store, "anna", "phone");
    let update = |n: i32| {
        let at = format!("2025-02-01T10:00:00.00{n}Z");
        json!([{"table": "tasks", "id": "a", "op": "update", "fields": {"n": {"value": n, "at": at}}}])
    };
    phone.push(update(0)).await;
    phone.push(update(1)).await;
    assert_eq!(dead_rows(&store).await, 1);
    let copies = "
WITH RECURSIVE copies (number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM copies WHERE number < 10001)
INSERT INTO sync_changes (position, scope, id, app_id, table_name, record_id, user_id, op, data, field_timestamps,
  client_id, created_at, schema_version, opens, to_everyone, undated, dead_since, size)
SELECT number, scope, randomblob(16), app_id, table_name, record_id, user_id, op, data, field_timestamps,
  client_id, created_at, schema_version, opens, to_everyone, undated, dead_since, size
FROM sync_changes, copies
WHERE dead_since IS NOT NULL";
    tamper(&path, copies);
    assert_eq!(dead_rows(&store).await, 10_000);
}

async fn dead_rows(store: &Arc<dyn Store>) -> u64 {
    store.stats().await.expect("figures").dead_rows
}
