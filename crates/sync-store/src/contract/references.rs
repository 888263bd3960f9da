//! Rows that refer to each other: in which order they stand, and what a page brings.

use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::row_device::RowDevice;
use super::rows::{ONE, THREE, TWO, applied, delete, upsert};
use crate::{OwnRows, Store};

/// Rows come after those that they refer to, deletes before; who refers to what is not there is told so.
pub async fn a_row_needs_the_rows_that_it_refers_to(store: Arc<dyn Store>) {
    let tables = ["tasks", "lists"];
    let references = [("tasks", "list", "lists"), ("lists", "parent", "lists")];
    let mut phone = RowDevice::new(&store, "anna", "phone").with_tables(&tables, &references);
    let list = |id: i64, pk: &str, version: i64, payload: Json| {
        let mut change = upsert(id, pk, version, payload);
        change["table"] = json!("lists");
        change
    };
    let missing = phone
        .statuses(json!([upsert(1, ONE, 0, json!({"list": TWO}))]))
        .await;
    let told =
        json!({"reason": "fk_missing", "details": {"missing": [format!("todo.lists:{TWO}")]}});
    assert_eq!(
        missing,
        [json!({"source_change_id": 1, "status": "invalid", "invalid": told})]
    );
    let bad = phone
        .statuses(json!([upsert(1, ONE, 0, json!({"list": 5}))]))
        .await;
    assert_eq!(bad[0]["invalid"]["reason"], "bad_payload");
    for nothing in [json!(null), json!("")] {
        let free = phone
            .statuses(json!([upsert(9, THREE, 0, json!({"list": nothing}))]))
            .await;
        assert_ne!(free[0]["status"], "invalid", "{}", free[0]);
    }
    // The child first; the parent bad: it takes the child with it, and nobody else.
    let both = json!([
        upsert(1, ONE, 0, json!({"list": TWO})),
        list(2, TWO, 4, json!({}))
    ]);
    let statuses = phone.statuses(both).await;
    let reasons = statuses
        .iter()
        .map(|status| status["invalid"]["reason"].clone());
    assert_eq!(
        reasons.collect::<Vec<_>>(),
        ["fk_missing", "internal_error"]
    );
    let both = json!([
        upsert(1, ONE, 0, json!({"list": TWO})),
        list(2, TWO, 0, json!({}))
    ]);
    assert_eq!(phone.statuses(both).await, [applied(1, 1), applied(2, 1)]);
    let mut tablet = RowDevice::new(&store, "anna", "tablet").with_tables(&tables, &references);
    let read = tablet.catch_up(10, OwnRows::LeftOut).await;
    let order: Vec<_> = read
        .iter()
        .map(|row| row["pk"].as_str().expect("a key"))
        .collect();
    assert_eq!(order, [THREE, TWO, ONE]);
    // Two that refer to each other; and one to what does not come.
    let (four, five) = (ONE.replace("001", "004"), ONE.replace("001", "005"));
    let circle = json!([
        list(3, &four, 0, json!({"parent": five})),
        list(4, &five, 0, json!({"parent": four}))
    ]);
    assert_eq!(phone.statuses(circle).await, [applied(3, 1), applied(4, 1)]);
    let (six, seven) = (ONE.replace("001", "006"), ONE.replace("001", "007"));
    let broken = json!([
        list(5, &six, 0, json!({"parent": seven})),
        list(6, &seven, 3, json!({"parent": six}))
    ]);
    let statuses = phone.statuses(broken).await;
    assert_eq!(
        statuses[0]["invalid"]["reason"], "fk_missing",
        "{statuses:?}"
    );
    // The parent's delete comes first, and is done last.
    let mut parent = delete(7, TWO, 1);
    parent["table"] = json!("lists");
    assert_eq!(
        phone.statuses(json!([parent, delete(8, ONE, 1)])).await,
        [applied(7, 2), applied(8, 2)]
    );
    let read = tablet.catch_up(10, OwnRows::LeftOut).await;
    let deleted = read.iter().filter(|row| row["deleted"] == true);
    let order: Vec<_> = deleted
        .map(|row| row["pk"].as_str().expect("a key"))
        .collect();
    assert_eq!(order, [ONE, TWO]);
}

/// A page brings the parents that it needs, though they stand behind its end by now.
pub async fn a_page_is_whole_in_itself(store: Arc<dyn Store>) {
    let tables = ["tasks", "lists"];
    let references = [("tasks", "list", "lists")];
    let mut phone = RowDevice::new(&store, "anna", "phone").with_tables(&tables, &references);
    let list = |id: i64, version: i64, name: &str| {
        let mut change = upsert(id, TWO, version, json!({"name": name}));
        change["table"] = json!("lists");
        change
    };
    phone
        .upload(json!([
            list(1, 0, "a"),
            upsert(2, ONE, 0, json!({"list": TWO}))
        ]))
        .await;
    phone
        .upload(json!([upsert(3, THREE, 0, json!({})), list(4, 1, "b")]))
        .await;
    let tablet = RowDevice::new(&store, "anna", "tablet").with_tables(&tables, &references);
    let page = tablet.page(0, 0, 1, OwnRows::LeftOut).await;
    let keys = |page: &Json| {
        let rows = page["changes"].as_array().expect("rows").iter();
        rows.map(|row| row["pk"].as_str().expect("a key").to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(keys(&page), [ONE, TWO]);
    assert_eq!(page["has_more"], true);
    let next = page["next_after"].as_i64().expect("a position");
    assert_eq!(page["changes"][0]["server_id"].as_i64(), Some(next));
    let rest = tablet.page(next, 0, 10, OwnRows::LeftOut).await;
    assert_eq!(keys(&rest), [THREE, TWO]);
}
