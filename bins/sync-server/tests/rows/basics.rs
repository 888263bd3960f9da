//! What one change does to its row (cases 9 to 21).

use serde_json::{Value, json};

use crate::change::{
    SCHEMA, USERS, applied, assert_invalid, conflict, delete, did_nothing, insert, named, new, pk,
    update,
};
use crate::device::{Device, row};
use crate::world::{Place, World};

on_both! {
    an_upload_of_nothing_tells_where_the_user_is,
    a_new_row_has_version_1,
    a_write_with_the_version_of_the_row_raises_it_and_others_get_the_whole_row,
    a_write_with_another_version_is_a_conflict_and_is_told_the_row,
    a_version_of_a_row_that_is_not_there_is_invalid,
    a_delete_with_the_version_of_the_row_leaves_a_tombstone,
    a_delete_with_another_version_is_a_conflict,
    a_delete_of_nothing_is_applied_and_nobody_hears_of_it,
    a_deleted_row_is_in_the_way_of_a_new_one,
    a_deleted_row_comes_back_by_its_version,
    keys_that_a_row_no_longer_has_are_gone,
    keys_of_a_payload_may_be_called_as_those_of_the_protocol,
    values_come_back_as_they_were_sent,
}

/// Two devices of one user; the row has been written so many times by the first.
async fn devices(world: &World, versions: i64) -> [Device; 2] {
    let devices = ["phone", "tablet"].map(|name| world.device("anna", name));
    for version in 0..versions {
        let name = named(&pk(1), &format!("v{}", version + 1));
        let change = insert(100 + version, &pk(1), version, name);
        assert_eq!(devices[0].applies(change).await, version + 1);
    }
    devices
}

// Case 9.
async fn an_upload_of_nothing_tells_where_the_user_is(place: Place) {
    let world = World::start(place).await;
    let phone = world.device("anna", "phone");
    let nothing = json!({"accepted": true, "highest_server_seq": 0, "statuses": []});
    for body in ["{}", "null", r#"{"changes":[]}"#, r#"{"changes":null}"#] {
        let answer: Value = phone
            .upload_text(body.to_owned())
            .await
            .json()
            .await
            .unwrap();
        assert_eq!(answer, nothing, "{body}");
    }
    let answer = phone.upload(&[new(1, &pk(1), "A")]).await;
    let place_of_row = &phone.all().await[0]["server_id"];
    assert_eq!(&answer["highest_server_seq"], place_of_row);
    let same = json!({"accepted": true, "highest_server_seq": place_of_row, "statuses": []});
    assert_eq!(world.device("anna", "tablet").upload(&[]).await, same);
    assert_eq!(world.device("ben", "phone").upload(&[]).await, nothing);
}

// Case 10.
async fn a_new_row_has_version_1(place: Place) {
    let world = World::start(place).await;
    let phone = world.device("anna", "phone");
    assert_eq!(phone.status(new(1, &pk(1), "A")).await, applied(1, 1));
    let by_update = update(2, &pk(2), 0, named(&pk(2), "B"));
    assert_eq!(phone.status(by_update).await, applied(2, 1));
}

// Case 11.
async fn a_write_with_the_version_of_the_row_raises_it_and_others_get_the_whole_row(place: Place) {
    let world = World::start(place).await;
    let [phone, tablet] = devices(&world, 1).await;
    let payload = json!({"id": pk(1), "name": "B", "more": [1, null, {"a": "<&>"}]});
    let change = update(1, &pk(1), 1, payload.clone());
    assert_eq!(phone.status(change).await, applied(1, 2));
    let change = insert(2, &pk(1), 2, payload.clone());
    assert_eq!(phone.status(change).await, applied(2, 3));
    let rows = tablet.others().await;
    let only = row(&rows, &pk(1));
    let expected = json!({"server_id": only["server_id"], "schema": SCHEMA, "table": USERS,
        "op": "INSERT", "pk": pk(1), "payload": payload, "server_version": 3, "deleted": false,
        "source_id": "phone", "source_change_id": 2, "ts": only["ts"]});
    assert_eq!(only, &expected);
    let time = only["ts"].as_str().unwrap();
    assert!(
        time.starts_with("2026-01-01T00:") && time.ends_with('Z'),
        "{time}"
    );
}

// Case 12.
async fn a_write_with_another_version_is_a_conflict_and_is_told_the_row(place: Place) {
    let world = World::start(place).await;
    let [phone, tablet] = devices(&world, 3).await;
    let told = |id| conflict(id, &pk(1), 3, Some(named(&pk(1), "v3")));
    for (id, version) in [(1, 2), (2, 4), (3, 0), (4, -1)] {
        let change = update(id, &pk(1), version, named(&pk(1), "refused"));
        assert_eq!(tablet.status(change).await, told(id), "{version}");
    }
    let change = insert(5, &pk(1), 0, named(&pk(1), "refused"));
    assert_eq!(phone.status(change).await, told(5));
    let rows = tablet.others().await;
    assert_eq!(row(&rows, &pk(1))["payload"], named(&pk(1), "v3"));
}

// Case 13.
async fn a_version_of_a_row_that_is_not_there_is_invalid(place: Place) {
    let world = World::start(place).await;
    let phone = world.device("anna", "phone");
    for (id, version) in [(1, 5), (2, -1)] {
        let change = update(id, &pk(1), version, named(&pk(1), "A"));
        assert_invalid(&phone.status(change).await, "internal_error");
    }
    assert_eq!(phone.all().await, [] as [Value; 0]);
    assert_eq!(phone.highest().await, 0);
}

// Case 14.
async fn a_delete_with_the_version_of_the_row_leaves_a_tombstone(place: Place) {
    let world = World::start(place).await;
    let [phone, tablet] = devices(&world, 2).await;
    assert_eq!(phone.status(delete(1, &pk(1), 2)).await, applied(1, 3));
    let rows = tablet.others().await;
    let only = row(&rows, &pk(1));
    assert_eq!(only["op"], "DELETE");
    assert_eq!(only["deleted"], true);
    assert_eq!(only["server_version"], 3);
    assert_eq!(only.get("payload"), None);
}

// Case 15.
async fn a_delete_with_another_version_is_a_conflict(place: Place) {
    let world = World::start(place).await;
    let [phone, tablet] = devices(&world, 2).await;
    for (id, version) in [(1, 1), (2, 3), (3, 0)] {
        let told = conflict(id, &pk(1), 2, Some(named(&pk(1), "v2")));
        assert_eq!(phone.status(delete(id, &pk(1), version)).await, told);
    }
    assert_eq!(row(&tablet.others().await, &pk(1))["deleted"], false);
}

// Case 16.
async fn a_delete_of_nothing_is_applied_and_nobody_hears_of_it(place: Place) {
    let world = World::start(place).await;
    let phone = world.device("anna", "phone");
    for (id, version) in [(1, 0), (2, 7)] {
        let status = phone.status(delete(id, &pk(1), version)).await;
        assert_eq!(status, did_nothing(id));
    }
    assert_eq!(phone.all().await, [] as [Value; 0]);
    assert_eq!(phone.highest().await, 0);
}

// Case 17.
async fn a_deleted_row_is_in_the_way_of_a_new_one(place: Place) {
    let world = World::start(place).await;
    let [phone, tablet] = devices(&world, 1).await;
    assert_eq!(phone.applies(delete(1, &pk(1), 1)).await, 2);
    let status = tablet.status(new(1, &pk(1), "again")).await;
    assert_eq!(status, conflict(1, &pk(1), 2, None));
    assert_eq!(row(&tablet.others().await, &pk(1))["deleted"], true);
}

// Case 18.
async fn a_deleted_row_comes_back_by_its_version(place: Place) {
    let world = World::start(place).await;
    let [phone, tablet] = devices(&world, 1).await;
    assert_eq!(phone.applies(delete(1, &pk(1), 1)).await, 2);
    let again = insert(2, &pk(1), 2, named(&pk(1), "again"));
    assert_eq!(phone.status(again).await, applied(2, 3));
    let rows = tablet.others().await;
    let only = row(&rows, &pk(1));
    assert_eq!(only["deleted"], false);
    assert_eq!(only["server_version"], 3);
    assert_eq!(only["payload"], named(&pk(1), "again"));
}

// Case 19.
async fn keys_that_a_row_no_longer_has_are_gone(place: Place) {
    let world = World::start(place).await;
    let [phone, tablet] = ["phone", "tablet"].map(|name| world.device("anna", name));
    let whole = json!({"id": pk(1), "name": "A", "email": "a@b", "note": null});
    phone.applies(insert(1, &pk(1), 0, whole)).await;
    let fewer = json!({"id": pk(1), "name": "A"});
    phone.applies(update(2, &pk(1), 1, fewer.clone())).await;
    assert_eq!(row(&tablet.others().await, &pk(1))["payload"], fewer);
    let none = json!({});
    phone.applies(update(3, &pk(1), 2, none.clone())).await;
    assert_eq!(row(&tablet.others().await, &pk(1))["payload"], none);
    let back = json!({"email": "c@d"});
    phone.applies(update(4, &pk(1), 3, back.clone())).await;
    assert_eq!(row(&tablet.others().await, &pk(1))["payload"], back);
}

// Case 20.
async fn keys_of_a_payload_may_be_called_as_those_of_the_protocol(place: Place) {
    let world = World::start(place).await;
    let [phone, tablet] = ["phone", "tablet"].map(|name| world.device("anna", name));
    let payload = json!({"server_version": 99, "deleted": true, "pk": "x", "op": "DELETE"});
    let change = insert(1, &pk(1), 0, payload.clone());
    assert_eq!(phone.status(change).await, applied(1, 1));
    let rows = tablet.others().await;
    let only = row(&rows, &pk(1));
    assert_eq!(only["payload"], payload);
    assert_eq!(
        (&only["server_version"], &only["deleted"]),
        (&json!(1), &json!(false))
    );
}

// Case 21. Texts are compared, since numbers of so many digits are none for this reader.
async fn values_come_back_as_they_were_sent(place: Place) {
    let world = World::start(place).await;
    let [phone, tablet] = ["phone", "tablet"].map(|name| world.device("anna", name));
    let members = [
        r#""zeta":12345678901234567890123"#,
        r#""alpha":-0.10000000000000000000001"#,
        r#""inner":{"z":1,"a":[98765432109876543210987]}"#,
        r#""text":"\u00e4\n\"""#,
    ];
    let pk = pk(1);
    let body = format!(
        r#"{{"changes":[{{"source_change_id":1,"schema":"business","table":"users","op":"INSERT","pk":"{pk}","payload":{{{}}}}}]}}"#,
        members.join(",")
    );
    assert_eq!(phone.upload_text(body).await.status(), 200);
    let text = tablet.get("/sync/download").send().await.unwrap();
    let text = text.text().await.unwrap();
    for member in &members[..3] {
        assert!(text.contains(member), "{member} in {text}");
    }
    let page: Value = serde_json::from_str(&text).unwrap();
    let payload = page["changes"][0]["payload"].as_object().unwrap();
    assert_eq!(payload.len(), members.len());
    assert_eq!(payload["text"], "ä\n\"");
    // A conflict tells the same.
    let change = format!(
        r#"{{"changes":[{{"source_change_id":2,"schema":"business","table":"users","op":"UPDATE","pk":"{pk}","server_version":7,"payload":{{}}}}]}}"#,
    );
    let told = phone.upload_text(change).await.text().await.unwrap();
    for member in &members[..3] {
        assert!(told.contains(member), "{member} in {told}");
    }
}
