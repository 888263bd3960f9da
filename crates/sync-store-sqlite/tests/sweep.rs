//! What a sweep leaves: every live row is still read, and the figures of what is dead cost little.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::Connection;
use serde_json::{Value as Json, json};
use sync_protocol::Millis;
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

fn update(id: &str, at: usize, value: &Json) -> Json {
    let at = format!("2025-02-01T10:00:00.{at:03}Z");
    json!({"table": "tasks", "id": id, "op": "update", "fields": {"note": {"value": value, "at": at}}})
}

fn delete(id: &str) -> Json {
    json!({"table": "tasks", "id": id, "op": "delete", "deletedAt": TIME})
}

/// How many rows and how many records each batch takes, until none is left.
async fn sweeps(store: &Arc<dyn Store>, now: Millis) -> Vec<(usize, usize)> {
    let mut batches = Vec::new();
    loop {
        let swept = store.sweep(now).await.expect("a sweep");
        batches.push((swept.rows, swept.records));
        if !swept.more {
            return batches;
        }
    }
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
    assert_eq!(sweeps(&store, START).await, [(0, 1), (0, 1)]);
    assert_eq!(pages(&store).await, [["r1", "r2", "r3"]]);
}

#[tokio::test]
async fn a_batch_removes_a_few_megabytes_of_dead_rows() {
    let (_folder, path) = place();
    let store = open(&path);
    let mut phone = Device::new(&store, "anna", "phone");
    for (at, megabytes) in [1, 1, 6, 1, 0].into_iter().enumerate() {
        let value = json!("x".repeat(megabytes * 900_000));
        phone.push(json!([update("r1", at, &value)])).await;
    }
    tamper(&path, "UPDATE sync_changes SET size = length(data)");
    assert_eq!(sweeps(&store, START).await, [(2, 0), (1, 0), (1, 0)]);
}

#[tokio::test]
async fn a_batch_strips_a_few_megabytes_of_records() {
    let (_folder, path) = place();
    let store = open(&path);
    let mut phone = Device::new(&store, "anna", "phone");
    for (at, id) in ["r1", "r2", "r3", "r4", "r5"].into_iter().enumerate() {
        let megabytes = if id == "r3" { 6 } else { 1 };
        let value = json!("x".repeat(megabytes * 900_000));
        phone.now.0 = START.0 - 10 + i64::try_from(at).expect("a small number");
        phone.push(json!([update(id, at, &value)])).await;
        phone.push(json!([delete(id)])).await;
    }
    // Of r4 and r5 it is the state that is large.
    tamper(
        &path,
        "UPDATE sync_changes SET size = iif(record_id < 'r4', length(data), 0)",
    );
    tamper(
        &path,
        "UPDATE sync_records SET state = state || printf('%2500000s', '')
        WHERE record_id >= 'r4'",
    );
    assert_eq!(
        sweeps(&store, START).await,
        [(2, 2), (1, 1), (1, 1), (1, 1)]
    );
}

#[tokio::test]
async fn a_batch_strips_a_hundred_records() {
    let (_folder, path) = place();
    let store = open(&path);
    let deletes = (0..120).map(|n| {
        let mut delete = delete(&format!("r{n}"));
        delete["fields"] = json!({"note": {"value": n, "at": TIME}});
        delete
    });
    let mut phone = Device::new(&store, "anna", "phone");
    phone.push(deletes.collect()).await;
    assert_eq!(sweeps(&store, START).await, [(0, 100), (0, 20)]);
}

#[tokio::test]
async fn a_record_that_cannot_be_stripped_stays_whole_and_holds_up_no_other() {
    let (_folder, path) = place();
    let store = open(&path);
    let mut phone = Device::new(&store, "anna", "phone");
    phone.now.0 = START.0 - 10;
    // More than a batch strips.
    let ids: Vec<_> = (0..130).map(|n| format!("old{n:03}")).collect();
    phone.push(ids.iter().map(|id| insert(id)).collect()).await;
    phone.push(ids.iter().map(|id| delete(id)).collect()).await;
    phone.now = START;
    phone.push(json!([insert("r1"), insert("r2")])).await;
    phone.push(json!([delete("r1"), delete("r2")])).await;
    phone.push(json!([update("r3", 0, &json!(0))])).await;
    phone.push(json!([update("r3", 1, &json!(1))])).await;
    tamper(
        &path,
        "UPDATE sync_changes SET data = 'broken' WHERE op = 'delete' AND record_id > 'old000' AND record_id < 'r'",
    );
    tamper(
        &path,
        "UPDATE sync_records SET state = 'broken' WHERE record_id = 'old000'",
    );
    assert_eq!(sweeps(&store, START).await, [(3, 2)]);
    assert_eq!(sweeps(&store, START).await, [(0, 0)]);
    tamper(
        &path,
        "UPDATE sync_changes SET data = (SELECT data FROM sync_changes WHERE op = 'delete' AND record_id = 'r1')
        WHERE data = 'broken'",
    );
    // Their rows were not buried by a strip that failed later.
    assert_eq!(sweeps(&store, START).await, [(100, 100), (29, 29)]);
}

#[tokio::test]
async fn later_writes_to_a_deleted_record_do_not_put_off_its_sweep() {
    let (_folder, path) = place();
    let rules = Rules::default();
    let store = SqliteStore::open(&path, rules).expect("the database opens");
    let store: Arc<dyn Store> = Arc::new(store);
    let due = Millis(START.0 + rules.history_millis);
    let mut phone = Device::new(&store, "anna", "phone");
    phone.push(json!([insert("r1"), insert("r2")])).await;
    phone.push(json!([delete("r1"), delete("r2")])).await;
    phone.wait(1000);
    let restore = json!({"table": "tasks", "id": "r2", "op": "update",
        "fields": {"deletedAt": {"value": null, "at": "2025-03-01T10:00:00.000Z"}}});
    let again = json!({"table": "tasks", "id": "r2", "op": "delete", "deletedAt": "2025-04-01T10:00:00.000Z"});
    phone
        .push(json!([update("r1", 1, &json!("late")), restore]))
        .await;
    phone.push(json!([again])).await;
    // Of the record that was restored in between, the second delete counts.
    assert_eq!(records(&sweeps(&store, due).await), 1);
    let later = Millis(due.0 + 1000);
    assert_eq!(records(&sweeps(&store, later).await), 1);
}

fn records(batches: &[(usize, usize)]) -> usize {
    batches.iter().map(|(_, records)| records).sum()
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
