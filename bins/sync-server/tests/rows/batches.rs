//! Several changes in one request (cases 22 to 32).

use serde_json::{Value, json};
use sync_store::{RowLimits, RowTables};

use crate::change::{
    applied, assert_invalid, conflict, delete, did_nothing, insert, missing, named, new, pk,
    update, with, without,
};
use crate::device::{Device, pks, row};
use crate::tables::{described, post};
use crate::world::{Place, World};

on_both! {
    a_parent_goes_out_before_its_child_in_whatever_order_they_came,
    the_delete_of_a_child_goes_out_before_that_of_its_parent,
    a_row_that_comes_and_goes_in_one_request_has_two_versions,
    a_row_that_is_written_three_times_in_one_request_has_three_versions,
    what_was_refused_in_a_batch_reaches_nobody,
    what_was_refused_in_a_batch_may_be_sent_again_by_the_same_number,
    deletes_that_do_nothing_leave_nothing,
    of_two_changes_with_one_number_one_takes_effect,
    an_upload_of_too_many_changes_is_refused_as_a_whole,
    a_table_that_is_not_there_is_refused_beside_what_is_applied,
    statuses_are_in_the_order_of_the_changes,
}

async fn devices(world: &World) -> [Device; 2] {
    ["phone", "tablet"].map(|name| world.device("anna", name))
}

// Case 22.
async fn a_parent_goes_out_before_its_child_in_whatever_order_they_came(place: Place) {
    let world = World::with(place, described()).await;
    let [phone, tablet] = devices(&world).await;
    let batch = [post(1, &pk(2), json!(pk(1))), new(2, &pk(1), "parent")];
    assert_eq!(phone.statuses(&batch).await, [applied(1, 1), applied(2, 1)]);
    assert_eq!(pks(&tablet.others().await), [pk(1), pk(2)]);
}

// Case 23.
async fn the_delete_of_a_child_goes_out_before_that_of_its_parent(place: Place) {
    let world = World::with(place, described()).await;
    let [phone, tablet] = devices(&world).await;
    let batch = [new(1, &pk(1), "parent"), post(2, &pk(2), json!(pk(1)))];
    phone.statuses(&batch).await;
    let batch = [
        delete(3, &pk(1), 1),
        with(delete(4, &pk(2), 1), "table", "posts"),
    ];
    assert_eq!(phone.statuses(&batch).await, [applied(3, 2), applied(4, 2)]);
    let rows = tablet.others().await;
    assert_eq!(pks(&rows), [pk(2), pk(1)]);
    assert!(rows.iter().all(|row| row["deleted"] == true));
}

// Case 24.
async fn a_row_that_comes_and_goes_in_one_request_has_two_versions(place: Place) {
    let world = World::start(place).await;
    let [phone, tablet] = devices(&world).await;
    let batch = [new(1, &pk(1), "A"), delete(2, &pk(1), 1)];
    assert_eq!(phone.statuses(&batch).await, [applied(1, 1), applied(2, 2)]);
    let rows = tablet.others().await;
    let only = row(&rows, &pk(1));
    assert_eq!(
        (&only["deleted"], &only["server_version"]),
        (&json!(true), &json!(2))
    );
}

// Case 25. A device is given the row as it is now, once.
async fn a_row_that_is_written_three_times_in_one_request_has_three_versions(place: Place) {
    let world = World::start(place).await;
    let [phone, tablet] = devices(&world).await;
    let batch = [
        new(1, &pk(1), "v1"),
        update(2, &pk(1), 1, named(&pk(1), "v2")),
        update(3, &pk(1), 2, named(&pk(1), "v3")),
    ];
    let all = [applied(1, 1), applied(2, 2), applied(3, 3)];
    assert_eq!(phone.statuses(&batch).await, all);
    let rows = tablet.others().await;
    let only = row(&rows, &pk(1));
    assert_eq!(only["payload"], named(&pk(1), "v3"));
    assert_eq!(only["server_version"], 3);
    assert_eq!(only["source_change_id"], 3);
    // Each of them is known by its number.
    assert_eq!(phone.statuses(&batch).await, all);
}

/// The row is at version 2, and the tablet still has version 1.
async fn outdated(world: &World) -> [Device; 2] {
    let devices = devices(world).await;
    devices[0].applies(new(1, &pk(1), "v1")).await;
    let second = update(2, &pk(1), 1, named(&pk(1), "v2"));
    devices[0].applies(second).await;
    devices
}

// Case 26.
async fn what_was_refused_in_a_batch_reaches_nobody(place: Place) {
    let world = World::start(place).await;
    let [phone, tablet] = outdated(&world).await;
    let before = phone.highest().await;
    let batch = [
        update(1, &pk(1), 1, named(&pk(1), "refused")),
        new(2, &pk(2), "good"),
    ];
    let told = conflict(1, &pk(1), 2, Some(named(&pk(1), "v2")));
    assert_eq!(tablet.statuses(&batch).await, [told, applied(2, 1)]);
    let page = phone.download(&format!("after={before}")).await;
    assert_eq!(page.pks(), [pk(2)]);
    let rows = world.device("anna", "laptop").all().await;
    assert_eq!(row(&rows, &pk(1))["payload"], named(&pk(1), "v2"));
    assert_eq!(rows.len(), 2);
}

// Case 27.
async fn what_was_refused_in_a_batch_may_be_sent_again_by_the_same_number(place: Place) {
    let world = World::start(place).await;
    let [phone, tablet] = outdated(&world).await;
    let batch = [
        update(1, &pk(1), 1, named(&pk(1), "merged")),
        new(2, &pk(2), "good"),
    ];
    assert_eq!(tablet.statuses(&batch).await[0]["status"], "conflict");
    let again = insert(1, &pk(1), 2, named(&pk(1), "merged"));
    assert_eq!(tablet.status(again).await, applied(1, 3));
    let rows = phone.others().await;
    assert_eq!(row(&rows, &pk(1))["payload"], named(&pk(1), "merged"));
}

// Case 28.
async fn deletes_that_do_nothing_leave_nothing(place: Place) {
    let world = World::start(place).await;
    let [phone, tablet] = outdated(&world).await;
    let before = phone.highest().await;
    let told = |id| conflict(id, &pk(1), 2, Some(named(&pk(1), "v2")));
    let batch = [
        delete(1, &pk(8), 0),
        delete(2, &pk(9), 3),
        delete(3, &pk(1), 1),
        delete(4, &pk(1), 0),
    ];
    assert_eq!(
        tablet.statuses(&batch).await,
        [did_nothing(1), did_nothing(2), told(3), told(4)]
    );
    assert_eq!(phone.highest().await, before);
    assert_eq!(pks(&world.device("anna", "laptop").all().await), [pk(1)]);
}

// Case 29.
async fn of_two_changes_with_one_number_one_takes_effect(place: Place) {
    let world = World::start(place).await;
    let [phone, tablet] = devices(&world).await;
    let batch = [new(1, &pk(1), "A"), new(1, &pk(2), "B")];
    let statuses = phone.statuses(&batch).await;
    assert_eq!(statuses[0], applied(1, 1));
    assert_invalid(&statuses[1], "internal_error");
    assert_eq!(pks(&tablet.others().await), [pk(1)]);
    // The very same twice is once.
    let batch = [new(2, &pk(3), "C"), new(2, &pk(3), "C")];
    let statuses = phone.statuses(&batch).await;
    assert_eq!(statuses, [applied(2, 1), did_nothing(2)]);
    let rows = tablet.others().await;
    assert_eq!(row(&rows, &pk(3))["server_version"], 1);
}

// Case 30.
async fn an_upload_of_too_many_changes_is_refused_as_a_whole(place: Place) {
    let limits = RowLimits {
        changes: 3,
        ..RowLimits::default()
    };
    let rows = RowTables {
        limits,
        ..RowTables::default()
    };
    let world = World::with(place, rows).await;
    let [phone, tablet] = devices(&world).await;
    let batch: Vec<Value> = (1..=4)
        .map(|number| new(i64::try_from(number).unwrap(), &pk(number), "A"))
        .collect();
    let answer = phone.upload(&batch).await;
    assert_eq!(answer["accepted"], false);
    assert_eq!(answer["highest_server_seq"], 0);
    let message = "batch too large: changes=4 limit=3";
    for (place, status) in answer["statuses"].as_array().unwrap().iter().enumerate() {
        let invalid = json!({"reason": "batch_too_large", "details": {"error": message}});
        let expected = json!({"source_change_id": place + 1, "status": "invalid",
            "message": message, "invalid": invalid});
        assert_eq!(status, &expected);
    }
    assert_eq!(tablet.all().await, [] as [Value; 0]);
    let fewer = [applied(1, 1), applied(2, 1), applied(3, 1)];
    assert_eq!(phone.statuses(&batch[..3]).await, fewer);
}

// Case 31.
async fn a_table_that_is_not_there_is_refused_beside_what_is_applied(place: Place) {
    let world = World::with(place, described()).await;
    let [phone, tablet] = devices(&world).await;
    let unknown = without(with(new(2, &pk(2), "B"), "table", "zzz"), "schema");
    let answer = phone.upload(&[new(1, &pk(1), "A"), unknown]).await;
    assert_eq!(answer["accepted"], false);
    let refused = json!({"source_change_id": 2, "status": "invalid",
        "message": "table not registered public.zzz",
        "invalid": {"reason": "unregistered_table",
            "details": {"schema": "public", "table": "zzz"}}});
    assert_eq!(answer["statuses"], json!([applied(1, 1), refused]));
    assert_eq!(pks(&tablet.others().await), [pk(1)]);
}

// Case 32.
async fn statuses_are_in_the_order_of_the_changes(place: Place) {
    let world = World::with(place, described()).await;
    let [phone, tablet] = outdated(&world).await;
    let batch = [
        post(9, &pk(20), json!(pk(21))),
        delete(8, &pk(1), 1),
        new(-7, &pk(2), "good"),
        post(0, &pk(22), json!(pk(2))),
        with(new(5, &pk(3), "bad"), "pk", "no uuid"),
        delete(40, &pk(30), 0),
        delete(3, &pk(1), 2),
    ];
    let statuses = tablet.statuses(&batch).await;
    let label = format!("business.users:{}", pk(21));
    let expected = [
        (0, missing(9, &[label])),
        (2, applied(-7, 1)),
        (3, applied(0, 1)),
        (5, did_nothing(40)),
        (6, applied(3, 3)),
    ];
    for (place, status) in expected {
        assert_eq!(statuses[place], status);
    }
    assert_eq!(statuses[1]["status"], "conflict");
    assert_eq!(statuses[1]["source_change_id"], 8);
    assert_invalid(&statuses[4], "bad_payload");
    assert_eq!(statuses[4]["source_change_id"], 5);
    drop(phone);
}
