//! What can be a row at all (cases 33 to 37).

use serde_json::{Value, json};
use sync_store::{RowLimits, RowTables};

use crate::change::{
    USERS, applied, assert_invalid, delete, named, new, pk, update, with, without,
};
use crate::device::{pks, row};
use crate::world::{Place, World};

on_both! {
    a_change_that_names_no_row_is_invalid_and_the_request_is_not,
    a_uuid_may_be_spelled_in_every_way_and_goes_out_in_one,
    names_are_trimmed_and_their_case_does_not_matter,
    a_payload_is_an_object_where_a_row_is_written_and_nothing_where_it_is_deleted,
    a_payload_beyond_the_limit_is_refused_alone,
    names_of_members_match_exactly_and_nothing_may_follow,
    a_payload_that_says_when_it_was_deleted_deletes_its_row,
}

// Case 33.
async fn a_change_that_names_no_row_is_invalid_and_the_request_is_not(place: Place) {
    let world = World::start(place).await;
    let phone = world.device("anna", "phone");
    let good = |id| new(id, &pk(1), "A");
    let bad = [
        with(good(1), "pk", "1"),
        with(good(2), "pk", ""),
        without(good(3), "pk"),
        with(good(4), "op", "UPSERT"),
        without(good(5), "op"),
        with(good(6), "table", "a b"),
        with(good(7), "table", "a.b"),
        without(good(8), "table"),
        with(good(9), "schema", "a-b"),
        with(good(10), "schema", "schéma"),
    ];
    let statuses = phone.statuses(&bad).await;
    for (status, change) in statuses.iter().zip(&bad) {
        assert_invalid(status, "bad_payload");
        assert_eq!(status["source_change_id"], change["source_change_id"]);
    }
    assert_eq!(phone.all().await, [] as [Value; 0]);
}

// Case 34.
async fn a_uuid_may_be_spelled_in_every_way_and_goes_out_in_one(place: Place) {
    let world = World::start(place).await;
    let [phone, tablet] = ["phone", "tablet"].map(|name| world.device("anna", name));
    let canonical = "0b7c1a2e-30f4-4c55-8d66-77e8f9a0b1c2";
    let spellings = [
        canonical.to_uppercase(),
        format!("{{{canonical}}}"),
        format!("urn:uuid:{canonical}"),
        canonical.replace('-', ""),
        canonical.to_owned(),
    ];
    for (version, spelling) in (0..).zip(&spellings) {
        let change = update(version + 1, spelling, version, named(canonical, spelling));
        let status = phone.status(change).await;
        assert_eq!(status, applied(version + 1, version + 1), "{spelling}");
        let rows = tablet.others().await;
        assert_eq!(pks(&rows), [canonical]);
        assert_eq!(rows[0]["payload"]["name"], **spelling);
    }
}

// Case 35.
async fn names_are_trimmed_and_their_case_does_not_matter(place: Place) {
    let world = World::start(place).await;
    let [phone, tablet] = ["phone", "tablet"].map(|name| world.device("anna", name));
    let change = with(new(1, &pk(1), "A"), "op", " insert ");
    let change = with(with(change, "table", " Users "), "schema", "\tBUSINESS\n");
    assert_eq!(phone.status(change).await, applied(1, 1));
    let bare = without(new(2, &pk(2), "B"), "schema");
    assert_eq!(phone.status(bare).await, applied(2, 1));
    let empty = with(new(3, &pk(3), "C"), "schema", " ");
    assert_eq!(phone.status(empty).await, applied(3, 1));
    let rows = tablet.others().await;
    let first = row(&rows, &pk(1));
    assert_eq!(
        (&first["schema"], &first["table"]),
        (&json!("business"), &json!(USERS))
    );
    assert_eq!(first["op"], "INSERT");
    for pk in [pk(2), pk(3)] {
        assert_eq!(row(&rows, &pk)["schema"], "public");
    }
}

// Case 36.
async fn a_payload_is_an_object_where_a_row_is_written_and_nothing_where_it_is_deleted(
    place: Place,
) {
    let world = World::start(place).await;
    let phone = world.device("anna", "phone");
    let good = |id| new(id, &pk(1), "A");
    let bad = [
        without(good(1), "payload"),
        with(good(2), "payload", Value::Null),
        with(good(3), "payload", json!([])),
        with(good(4), "payload", "text"),
        with(good(5), "payload", 1),
        with(delete(6, &pk(1), 0), "payload", Value::Null),
        with(delete(7, &pk(1), 0), "payload", json!({})),
        with(delete(8, &pk(1), 0), "payload", json!({"a": 1})),
        with(without(good(9), "payload"), "op", "UPDATE"),
    ];
    for status in phone.statuses(&bad).await {
        assert_invalid(&status, "bad_payload");
    }
    assert_eq!(phone.all().await, [] as [Value; 0]);
    let empty = with(good(10), "payload", json!({}));
    assert_eq!(phone.status(empty).await, applied(10, 1));
}

// Case 37.
async fn a_payload_beyond_the_limit_is_refused_alone(place: Place) {
    let limits = RowLimits {
        payload_bytes: 2000,
        ..RowLimits::default()
    };
    let rows = RowTables {
        limits,
        ..RowTables::default()
    };
    let world = World::with(place, rows).await;
    let [phone, tablet] = ["phone", "tablet"].map(|name| world.device("anna", name));
    // Of so many bytes with what is around it.
    let sized = |bytes: usize| json!({ "text": "x".repeat(bytes - r#"{"text":""}"#.len()) });
    let batch = [
        with(new(1, &pk(1), "A"), "payload", sized(2000)),
        with(new(2, &pk(2), "B"), "payload", sized(2001)),
        new(3, &pk(3), "C"),
    ];
    let statuses = phone.statuses(&batch).await;
    assert_eq!(
        [&statuses[0], &statuses[2]],
        [&applied(1, 1), &applied(3, 1)]
    );
    assert_invalid(&statuses[1], "bad_payload");
    let message = "bad_payload: payload too large: 2001 > 2000";
    assert_eq!(statuses[1]["message"], message);
    assert_eq!(pks(&tablet.others().await), [pk(1), pk(3)]);
}

/// The replaced service takes both.
async fn names_of_members_match_exactly_and_nothing_may_follow(place: Place) {
    let world = World::start(place).await;
    let phone = world.device("anna", "phone");
    let body = json!({"Changes": [new(1, &pk(1), "A")]}).to_string();
    let answer: Value = phone.upload_text(body).await.json().await.unwrap();
    assert_eq!(answer["statuses"], json!([]));
    for rest in ["x", "{}", ",", "\0"] {
        let body = json!({"changes": [new(1, &pk(1), "A")]}).to_string() + rest;
        assert_eq!(phone.upload_text(body).await.status(), 400, "{rest:?}");
    }
    assert_eq!(phone.all().await, [] as [Value; 0]);
}

/// `deletedAt` is the field of deletion in both dialects.
async fn a_payload_that_says_when_it_was_deleted_deletes_its_row(place: Place) {
    let world = World::start(place).await;
    let [phone, tablet] = ["phone", "tablet"].map(|name| world.device("anna", name));
    let saying = |when: Value| json!({"id": pk(1), "deletedAt": when});
    let live = with(new(1, &pk(1), "A"), "payload", saying(Value::Null));
    assert_eq!(phone.status(live).await, applied(1, 1));
    assert_eq!(
        row(&tablet.others().await, &pk(1))["payload"],
        saying(Value::Null)
    );
    let gone = update(2, &pk(1), 1, saying(json!("2026-01-01T00:00:00.000Z")));
    assert_eq!(phone.status(gone).await, applied(2, 2));
    let rows = tablet.others().await;
    let only = row(&rows, &pk(1));
    assert_eq!(
        (&only["op"], &only["deleted"]),
        (&json!("DELETE"), &json!(true))
    );
    let back = update(3, &pk(1), 2, named(&pk(1), "back"));
    assert_eq!(phone.status(back).await, applied(3, 3));
    // A row that has carried this key goes on showing it.
    let shown = with(named(&pk(1), "back"), "deletedAt", Value::Null);
    assert_eq!(row(&tablet.others().await, &pk(1))["payload"], shown);
}
