//! Tables that refer to each other (cases 38 to 44).

use std::collections::BTreeMap;

use openssl::base64::encode_block;
use serde_json::{Value, json};
use sync_protocol::{AppId, FieldName, TableName};
use sync_store::{RowTable, RowTables, TableKey};

use crate::change::{
    SCHEMA, USERS, applied, assert_invalid, delete, insert, missing, new, pk, with,
};
use crate::device::{pks, row};
use crate::world::{Place, World};

on_both! {
    a_child_without_its_parent_is_refused_by_name_and_reaches_nobody,
    a_child_that_was_refused_is_applied_when_its_parent_is_there,
    a_reference_to_nothing_is_not_checked,
    a_reference_that_is_no_uuid_is_a_bad_payload,
    rows_that_refer_to_each_other_in_one_table_come_in_any_order,
    a_reference_may_be_the_base64_of_its_bytes,
    the_delete_of_a_parent_with_children_is_answered_by_itself,
}

/// Users; their posts, by `author_id`; and nodes below nodes, by `parent_id`.
pub(crate) fn described() -> RowTables {
    let referring = |column: &str, table: &str| RowTable {
        references: BTreeMap::from([(FieldName::new(column).unwrap(), key(table))]),
        ..RowTable::default()
    };
    let tables = [
        (key(USERS), RowTable::default()),
        (key("posts"), referring("author_id", USERS)),
        (key("nodes"), referring("parent_id", "nodes")),
    ];
    RowTables {
        described: Some(BTreeMap::from(tables)),
        ..RowTables::default()
    }
}

fn key(table: &str) -> TableKey {
    (AppId::new(SCHEMA).unwrap(), TableName::new(table).unwrap())
}

/// A new post of an author.
pub(crate) fn post(id: i64, pk: &str, author: Value) -> Value {
    let payload = json!({"id": pk, "title": "T", "author_id": author});
    with(insert(id, pk, 0, payload), "table", "posts")
}

/// A new node below another.
fn node(id: i64, pk: &str, parent: Value) -> Value {
    let payload = json!({"id": pk, "parent_id": parent});
    with(insert(id, pk, 0, payload), "table", "nodes")
}

fn label(value: &str) -> String {
    format!("business.users:{value}")
}

// Case 38.
async fn a_child_without_its_parent_is_refused_by_name_and_reaches_nobody(place: Place) {
    let world = World::with(place, described()).await;
    let [phone, tablet] = ["phone", "tablet"].map(|name| world.device("anna", name));
    let told = missing(1, &[label(&pk(1))]);
    let child = || post(1, &pk(2), json!(pk(1)));
    assert_eq!(phone.status(child()).await, told);
    // The row of another user, or one of another table, is no parent.
    world
        .device("ben", "phone")
        .applies(new(1, &pk(1), "B"))
        .await;
    tablet.applies(node(1, &pk(1), Value::Null)).await;
    assert_eq!(phone.status(child()).await, told);
    // Nor is one that is deleted.
    tablet.applies(new(2, &pk(1), "A")).await;
    tablet.applies(delete(3, &pk(1), 1)).await;
    assert_eq!(phone.status(child()).await, told);
    assert!(!pks(&tablet.all().await).contains(&pk(2).as_str()));
}

// Case 39.
async fn a_child_that_was_refused_is_applied_when_its_parent_is_there(place: Place) {
    let world = World::with(place, described()).await;
    let [phone, tablet] = ["phone", "tablet"].map(|name| world.device("anna", name));
    let child = || post(1, &pk(2), json!(pk(1)));
    assert_eq!(phone.status(child()).await["status"], "invalid");
    tablet.applies(new(1, &pk(1), "A")).await;
    assert_eq!(phone.status(child()).await, applied(1, 1));
    // And stays so when the parent is gone: it is the same change.
    let gone = tablet.status(delete(2, &pk(1), 1)).await;
    let again = phone.status(child()).await;
    assert_eq!(again["status"], "applied", "{gone}");
}

// Case 40.
async fn a_reference_to_nothing_is_not_checked(place: Place) {
    let world = World::with(place, described()).await;
    let phone = world.device("anna", "phone");
    let absent = with(
        insert(3, &pk(3), 0, json!({"title": "T"})),
        "table",
        "posts",
    );
    let batch = [
        post(1, &pk(1), Value::Null),
        post(2, &pk(2), json!("")),
        absent,
    ];
    let all = [applied(1, 1), applied(2, 1), applied(3, 1)];
    assert_eq!(phone.statuses(&batch).await, all);
}

// Case 41.
async fn a_reference_that_is_no_uuid_is_a_bad_payload(place: Place) {
    let world = World::with(place, described()).await;
    let phone = world.device("anna", "phone");
    let batch = [
        post(1, &pk(1), json!("nobody")),
        post(2, &pk(2), json!(7)),
        post(3, &pk(3), json!({"id": pk(1)})),
        post(4, &pk(4), json!(true)),
    ];
    for status in phone.statuses(&batch).await {
        assert_invalid(&status, "bad_payload");
    }
    assert_eq!(phone.all().await, [] as [Value; 0]);
}

// Case 42.
async fn rows_that_refer_to_each_other_in_one_table_come_in_any_order(place: Place) {
    let world = World::with(place, described()).await;
    let [phone, tablet] = ["phone", "tablet"].map(|name| world.device("anna", name));
    let batch = [
        node(1, &pk(1), json!(pk(2))),
        node(2, &pk(2), Value::Null),
        node(3, &pk(3), Value::Null),
        node(4, &pk(4), json!(pk(3))),
        node(5, &pk(5), json!(pk(5))),
        node(6, &pk(6), json!(pk(7))),
        node(7, &pk(7), json!(pk(6))),
    ];
    let all: Vec<_> = (1..=7).map(|id| applied(id, 1)).collect();
    assert_eq!(phone.statuses(&batch).await, all);
    assert_eq!(tablet.others().await.len(), 7);
}

// Case 43.
async fn a_reference_may_be_the_base64_of_its_bytes(place: Place) {
    let world = World::with(place, described()).await;
    let [phone, tablet] = ["phone", "tablet"].map(|name| world.device("anna", name));
    let bytes: Vec<u8> = (1..=16).collect();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let text = encode_block(&bytes);
    phone.applies(new(1, &hex, "A")).await;
    let child = post(2, &pk(2), json!(text));
    assert_eq!(phone.status(child).await, applied(2, 1));
    let rows = tablet.others().await;
    assert_eq!(row(&rows, &pk(2))["payload"]["author_id"], *text);
    let short = post(3, &pk(3), json!(encode_block(&bytes[..5])));
    assert_invalid(&phone.status(short).await, "bad_payload");
    let unknown = encode_block(&[7; 16]);
    let orphan = post(4, &pk(4), json!(unknown));
    assert_eq!(phone.status(orphan).await, missing(4, &[label(&unknown)]));
}

// Case 44.
async fn the_delete_of_a_parent_with_children_is_answered_by_itself(place: Place) {
    let world = World::with(place, described()).await;
    let phone = world.device("anna", "phone");
    let batch = [new(1, &pk(1), "parent"), post(2, &pk(2), json!(pk(1)))];
    phone.statuses(&batch).await;
    let batch = [delete(3, &pk(1), 1), new(4, &pk(3), "other")];
    let statuses = phone.statuses(&batch).await;
    let outcome = statuses[0]["status"].as_str().unwrap();
    assert!(["applied", "invalid"].contains(&outcome), "{statuses:?}");
    assert_eq!(statuses[1], applied(4, 1));
}
