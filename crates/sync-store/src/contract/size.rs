//! What is kept and sent grows with live data, not with edits (P8).

use std::sync::Arc;

use serde_json::{Value as Json, json};
use sync_protocol::{Millis, WarningCode};

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

/// Sweeps until nothing is left to be removed.
pub(super) async fn sweep_all(store: &Arc<dyn Store>, now: Millis) -> Swept {
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

/// P3: rows that a sweep made smaller do not end a page before the live rows behind them.
pub async fn no_live_row_is_skipped_behind_large_tombstones(store: Arc<dyn Store>) {
    let mut phone = Device::new(&store, "anna", "phone");
    for id in ["a", "b"] {
        let fields = json!({"note": {"value": "x".repeat(2_600_000), "at": TIMES[0]}});
        phone
            .push(json!([{"table": "tasks", "id": id, "op": "delete", "deletedAt": TIMES[0], "fields": fields}]))
            .await;
    }
    phone.push(json!([insert("c", "live")])).await;
    assert_eq!(sweep_all(&store, after_history(0)).await.records, 2);
    let read = Device::new(&store, "anna", "tab").pull().await;
    let ids: Vec<_> = read
        .as_array()
        .expect("a list")
        .iter()
        .map(|change| change["id"].clone())
        .collect();
    assert_eq!(ids, ["a", "b", "c"]);
}

/// `actor` and `origin` count for the size of a page.
pub async fn what_goes_out_beside_the_values_counts_for_a_page(store: Arc<dyn Store>) {
    let text = "x".repeat(60_000);
    let all: Vec<_> = (0..100)
        .map(|n| {
            let mut change = insert(&format!("r{n:03}"), "x");
            change["actor"] = json!({"name": text});
            change
        })
        .collect();
    Device::new(&store, "anna", "phone").push(json!(all)).await;
    let mut tab = Device::new(&store, "anna", "tab");
    let page = tab.page("tasks", MAX_PAGE).await;
    let bytes = changes(&page.server_changes).to_string().len();
    assert!(page.has_more && bytes <= PAGE_BYTES, "{bytes}");
    assert_eq!(
        page.server_changes.len() + tab.pull().await.as_array().map_or(0, Vec::len),
        100
    );
}

/// P8: the fields of a record are bounded; the change that would make it more is kept aside, and the rest goes on.
pub async fn a_record_that_would_hold_too_much_keeps_its_change_aside(store: Arc<dyn Store>) {
    let wide = |from: usize| -> Json {
        let fields: serde_json::Map<_, _> = (from..from + 1000)
            .map(|n| (format!("f{n}"), json!({"value": n, "at": TIMES[0]})))
            .collect();
        json!({"table": "tasks", "id": "wide", "op": "update", "fields": fields})
    };
    let mut phone = Device::new(&store, "anna", "phone");
    let all = json!([
        wide(0),
        wide(1000),
        wide(2000),
        wide(3000),
        wide(4000),
        insert("other", "x")
    ]);
    for appended in [5, 0] {
        let pushed = phone.push(all.clone()).await;
        let warned: Vec<_> = pushed
            .answer
            .warnings
            .iter()
            .map(|warning| (warning.change, warning.code))
            .collect();
        assert_eq!(
            (pushed.appended, warned),
            (appended, vec![(4, WarningCode::Parked)])
        );
    }
    let again = phone
        .push(json!([update("wide", "f0", "new", TIMES[1])]))
        .await;
    assert_eq!(
        (again.appended, again.answer.warnings.len()),
        (1, 0),
        "known fields are still written"
    );
    let delete = json!([{"table": "tasks", "id": "wide", "op": "delete", "deletedAt": TIMES[2]}]);
    for (change, appended) in [
        (delete.clone(), 1),
        (delete, 0),
        (
            json!([update("wide", "deletedAt", Json::Null, TIMES[3])]),
            1,
        ),
    ] {
        let pushed = phone.push(change).await;
        assert_eq!(
            (pushed.appended, pushed.answer.warnings.len()),
            (appended, 0)
        );
    }
}

/// P5: a lost write whose winner does not fit into the answer brings one copy of the winner, however often it is sent.
pub async fn a_large_write_that_lost_is_told_through_the_log_once(store: Arc<dyn Store>) {
    let big = |letter: &str| letter.repeat(2_000_000);
    let old = json!([update("a", "body", big("1"), TIMES[0])]).to_string();
    let mut phone = Device::new(&store, "anna", "phone");
    phone.push_text(&old).await;
    phone
        .push(json!([update("a", "body", big("2"), TIMES[1])]))
        .await;
    let mut appended = Vec::new();
    for _ in 0..4 {
        appended.push(phone.push_again(&old).await.appended);
    }
    assert!(
        appended[0] <= 1 && appended[1..] == [0, 0, 0],
        "{appended:?}"
    );
}
