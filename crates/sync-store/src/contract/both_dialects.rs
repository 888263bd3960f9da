//! Both dialects on one record: each sees the other's work, and in the end all hold the same.

use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::alike::Dice;
use super::device::{Device, START};
use super::replica::Replica;
use super::row_device::RowDevice;
use super::rows::{ONE, THREE, TWO, applied, delete, upsert};
use crate::{OwnRows, Store};

/// A field of one dialect, a whole row of the other: each sees the other's work, and versions rise by one.
pub async fn both_dialects_work_on_one_record(store: Arc<dyn Store>) {
    let mut phone = RowDevice::new(&store, "anna", "phone");
    let mut web = Device::new(&store, "anna", "web");
    phone
        .upload(json!([upsert(
            1,
            ONE,
            0,
            json!({"id": ONE, "title": "a", "done": false})
        )]))
        .await;
    web.page("", 100).await;
    web.wait(60_000);
    let at = web.now.to_string();
    let edit = json!([{"table": "tasks", "id": ONE, "op": "update",
        "fields": {"done": {"value": true, "at": at}, "note": {"value": "n", "at": at}}}]);
    web.push(edit).await;
    phone.catch_up(10, OwnRows::LeftOut).await;
    let whole = json!({"id": ONE, "title": "a", "done": true, "note": "n"});
    assert_eq!(phone.rows[ONE], (2, Some(whole)));
    // Its table has no column for the note, and it drops the title.
    phone.now = web.now;
    let status = phone
        .statuses(json!([upsert(2, ONE, 2, json!({"id": ONE, "done": true}))]))
        .await;
    assert_eq!(status, [applied(2, 3)]);
    let mut tablet = RowDevice::new(&store, "anna", "tablet");
    tablet.catch_up(10, OwnRows::LeftOut).await;
    assert_eq!(
        tablet.rows[ONE],
        (3, Some(json!({"id": ONE, "done": true, "note": "n"})))
    );
    let page = web.page("", 100).await;
    let fields = page.server_changes[0].fields.as_ref().expect("an update");
    let names: Vec<_> = fields
        .0
        .iter()
        .map(|(name, out)| (name.as_str(), out.value.as_str()))
        .collect();
    assert_eq!(names, [("title", "null")], "only what differs is written");
    // What was applied wins over a write of the other dialect of the same time or before.
    let late = json!([{"table": "tasks", "id": ONE, "op": "update",
        "fields": {"title": {"value": "late", "at": web.now.to_string()}}}]);
    web.push(late).await;
    tablet.catch_up(10, OwnRows::LeftOut).await;
    assert_eq!(tablet.rows[ONE].0, 3, "a write that loses makes no version");
    // A delete of either.
    web.wait(1000);
    let gone =
        json!([{"table": "tasks", "id": ONE, "op": "delete", "deletedAt": web.now.to_string()}]);
    web.push(gone).await;
    tablet.catch_up(10, OwnRows::LeftOut).await;
    assert_eq!(tablet.rows[ONE], (4, None));
}

/// Of a record whose insert has not come nobody knows whether it is whole; one with another key is none to rows clients.
pub async fn a_rows_client_never_gets_half_a_row(store: Arc<dyn Store>) {
    let mut web = Device::new(&store, "anna", "web");
    let field = |name: &str, at: &str| json!({name: {"value": name, "at": at}});
    let half = json!([
        {"table": "tasks", "id": ONE, "op": "update", "fields": field("title", "2025-02-01T10:00:00.000Z")},
        {"table": "tasks", "id": "not-a-uuid", "op": "insert", "data": {"title": "x"}},
    ]);
    web.push(half).await;
    let mut phone = RowDevice::new(&store, "anna", "phone");
    assert_eq!(
        phone.catch_up(1, OwnRows::LeftOut).await,
        Vec::<Json>::new()
    );
    web.push(json!([{"table": "tasks", "id": ONE, "op": "insert", "data": {"note": "b"}}]))
        .await;
    phone.catch_up(1, OwnRows::LeftOut).await;
    let whole = json!({"id": ONE, "note": "b", "title": "title"});
    assert_eq!(phone.rows[ONE], (2, Some(whole)));
    // Uploaded on half a row: its device is told the rest.
    let half = json!([{"table": "tasks", "id": TWO, "op": "update", "fields": field("title", "2025-02-01T10:00:00.000Z")}]);
    web.push(half).await;
    assert_eq!(
        phone
            .statuses(json!([upsert(1, TWO, 0, json!({"n": 1}))]))
            .await,
        [applied(1, 2)]
    );
    phone.catch_up(10, OwnRows::LeftOut).await;
    assert_eq!(
        phone.rows[TWO],
        (2, Some(json!({"n": 1, "title": "title"})))
    );
}

/// A whole row in which nothing differs takes nothing from anybody.
pub async fn an_insert_in_which_nothing_differs_goes_out_as_an_update(store: Arc<dyn Store>) {
    let mut phone = RowDevice::new(&store, "anna", "phone");
    let insert = |id: i64, version: i64| {
        let mut change = upsert(id, ONE, version, json!({"title": "a"}));
        change["op"] = json!("INSERT");
        change
    };
    phone.upload(json!([insert(1, 0)])).await;
    let mut web = Device::new(&store, "anna", "web");
    web.page("", 100).await;
    phone.upload(json!([insert(2, 1)])).await;
    let page = web.page("", 100).await;
    let change = json!(page.server_changes[0]);
    assert_eq!(
        (&change["op"], &change["fields"], &change["data"]),
        (&json!("update"), &json!({}), &Json::Null)
    );
}

/// Its own rows are left out of what a device reads, unless the row as it stands holds more than it has sent.
pub async fn a_device_is_told_of_what_it_has_not_sent(store: Arc<dyn Store>) {
    let mut phone = RowDevice::new(&store, "anna", "phone");
    let mut web = Device::new(&store, "anna", "web");
    let note = |value: &str, at: &str| json!({"note": {"value": value, "at": at}});
    // Twice on a part of a row, before it reads.
    let half = json!([{"table": "tasks", "id": ONE, "op": "update", "fields": note("a", "2025-02-01T10:00:00.000Z")}]);
    web.push(half).await;
    phone
        .upload(json!([upsert(1, ONE, 0, json!({"title": "a"}))]))
        .await;
    let status = phone
        .statuses(json!([upsert(2, ONE, 2, json!({"title": "b"}))]))
        .await;
    assert_eq!(status, [applied(2, 3)]);
    phone.catch_up(10, OwnRows::LeftOut).await;
    assert_eq!(
        phone.rows[ONE],
        (3, Some(json!({"note": "a", "title": "b"})))
    );
    // On a row that came to hold more, and was deleted.
    phone
        .upload(json!([upsert(3, TWO, 0, json!({"title": "a"}))]))
        .await;
    web.wait(60_000);
    let at = web.now.to_string();
    let more = json!([
        {"table": "tasks", "id": TWO, "op": "update", "fields": note("n", &at)},
        {"table": "tasks", "id": TWO, "op": "delete", "deletedAt": at},
    ]);
    web.push(more).await;
    phone.now = web.now;
    let status = phone
        .statuses(json!([upsert(4, TWO, 3, json!({"title": "again"}))]))
        .await;
    assert_eq!(status, [applied(4, 4)]);
    phone.catch_up(10, OwnRows::LeftOut).await;
    assert_eq!(
        phone.rows[TWO],
        (4, Some(json!({"note": "n", "title": "again"})))
    );
    // All of it sent: nothing new.
    let whole = json!({"note": "n", "title": "all"});
    phone.upload(json!([upsert(5, TWO, 4, whole)])).await;
    assert_eq!(
        phone.catch_up(10, OwnRows::LeftOut).await,
        Vec::<Json>::new()
    );
}

/// Uploads and pushes at random, on a few records: in the end every device of either dialect holds the same.
pub async fn devices_of_both_dialects_end_alike(store: Arc<dyn Store>) {
    for seed in 0..10 {
        end_alike(&store, seed).await;
    }
}

async fn end_alike(store: &Arc<dyn Store>, seed: u64) {
    let user = format!("anna{seed}");
    let mut dice = Dice::new(seed + 77);
    let mut phones = ["phone", "tablet"].map(|device| RowDevice::new(store, &user, device));
    let mut webs = ["web", "tab"].map(|client| Replica::new(store, &user, client));
    let mut now = START;
    for id in 1..=60 {
        now.0 += i64::try_from(dice.throw(3)).unwrap_or(0) * 500;
        let pk = dice.pick(&[ONE, TWO, THREE]);
        if dice.throw(2) == 0 {
            let phone = &mut phones[dice.throw(2)];
            phone.now = now;
            if dice.throw(3) > 0 {
                phone.catch_up(1 + dice.throw(3), OwnRows::LeftOut).await;
            }
            let version = phone.rows.get(pk).map_or(0, |(version, _)| *version);
            let mut payload = json!({"id": pk});
            for name in ["a", "b", "c"] {
                if dice.throw(3) > 0 {
                    payload[name] = json!(dice.throw(3));
                }
            }
            let change = match dice.throw(5) {
                0 => delete(id, pk, version),
                _ => upsert(id, pk, version, payload.clone()),
            };
            let status = phone.statuses(json!([change])).await.remove(0);
            let kept = match status["status"].as_str() {
                Some("applied") => status["new_server_version"].as_i64().map(|version| {
                    let is_delete = change["op"] == "DELETE";
                    (version, (!is_delete).then(|| payload.clone()))
                }),
                Some("conflict") => {
                    let row = &status["server_row"];
                    let version = row["server_version"].as_i64().expect("a version");
                    Some((
                        version,
                        Some(row["payload"].clone()).filter(|row| !row.is_null()),
                    ))
                }
                _ => None,
            };
            phone.rows.extend(kept.map(|kept| (pk.to_owned(), kept)));
        } else {
            let web = &mut webs[dice.throw(2)];
            web.device.now = now;
            let at = sync_protocol::Millis(now.0 - i64::try_from(dice.throw(3)).unwrap_or(0) * 400);
            let name = dice.pick(&["a", "b", "c", "d"]);
            let change = match dice.throw(6) {
                0 => {
                    json!({"table": "tasks", "id": pk, "op": "delete", "deletedAt": at.to_string()})
                }
                1 | 2 => json!({"table": "tasks", "id": pk, "op": "insert",
                    "data": {"id": pk, name: dice.throw(3), "updatedAt": at.to_string()}}),
                _ => json!({"table": "tasks", "id": pk, "op": "update",
                    "fields": {name: {"value": dice.throw(3), "at": at.to_string()}}}),
            };
            web.push(json!([change])).await;
        }
    }
    // Who has read everything from the beginning is right; who went along must hold the same.
    let mut fresh = RowDevice::new(store, &user, "fresh");
    fresh.catch_up(2, OwnRows::LeftOut).await;
    for phone in &mut phones {
        phone.after = 0;
        phone.catch_up(2, OwnRows::Included).await;
        assert_eq!(phone.rows, fresh.rows, "seed {seed}");
    }
    let expected: Json = fresh
        .rows
        .iter()
        .filter_map(|(pk, (_, row))| Some((pk.clone(), values(row.as_ref()?))))
        .collect();
    let [web, tab] = webs;
    for mut replica in [web, tab, Replica::new(store, &user, "late")] {
        let held = replica.pull().await.live();
        let held = held.as_object().expect("records").iter();
        // Of half a record rows clients know nothing.
        let held = held.filter(|(pk, _)| fresh.rows.contains_key(*pk));
        let held: Json = held
            .map(|(pk, record)| (pk.clone(), values(record)))
            .collect();
        assert_eq!(held, expected, "seed {seed}, {:?}", replica.device);
    }
}

/// The values of a record that both dialects have: what is absent in one is null in the other.
fn values(record: &Json) -> Json {
    let members = record.as_object().expect("a record").iter();
    let own = members.filter(|(name, value)| *name != "id" && !value.is_null());
    own.map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}
