//! Promises that a short history window does not bend.

use std::sync::Arc;

use serde_json::json;
use sync_store::contract::Device;
use sync_store::{MemoryStore, Rules, Store};

/// P5: the server remembers the times it gave for a day at least, also where nothing else is kept.
#[tokio::test]
async fn without_a_history_a_retry_still_does_not_beat_what_came_between() {
    let rules = Rules {
        history_millis: 0,
        ..Rules::default()
    };
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new(rules));
    let write = |name: &str, value: i64, at: &str| json!([{"table": "t", "id": "r", "op": "update", "fields": {name: {"value": value, "at": at}}}]);
    let ahead = write("x", 1, "2026-01-01T00:10:00.000Z");
    let mut phone = Device::new(&store, "anna", "phone");
    phone.push(ahead.clone()).await;
    phone.wait(1000);
    phone.push(write("y", 2, "2026-01-01T00:10:01.000Z")).await;
    let mut laptop = Device::new(&store, "anna", "laptop");
    laptop.wait(2000);
    laptop.push(write("x", 5, "2026-01-01T00:00:02.000Z")).await;
    phone.wait(60_000);
    assert_eq!(phone.push(ahead).await.appended, 0);
}

fn fields(count: usize, value: &str, at: &str) -> serde_json::Value {
    let fields: serde_json::Map<_, _> = (0..count)
        .map(|n| (format!("f{n}"), json!({"value": value, "at": at})))
        .collect();
    json!({"table": "t", "id": "r", "op": "update", "fields": fields})
}

/// P5: more claims than are remembered forget none of those that won.
#[tokio::test]
async fn a_retry_of_a_burst_ahead_of_the_clock_does_not_beat_what_came_between() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let burst: Vec<_> = (0..200)
        .map(|n| {
            fields(
                25,
                &format!("old{n}"),
                &format!("2026-01-01T01:00:00.{n:03}Z"),
            )
        })
        .collect();
    let mut phone = Device::new(&store, "anna", "phone");
    phone.push(json!(burst)).await;
    let mut laptop = Device::new(&store, "anna", "laptop");
    laptop.wait(1000);
    laptop
        .push(json!([fields(25, "newer", "2026-01-01T00:00:01.000Z")]))
        .await;
    phone.wait(2000);
    assert_eq!(phone.push(json!(burst)).await.appended, 0);
}

/// A delete without a time that comes long after another one is another one.
#[tokio::test]
async fn claims_end_with_the_history() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let delete = json!([{"table": "t", "id": "r", "op": "delete"}]);
    let mut phone = Device::new(&store, "anna", "phone");
    phone
        .push(json!([fields(1, "x", "2025-01-01T00:00:00.000Z")]))
        .await;
    phone.push(delete.clone()).await;
    phone.wait(1000);
    let undelete = json!([{"table": "t", "id": "r", "op": "update",
        "fields": {"deletedAt": {"value": null, "at": "2026-01-01T00:00:01.000Z"}}}]);
    phone.push(undelete).await;
    assert_eq!(phone.push(delete.clone()).await.appended, 0, "a retry");
    phone.wait(Rules::default().history_millis);
    assert_eq!(phone.push(delete).await.appended, 1);
}

/// P5: an edit of a large record that was once deleted without a time is stored once, without a copy of the record.
#[tokio::test]
async fn a_large_record_that_was_removed_once_is_not_copied_at_every_edit() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let mut phone = Device::new(&store, "anna", "phone");
    phone
        .push(json!([fields(
            2,
            &"x".repeat(1_200_000),
            "2025-01-01T00:00:00.000Z"
        )]))
        .await;
    phone
        .push(json!([{"table": "t", "id": "r", "op": "delete"}]))
        .await;
    phone.wait(1000);
    phone
        .push(json!([{"table": "t", "id": "r", "op": "update",
            "fields": {"deletedAt": {"value": null, "at": "2026-01-01T00:00:01.000Z"}}}]))
        .await;
    let edit = json!([{"table": "t", "id": "r", "op": "update",
        "fields": {"n": {"value": 1, "at": "2026-01-01T00:00:01.000Z"}}}]);
    for appended in [1, 0, 0] {
        assert_eq!(phone.push(edit.clone()).await.appended, appended);
    }
}
