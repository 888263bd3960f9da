//! How rows go out, so that existing clients come to the same values and times (P4).

use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::device::{Device, NO_TIME, TIMES, changes, field, insert, told, update};
use crate::Store;

/// A row goes out without the fields that a later row of its page replaces, unless nothing would be left of it.
pub async fn a_row_goes_out_without_what_its_page_replaces(store: Arc<dyn Store>) {
    let mut phone = Device::new(&store, "anna", "phone");
    phone.push(json!([insert("a", "1"), {"table": "tasks", "id": "b", "op": "insert", "data": {"title": "1"}}])).await;
    phone
        .push(json!([
            update("a", "title", "2", TIMES[0]),
            update("b", "title", "2", TIMES[0])
        ]))
        .await;
    let mut tab = Device::new(&store, "anna", "tab");
    let expected = json!([
        {"table": "tasks", "id": "a", "op": "insert", "data": {"id": "a"}},
        {"table": "tasks", "id": "b", "op": "insert", "data": {"title": "1"}},
        told("a", "title", "2", TIMES[0]),
        told("b", "title", "2", TIMES[0]),
    ]);
    assert_eq!(tab.pull().await, expected);
    let mut single = Device::new(&store, "anna", "single");
    let first = single.page("tasks", 1).await;
    assert_eq!(
        changes(&first.server_changes),
        json!([insert("a", "1")]),
        "it is another page that replaces it"
    );
}

/// Rows of a record that no insert precedes carry the values beside the fields, for clients that lack the record.
pub async fn an_update_before_its_insert_carries_the_values_beside(store: Arc<dyn Store>) {
    let mut phone = Device::new(&store, "anna", "phone");
    phone
        .push(json!([update("a", "done", true, TIMES[0])]))
        .await;
    phone.push(json!([insert("a", "1")])).await;
    phone
        .push(json!([update("a", "note", "x", TIMES[0])]))
        .await;
    let mut first = told("a", "done", true, TIMES[0]);
    first["data"] = json!({"id": "a", "done": true});
    let expected = json!([first, insert("a", "1"), told("a", "note", "x", TIMES[0])]);
    assert_eq!(Device::new(&store, "anna", "tab").pull().await, expected);
}

/// An insert without times goes out as one while it is younger than the allowed skew, then as an update.
pub async fn a_timeless_insert_goes_out_as_an_insert_while_it_is_young(store: Arc<dyn Store>) {
    Device::new(&store, "anna", "phone")
        .push(json!([insert("a", "1")]))
        .await;
    let mut young = Device::new(&store, "anna", "young");
    young.wait(300_000);
    assert_eq!(young.pull().await, json!([insert("a", "1")]));
    let mut old = Device::new(&store, "anna", "old");
    old.wait(300_001);
    let expected = json!([{"table": "tasks", "id": "a", "op": "update", "data": {"id": "a", "title": "1"},
        "fields": {"id": field(json!("a"), NO_TIME), "title": field(json!("1"), NO_TIME)}}]);
    assert_eq!(old.pull().await, expected);
}

/// An insert goes out as one only if clients come to the right time for every field.
pub async fn an_insert_with_mixed_times_goes_out_as_an_update(store: Arc<dyn Store>) {
    let insert = |id: &str, data: Json, fields: Json| json!({"table": "tasks", "id": id, "op": "insert", "data": data, "fields": fields});
    let mut phone = Device::new(&store, "anna", "phone");
    phone
        .push(json!([
            insert("same", json!({"t": 1, "updatedAt": TIMES[0]}), Json::Null),
            insert(
                "created",
                json!({"t": 1, "createdAt": TIMES[0], "updatedAt": null}),
                Json::Null
            ),
            insert(
                "mixed",
                json!({"t": 1, "updatedAt": TIMES[0]}),
                json!({"t": {"at": TIMES[1]}})
            ),
            insert(
                "seconds",
                json!({"t": 1, "updatedAt": "2025-02-01T10:00:00Z"}),
                Json::Null
            ),
            insert(
                "words",
                json!({"t": 1, "updatedAt": "yesterday"}),
                Json::Null
            ),
        ]))
        .await;
    let read = Device::new(&store, "anna", "tab").pull().await;
    let ops: Vec<_> = read
        .as_array()
        .expect("a list")
        .iter()
        .map(|change| {
            (
                change["id"].clone(),
                change["op"].clone(),
                change["data"].is_object(),
            )
        })
        .collect();
    let expected = [
        ("same", "insert"),
        ("created", "insert"),
        ("mixed", "update"),
        ("seconds", "update"),
        ("words", "update"),
    ];
    assert_eq!(ops, expected.map(|(id, op)| (json!(id), json!(op), true)));
    assert_eq!(read[3]["fields"]["t"], field(json!(1), TIMES[0]));
    assert_eq!(read[4]["fields"]["t"], field(json!(1), NO_TIME));
}
