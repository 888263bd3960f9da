//! Deletes, what comes after them, and how they are taken back (P4).

use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::device::{Device, NO_TIME, TIMES, changes, field, insert, update};
use crate::Store;

/// A delete without a time gets that of receipt once, and goes out without one.
pub async fn a_delete_without_a_time_is_timed_once(store: Arc<dyn Store>) {
    let delete = json!({"table": "tasks", "id": "a", "op": "delete"});
    let mut phone = Device::new(&store, "anna", "phone");
    phone.push(json!([insert("a", "1")])).await;
    phone.push(json!([delete])).await;
    let mut laptop = Device::new(&store, "anna", "laptop");
    laptop.wait(1000);
    laptop.pull().await;
    let undelete = update("a", "deletedAt", Json::Null, "2026-01-01T00:00:01.000Z");
    assert_eq!(laptop.push(json!([undelete])).await.appended, 1);
    phone.wait(2000);
    assert_eq!(
        phone.push(json!([delete])).await.appended,
        0,
        "the retry does not delete again"
    );
    let mut never = Device::new(&store, "anna", "never");
    never
        .push(json!([{"table": "tasks", "id": "b", "op": "delete"}]))
        .await;
    let read = Device::new(&store, "anna", "tab").pull().await;
    assert_eq!(
        read.as_array().and_then(|list| list.last()),
        Some(&json!({"table": "tasks", "id": "b", "op": "delete"}))
    );
}

/// An update that comes after the delete of its record is kept, and says that the record is deleted.
pub async fn a_deleted_record_stays_deleted_under_late_updates(store: Arc<dyn Store>) {
    let mut phone = Device::new(&store, "anna", "phone");
    phone.push(json!([insert("a", "1"), {"table": "tasks", "id": "a", "op": "delete", "deletedAt": TIMES[1]}])).await;
    let mut late = Device::new(&store, "anna", "late");
    late.push(json!([update("a", "title", "late", TIMES[2])]))
        .await;
    phone.pull().await;
    let read = Device::new(&store, "anna", "tab").pull().await;
    let last = read
        .as_array()
        .and_then(|list| list.last())
        .expect("a change")
        .clone();
    let expected = json!({"table": "tasks", "id": "a", "op": "update", "fields": {
        "title": field(json!("late"), TIMES[2]), "deletedAt": field(json!(TIMES[1]), TIMES[1])}});
    assert_eq!(last, expected);
}

/// An undelete brings the whole record, for clients that skipped the delete of a record they never had.
pub async fn an_undelete_brings_the_whole_record(store: Arc<dyn Store>) {
    let mut phone = Device::new(&store, "anna", "phone");
    phone
        .push(json!([
            insert("a", "1"),
            update("a", "done", true, TIMES[0])
        ]))
        .await;
    phone
        .push(json!([{"table": "tasks", "id": "a", "op": "delete", "deletedAt": TIMES[1]}]))
        .await;
    let mut tab = Device::new(&store, "anna", "tab");
    tab.since.clone_from(&phone.since);
    phone
        .push(json!([update("a", "deletedAt", Json::Null, TIMES[2])]))
        .await;
    let expected = json!([{"table": "tasks", "id": "a", "op": "update", "fields": {
        "deletedAt": field(Json::Null, TIMES[2]), "done": field(json!(true), TIMES[0]),
        "id": field(json!("a"), NO_TIME), "title": field(json!("1"), NO_TIME)}}]);
    assert_eq!(tab.pull().await, expected);
    phone.since.clone_from(&tab.since[..0].to_owned());
    assert!(
        phone
            .pull()
            .await
            .as_array()
            .is_some_and(|list| list.len() > 1)
    );
}

/// What the undeleting client has not seen yet is still told to it.
pub async fn an_undelete_does_not_hide_what_its_writer_lacks(store: Arc<dyn Store>) {
    let mut phone = Device::new(&store, "anna", "phone");
    phone.push(json!([insert("a", "1"), {"table": "tasks", "id": "a", "op": "delete", "deletedAt": TIMES[0]}])).await;
    Device::new(&store, "anna", "laptop")
        .push(json!([update("a", "note", "seen?", TIMES[1])]))
        .await;
    let pushed = phone
        .push(json!([update("a", "deletedAt", Json::Null, TIMES[2])]))
        .await;
    let told = changes(&pushed.answer.server_changes);
    assert_eq!(told[0]["fields"]["note"], field(json!("seen?"), TIMES[1]));
}
