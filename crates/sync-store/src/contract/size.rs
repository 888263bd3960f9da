//! What is kept and sent grows with live data, not with edits (P8).

use std::sync::Arc;

use serde_json::{Value as Json, json};
use sync_protocol::Millis;

use super::device::{Device, START, TIMES, changes, insert, update};
use crate::{MAX_PAGE, PAGE_BYTES, Rules, Store, Swept};

/// A new device downloads what is live: of a thousand edits of a field, the last.
pub async fn a_new_device_gets_live_rows_only(store: Arc<dyn Store>) {
    let mut phone = Device::new(&store, "anna", "phone");
    phone.push(json!([insert("a", "0")])).await;
    for n in 0..100 {
        let at = format!("2025-02-01T10:00:00.{n:03}Z");
        phone.push(json!([update("a", "done", n, &at)])).await;
    }
    let read = Device::new(&store, "anna", "tab").pull().await;
    assert_eq!(
        (
            read.as_array().map(Vec::len),
            &read[1]["fields"]["done"]["value"]
        ),
        (Some(2), &json!(99))
    );
    assert_eq!(store.stats().await.map(|stats| stats.dead_rows), Ok(99));
}

/// A page ends at about four megabytes, but a row that is larger still goes out.
pub async fn a_page_is_bounded_in_bytes_and_holds_at_least_one_row(store: Arc<dyn Store>) {
    let mut phone = Device::new(&store, "anna", "phone");
    let sizes = [5_000_000, 700_000, 700_000, 700_000, 10];
    for (n, size) in sizes.into_iter().enumerate() {
        phone
            .push(json!([insert(&format!("r{n}"), &"x".repeat(size))]))
            .await;
    }
    let mut tab = Device::new(&store, "anna", "tab");
    let mut pages = Vec::new();
    loop {
        let answer = tab.page("tasks", MAX_PAGE).await;
        pages.push(answer.server_changes.len());
        if !answer.has_more {
            break;
        }
        let bytes: usize = changes(&answer.server_changes).to_string().len();
        assert!(
            answer.server_changes.len() == 1 || bytes <= PAGE_BYTES,
            "{bytes}"
        );
    }
    assert_eq!(pages, [1, 2, 2]);
}

async fn sweep_all(store: &Arc<dyn Store>, now: Millis) -> Swept {
    let mut all = Swept::default();
    loop {
        let swept = store.sweep(now).await.expect("a sweep");
        all.rows += swept.rows;
        all.records += swept.records;
        if !swept.more {
            return all;
        }
    }
}

fn after_history(millis: i64) -> Millis {
    Millis(START.0 + Rules::default().history_millis + millis)
}

/// Dead rows stay for the history window and are then removed; what is live does not change by it.
pub async fn dead_rows_go_after_the_history_window(store: Arc<dyn Store>) {
    let mut phone = Device::new(&store, "anna", "phone");
    phone.push(json!([insert("a", "0")])).await;
    for (n, at) in TIMES.into_iter().enumerate() {
        phone.push(json!([update("a", "title", n, at)])).await;
    }
    let before = Device::new(&store, "anna", "tab").pull().await;
    assert_eq!(sweep_all(&store, after_history(-1)).await, Swept::default());
    assert_eq!(
        sweep_all(&store, after_history(0)).await,
        Swept {
            rows: 4,
            records: 0,
            more: false
        }
    );
    assert_eq!(store.stats().await.map(|stats| stats.dead_rows), Ok(0));
    assert_eq!(Device::new(&store, "anna", "tab").pull().await, before);
    assert_eq!(
        phone
            .push(json!([update("a", "title", 4, TIMES[4])]))
            .await
            .appended,
        0,
        "a retry is still one"
    );
}

/// Of a deleted record the tombstone stays: a device that comes back later still learns of the delete.
pub async fn a_deleted_record_leaves_a_tombstone(store: Arc<dyn Store>) {
    let mut phone = Device::new(&store, "anna", "phone");
    phone
        .push(json!([insert("a", "0"), insert("b", "1")]))
        .await;
    let mut tab = Device::new(&store, "anna", "tab");
    tab.pull().await;
    let delete = json!({"table": "tasks", "id": "a", "op": "delete", "deletedAt": TIMES[0]});
    let with_values = json!({"table": "tasks", "id": "c", "op": "delete", "deletedAt": TIMES[0],
        "fields": {"note": {"value": "secret", "at": TIMES[0]}}});
    Device::new(&store, "anna", "laptop")
        .push(json!([insert("c", "2"), with_values]))
        .await;
    phone
        .push(json!([delete, update("a", "title", "late", TIMES[1])]))
        .await;
    let swept = sweep_all(&store, after_history(0)).await;
    assert_eq!((swept.records, swept.rows > 0), (2, true));
    assert_eq!(sweep_all(&store, after_history(1)).await, Swept::default());
    let values = Device::new(&store, "anna", "values")
        .pull()
        .await
        .to_string();
    assert!(
        !values.contains("secret"),
        "the values of a deleted record are gone: {values}"
    );
    let left = |read: &Json| -> Vec<Json> {
        read.as_array()
            .expect("a list")
            .iter()
            .filter(|change| change["id"] == "a")
            .cloned()
            .collect()
    };
    assert_eq!(left(&tab.pull().await), std::slice::from_ref(&delete));
    assert_eq!(
        left(&Device::new(&store, "anna", "new").pull().await),
        [delete]
    );
    assert_eq!(
        phone
            .push(json!([update("a", "deletedAt", TIMES[0], TIMES[0])]))
            .await
            .appended,
        0
    );
}
