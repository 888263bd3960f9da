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
