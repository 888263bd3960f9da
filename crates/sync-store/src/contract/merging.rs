//! Which write wins, and what is told of it: ties, conflicts, corrections, retries, clocks (P4, P5).

use std::sync::Arc;

use serde_json::{Value as Json, json};
use sync_protocol::WarningCode;

use super::device::{Device, START, TIMES, changes, field, insert, told, update};
use crate::Store;

/// The later write wins, whichever arrives first.
pub async fn the_later_write_wins_whatever_the_order(store: Arc<dyn Store>) {
    let (old, new) = (
        update("a", "title", "old", TIMES[0]),
        update("a", "title", "new", TIMES[1]),
    );
    for (app, order) in [("one", [&old, &new]), ("two", [&new, &old])] {
        for (client, change) in ["phone", "laptop"].into_iter().zip(order) {
            Device::new(&store, "anna", client)
                .in_app(app)
                .push(json!([change]))
                .await;
        }
        let mut tab = Device::new(&store, "anna", "tab").in_app(app);
        let mut expected = told("a", "title", "new", TIMES[1]);
        expected["data"] = json!({"id": "a", "title": "new"});
        assert_eq!(tab.pull().await, json!([expected]), "in app {app}");
    }
}

/// At equal times the greater client id wins, then the greater bytes; the loser and the winner of a tie are told.
pub async fn at_equal_times_the_greater_client_wins_and_both_are_told(store: Arc<dyn Store>) {
    let (mut a, mut b) = (
        Device::new(&store, "anna", "a"),
        Device::new(&store, "anna", "b"),
    );
    a.push(json!([
        insert("r", "x"),
        update("r", "title", "from a", TIMES[0])
    ]))
    .await;
    let won = b
        .push(json!([update("r", "title", "from b", TIMES[0])]))
        .await;
    let stands = told("r", "title", "from b", TIMES[0]);
    assert_eq!(won.appended, 1);
    assert_eq!(
        changes(&won.answer.server_changes)
            .as_array()
            .and_then(|list| list.last()),
        Some(&stands)
    );
    let lost = a
        .push_again(&json!([update("r", "title", "from a", TIMES[0])]).to_string())
        .await;
    assert_eq!((lost.appended, lost.answer.conflicts.len()), (0, 1));
    assert_eq!(
        changes(&lost.answer.server_changes),
        json!([stands, stands]),
        "the row, then the correction"
    );
    // A row that won a tie goes out to its own client, too.
    b.since = a.since.clone();
    assert_eq!(b.pull().await, json!([stands]));
}

/// A pushed field that loses is not stored; it is reported with both values, and what stands is told.
pub async fn a_lost_write_is_reported_and_corrected(store: Arc<dyn Store>) {
    Device::new(&store, "anna", "phone")
        .push(json!([update("r", "title", "new", TIMES[2])]))
        .await;
    let mut late = Device::new(&store, "anna", "late");
    late.pull().await;
    let change = json!({"table": "tasks", "id": "r", "op": "update", "fields": {
        "title": {"value": "old", "at": TIMES[1]}, "done": {"value": true, "at": TIMES[1]}}});
    let pushed = late.push(json!([change])).await;
    assert_eq!(pushed.appended, 1);
    assert_eq!(
        serde_json::to_value(&pushed.answer.conflicts).expect("conflicts are JSON"),
        json!([{"table": "tasks", "id": "r", "field": "title", "clientValue": "old", "clientTimestamp": TIMES[1],
            "serverValue": "new", "serverTimestamp": TIMES[2]}])
    );
    assert_eq!(
        changes(&pushed.answer.server_changes),
        json!([told("r", "title", "new", TIMES[2])])
    );
    let read = Device::new(&store, "anna", "tab").pull().await;
    let fields: Vec<_> = read
        .as_array()
        .expect("a list")
        .iter()
        .map(|change| change["fields"].clone())
        .collect();
    assert_eq!(
        fields,
        [
            json!({"title": field(json!("new"), TIMES[2])}),
            json!({"done": field(json!(true), TIMES[1])})
        ]
    );
}

/// What loses against the same client's newer write is no conflict: its client knows.
pub async fn an_own_newer_write_is_no_conflict(store: Arc<dyn Store>) {
    let mut phone = Device::new(&store, "anna", "phone");
    phone
        .push(json!([update("r", "title", "new", TIMES[1])]))
        .await;
    let pushed = phone
        .push(json!([update("r", "title", "old", TIMES[0])]))
        .await;
    assert_eq!((pushed.appended, pushed.answer.conflicts.len()), (0, 0));
    assert_eq!(
        changes(&pushed.answer.server_changes),
        json!([told("r", "title", "new", TIMES[1])])
    );
}

/// The changes of one push are folded per field: the latest stands, at equal times the last.
pub async fn of_several_writes_of_a_push_the_last_of_the_latest_stands(store: Arc<dyn Store>) {
    let mut phone = Device::new(&store, "anna", "phone");
    let pushed = phone
        .push(json!([
            update("a", "title", "z", TIMES[1]),
            update("a", "title", "a", TIMES[1]),
            update("a", "title", "older", TIMES[0]),
        ]))
        .await;
    assert_eq!((pushed.appended, pushed.answer.conflicts.len()), (1, 0));
    let read = Device::new(&store, "anna", "tab").pull().await;
    assert_eq!(
        read[0]["fields"],
        json!({"title": field(json!("a"), TIMES[1])})
    );
}

/// P5: of two writes of a client that is ahead, the older one comes late: it beats nothing.
pub async fn an_older_claim_of_a_client_has_no_effect(store: Arc<dyn Store>) {
    let mut phone = Device::new(&store, "anna", "phone");
    phone
        .push(json!([update(
            "a",
            "title",
            "newer",
            "2099-01-02T00:00:00.000Z"
        )]))
        .await;
    phone.wait(1000);
    let late = phone
        .push(json!([update(
            "a",
            "title",
            "older",
            "2099-01-01T00:00:00.000Z"
        )]))
        .await;
    assert_eq!((late.appended, late.answer.conflicts.len()), (0, 0));
    assert_eq!(
        changes(&late.answer.server_changes),
        json!([told("a", "title", "newer", &START.to_string())])
    );
}

/// P5: the same push again stores nothing and tells nothing.
pub async fn the_same_push_again_stores_nothing(store: Arc<dyn Store>) {
    let all = json!([
        insert("a", "1"),
        update("a", "title", "2", TIMES[0]),
        json!({"table": "tasks", "id": "b", "op": "insert"}),
        json!({"table": "tasks", "id": "c", "op": "delete", "deletedAt": TIMES[0]}),
        json!({"table": "tasks", "id": "d", "op": "delete"}),
        update("e", "title", "ahead", "2099-01-01T00:00:00.000Z"),
        json!({"table": "tasks", "id": "f", "op": "insert", "data": {"updatedAt": "2099-01-01T00:00:00.000Z"}}),
    ])
    .to_string();
    let mut phone = Device::new(&store, "anna", "phone");
    let first = phone.push_again(&all).await;
    assert_eq!(first.appended, 7);
    for later in [0, 1000, 3_600_000] {
        phone.wait(later);
        let again = phone.push_again(&all).await;
        let told = (again.appended, again.answer.conflicts.len());
        assert_eq!(
            (told, &again.answer.synced_until),
            ((0, 0), &first.answer.synced_until),
            "after {later} ms"
        );
    }
}

/// P5: a retry after another's newer write does not bring the old value back, also where the server gave the time.
pub async fn a_retry_does_not_beat_what_came_between(store: Arc<dyn Store>) {
    let ahead = "2026-01-01T00:10:00.000Z";
    let cases = [
        update("a", "title", "retried", TIMES[0]),
        update("b", "title", "retried", ahead),
    ];
    let mut phone = Device::new(&store, "anna", "phone");
    phone.push_again(&json!(cases).to_string()).await;
    let mut laptop = Device::new(&store, "anna", "laptop");
    laptop.wait(1000);
    let between = "2026-01-01T00:00:01.000Z";
    laptop
        .push(json!([
            update("a", "title", "between", between),
            update("b", "title", "between", between)
        ]))
        .await;
    // Again at once, and again when the clock has caught up with what the client claimed.
    for later in [2000, 3_600_000] {
        phone.wait(later);
        assert_eq!(
            phone.push_again(&json!(cases).to_string()).await.appended,
            0,
            "after {later} ms"
        );
    }
    let read = Device::new(&store, "anna", "tab").pull().await;
    let values: Vec<_> = read
        .as_array()
        .expect("a list")
        .iter()
        .map(|change| change["fields"]["title"]["value"].clone())
        .collect();
    assert_eq!(values, ["between", "between"]);
}

/// A time further ahead than allowed is stored as the time of receipt, with a warning; one within is taken.
pub async fn a_clock_ahead_gets_the_time_of_receipt(store: Arc<dyn Store>) {
    let within = "2026-01-01T00:05:00.000Z";
    let mut phone = Device::new(&store, "anna", "phone");
    let pushed = phone
        .push(json!([
            update("a", "title", "x", within),
            update("b", "title", "y", "2099-01-01T00:00:00Z")
        ]))
        .await;
    let warned: Vec<_> = pushed
        .answer
        .warnings
        .iter()
        .map(|warning| (warning.change, warning.code))
        .collect();
    assert_eq!(warned, [(1, WarningCode::ClockAhead)]);
    let read = Device::new(&store, "anna", "tab").pull().await;
    assert_eq!(read[0]["fields"]["title"]["at"], within);
    assert_eq!(read[1]["fields"]["title"]["at"], START.to_string());
}

/// Corrections for which the answer has no room are appended to the log again: the delta brings them.
pub async fn corrections_that_do_not_fit_come_through_the_log(store: Arc<dyn Store>) {
    let big = "x".repeat(400_000);
    let records: Vec<_> = (0..8).map(|n| format!("r{n}")).collect();
    let all = |value: &str, at: &str| -> Json {
        records
            .iter()
            .map(|id| update(id, "t", value, at))
            .collect()
    };
    let mut phone = Device::new(&store, "anna", "phone");
    phone.push(all(&big, TIMES[1])).await;
    let mut late = Device::new(&store, "anna", "late");
    late.since.clone_from(&phone.since);
    let pushed = late.push(all("old", TIMES[0])).await;
    assert!(pushed.answer.has_more && pushed.answer.synced_until > phone.since);
    let size = serde_json::to_string(&pushed.answer)
        .expect("an answer is JSON")
        .len();
    assert!(size <= crate::PAGE_BYTES, "{size} bytes");
    let mut told: Vec<_> = pushed
        .answer
        .server_changes
        .iter()
        .map(|change| change.id.to_string())
        .collect();
    let delta = late.pull().await;
    told.extend(
        delta
            .as_array()
            .expect("a list")
            .iter()
            .filter_map(|change| change["id"].as_str().map(str::to_owned)),
    );
    told.sort();
    assert_eq!(told, records);
    assert_eq!(
        phone.pull().await,
        delta,
        "another reader gets what was appended, too"
    );
}
