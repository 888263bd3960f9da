//! The rows dialect: versions, replays, what one change has to do with another, and both dialects on one record.

use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::alike::Dice;
use sync_protocol::AppId;

use super::device::{Device, START, user_id};
use super::replica::Replica;
use super::row_device::RowDevice;
use crate::{OwnRows, Store};

const ONE: &str = "00000000-0000-4000-8000-000000000001";
const TWO: &str = "00000000-0000-4000-8000-000000000002";
const THREE: &str = "00000000-0000-4000-8000-000000000003";

fn upsert(id: i64, pk: &str, version: i64, payload: Json) -> Json {
    json!({"source_change_id": id, "table": "tasks", "op": "UPDATE", "pk": pk,
        "server_version": version, "payload": payload})
}

fn delete(id: i64, pk: &str, version: i64) -> Json {
    json!({"source_change_id": id, "table": "tasks", "op": "DELETE", "pk": pk,
        "server_version": version})
}

fn applied(id: i64, version: i64) -> Json {
    json!({"source_change_id": id, "status": "applied", "new_server_version": version})
}

fn conflict(id: i64, pk: &str, version: i64, payload: Json) -> Json {
    json!({"source_change_id": id, "status": "conflict", "server_row": {
        "schema_name": "todo", "table_name": "tasks", "id": pk, "server_version": version,
        "deleted": payload.is_null(), "payload": payload}})
}

/// Every line of the table of outcomes by version (`rows.md`, 3.5).
pub async fn a_change_stands_if_its_device_knew_the_version(store: Arc<dyn Store>) {
    let mut phone = RowDevice::new(&store, "anna", "phone");
    let row = |n: i64| json!({"id": ONE, "n": n});
    // None.
    let unknown = &phone.statuses(json!([upsert(1, ONE, 5, row(0))])).await[0];
    assert_eq!(unknown["invalid"]["reason"], "internal_error", "{unknown}");
    let nothing = json!({"source_change_id": 2, "status": "applied"});
    assert_eq!(phone.statuses(json!([delete(2, ONE, 7)])).await, [nothing]);
    assert_eq!(
        phone.statuses(json!([upsert(3, ONE, 0, row(1))])).await,
        [applied(3, 1)]
    );
    // Live, at 1.
    for wrong in [0, 2, -1] {
        let expected = conflict(4, ONE, 1, row(1));
        assert_eq!(
            phone.statuses(json!([upsert(4, ONE, wrong, row(2))])).await,
            [expected]
        );
    }
    assert_eq!(
        phone.statuses(json!([delete(5, ONE, 3)])).await,
        [conflict(5, ONE, 1, row(1))]
    );
    assert_eq!(
        phone.statuses(json!([upsert(6, ONE, 1, row(2))])).await,
        [applied(6, 2)]
    );
    assert_eq!(
        phone.statuses(json!([delete(7, ONE, 2)])).await,
        [applied(7, 3)]
    );
    // Deleted, at 3.
    for wrong in [0, 2] {
        let expected = conflict(8, ONE, 3, Json::Null);
        assert_eq!(
            phone.statuses(json!([upsert(8, ONE, wrong, row(3))])).await,
            [expected]
        );
    }
    assert_eq!(
        phone.statuses(json!([delete(9, ONE, 2)])).await,
        [conflict(9, ONE, 3, Json::Null)]
    );
    assert_eq!(
        phone.statuses(json!([delete(10, ONE, 3)])).await,
        [applied(10, 4)]
    );
    assert_eq!(
        phone.statuses(json!([upsert(11, ONE, 4, row(4))])).await,
        [applied(11, 5)]
    );
    let mut tablet = RowDevice::new(&store, "anna", "tablet");
    tablet.catch_up(10, OwnRows::LeftOut).await;
    assert_eq!(tablet.rows[ONE], (5, Some(row(4))));
    let own = phone.catch_up(10, OwnRows::LeftOut).await;
    assert_eq!(own, Vec::<Json>::new(), "own rows are left out");
}

/// A version that nothing but its number tells apart is still told.
pub async fn a_row_in_which_nothing_differs_has_a_new_version(store: Arc<dyn Store>) {
    let mut phone = RowDevice::new(&store, "anna", "phone");
    let mut tablet = RowDevice::new(&store, "anna", "tablet");
    let row = json!({"n": 1});
    phone.upload(json!([upsert(1, ONE, 0, row.clone())])).await;
    tablet.catch_up(10, OwnRows::LeftOut).await;
    for version in 1..4 {
        phone.now.0 += 1000;
        let again = upsert(1 + version, ONE, version, row.clone());
        assert_eq!(
            phone.statuses(json!([again])).await,
            [applied(1 + version, version + 1)]
        );
        let read = tablet.catch_up(10, OwnRows::LeftOut).await;
        assert_eq!(read.len(), 1, "{read:?}");
        assert_eq!(tablet.rows[ONE], (version + 1, Some(row.clone())));
    }
}

/// What was applied is applied once, however often it is sent; another change of the same number is another change.
pub async fn an_upload_sent_again_is_known_by_what_it_says(store: Arc<dyn Store>) {
    let mut phone = RowDevice::new(&store, "anna", "phone");
    let first = upsert(1, ONE, 0, json!({"n": 1, "m": 2}));
    let uploaded = phone.upload(json!([first])).await;
    let mark = uploaded.answer.highest_server_seq;
    let again = upsert(1, ONE, 0, json!({"m": 2, "n": 1}));
    let replayed = phone.upload(json!([again])).await;
    assert_eq!(json!(replayed.answer.statuses), json!([applied(1, 1)]));
    assert_eq!(
        (replayed.answer.highest_server_seq, replayed.touched),
        (mark, vec![])
    );
    // The row was edited again before the answer came: the number is kept, the content is not.
    let edited = upsert(1, ONE, 1, json!({"n": 2, "m": 2}));
    assert_eq!(phone.statuses(json!([edited])).await, [applied(1, 2)]);
    assert_eq!(phone.statuses(json!([edited])).await, [applied(1, 2)]);
    let mut tablet = RowDevice::new(&store, "anna", "tablet");
    assert_eq!(
        tablet.statuses(json!([upsert(1, TWO, 0, json!({}))])).await,
        [applied(1, 1)]
    );
    // Twice in one upload: one takes effect.
    let twice = json!([
        upsert(2, THREE, 0, json!({"n": 1})),
        upsert(2, TWO, 1, json!({"n": 2}))
    ]);
    let statuses = phone.statuses(twice).await;
    assert_eq!(statuses[0], applied(2, 1));
    assert_eq!(
        statuses[1]["invalid"]["reason"], "internal_error",
        "{}",
        statuses[1]
    );
    let alike = json!([
        upsert(3, TWO, 1, json!({"n": 3})),
        upsert(3, TWO, 1, json!({"n": 3}))
    ]);
    let statuses = phone.statuses(alike).await;
    assert_eq!(
        statuses,
        [
            applied(3, 2),
            json!({"source_change_id": 3, "status": "applied"})
        ]
    );
}

/// A conflict beside good changes leaves nothing behind, and is judged anew under the same number.
pub async fn a_refused_change_leaves_nothing(store: Arc<dyn Store>) {
    let mut phone = RowDevice::new(&store, "anna", "phone");
    let mut tablet = RowDevice::new(&store, "anna", "tablet");
    phone
        .upload(json!([upsert(1, ONE, 0, json!({"n": 1}))]))
        .await;
    let mixed = json!([
        upsert(2, ONE, 9, json!({"n": "refused"})),
        upsert(3, TWO, 0, json!({"n": 2})),
        delete(4, ONE, 9),
        delete(5, THREE, 0),
    ]);
    let statuses = phone.statuses(mixed).await;
    let nothing = json!({"source_change_id": 5, "status": "applied"});
    let row = json!({"n": 1});
    let expected = [
        conflict(2, ONE, 1, row.clone()),
        applied(3, 1),
        conflict(4, ONE, 1, row),
        nothing,
    ];
    assert_eq!(statuses, expected);
    let read = tablet.catch_up(10, OwnRows::LeftOut).await;
    assert_eq!(read.len(), 2, "{read:?}");
    assert_eq!(tablet.rows[ONE], (1, Some(json!({"n": 1}))));
    assert_eq!(
        phone
            .statuses(json!([upsert(2, ONE, 1, json!({"n": 7}))]))
            .await,
        [applied(2, 2)]
    );
    tablet.catch_up(10, OwnRows::LeftOut).await;
    assert_eq!(tablet.rows[ONE], (2, Some(json!({"n": 7}))));
}

/// Several changes of a row in one upload count one by one.
pub async fn changes_of_one_row_in_one_upload_stand_one_after_the_other(store: Arc<dyn Store>) {
    let mut phone = RowDevice::new(&store, "anna", "phone");
    let mut tablet = RowDevice::new(&store, "anna", "tablet");
    let changes = json!([
        upsert(1, ONE, 0, json!({"n": 1, "m": 1})),
        upsert(2, ONE, 1, json!({"n": 2})),
        upsert(3, ONE, 2, json!({"n": 3})),
        upsert(4, TWO, 0, json!({"n": 1})),
        delete(5, TWO, 1),
        upsert(6, TWO, 2, json!({"n": 2})),
        delete(7, TWO, 3),
    ]);
    let statuses = phone.statuses(changes).await;
    let versions: Vec<_> = statuses
        .iter()
        .map(|one| one["new_server_version"].as_i64())
        .collect();
    assert_eq!(versions, [1, 2, 3, 1, 2, 3, 4].map(Some));
    tablet.catch_up(10, OwnRows::LeftOut).await;
    assert_eq!(tablet.rows[ONE], (3, Some(json!({"n": 3}))));
    assert_eq!(tablet.rows[TWO], (4, None));
    let mut web = Device::new(&store, "anna", "web");
    let page = web.page("", 100).await;
    let live: Vec<_> = page
        .server_changes
        .iter()
        .map(|change| change.id.as_str())
        .collect();
    assert!(
        live.len() < 7,
        "rows that were replaced at once are dead: {live:?}"
    );
}

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

/// Pages are cut by their limit, frozen by `until`, and pass what is left out.
pub async fn a_download_is_read_page_by_page(store: Arc<dyn Store>) {
    let mut phone = RowDevice::new(&store, "anna", "phone");
    let pk = |n: i64| format!("00000000-0000-4000-8000-{n:012}");
    for n in 1..=25 {
        phone.now.0 += 1;
        phone
            .upload(json!([upsert(n, &pk(n), 0, json!({"n": n}))]))
            .await;
    }
    let tablet = RowDevice::new(&store, "anna", "tablet");
    let (mut after, mut until, mut read) = (0, 0, Vec::new());
    for page in 0..3 {
        let answer = tablet.page(after, until, 10, OwnRows::LeftOut).await;
        until = answer["window_until"].as_i64().expect("a position");
        after = answer["next_after"].as_i64().expect("a position");
        assert_eq!(answer["has_more"], page < 2);
        let rows = answer["changes"].as_array().expect("rows").clone();
        read.extend(
            rows.iter()
                .map(|row| row["server_id"].as_i64().expect("a position")),
        );
        for n in 0..2 {
            phone.now.0 += 1;
            let id = 100 + page * 2 + n;
            phone
                .upload(json!([upsert(id, &pk(id), 0, json!({}))]))
                .await;
        }
    }
    assert!(read.len() == 25 && read.is_sorted(), "{read:?}");
    assert_eq!(after, until);
    let rest = tablet.page(after, 0, 10, OwnRows::LeftOut).await;
    assert_eq!(rest["changes"].as_array().map(Vec::len), Some(6));
    let beyond = tablet.page(i64::MAX, 0, 10, OwnRows::LeftOut).await;
    assert_eq!(
        (&beyond["changes"], &beyond["next_after"]),
        (&json!([]), &json!(i64::MAX))
    );
    // Own rows only: nothing, and the position moves.
    let own = phone.page(0, 0, 10, OwnRows::LeftOut).await;
    assert_eq!(
        (&own["changes"], &own["has_more"]),
        (&json!([]), &json!(false))
    );
    assert_eq!(own["next_after"], own["window_until"]);
    let all = phone.page(0, 0, 1000, OwnRows::Included).await;
    assert_eq!(all["changes"].as_array().map(Vec::len), Some(31));
}

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

/// What its device would drop without a word is kept aside for its user.
pub async fn what_can_never_be_a_row_is_answered_alone_and_kept(store: Arc<dyn Store>) {
    let mut phone = RowDevice::new(&store, "anna", "phone").with_tables(&["tasks"], &[]);
    let mut unknown = upsert(2, TWO, 0, json!({}));
    unknown["table"] = json!("zzz");
    let changes = json!([
        upsert(1, ONE, 0, json!({"n": 1})),
        unknown,
        upsert(3, "x", 0, json!({}))
    ]);
    let answer = phone.upload(changes).await.answer;
    assert!(!answer.accepted);
    let statuses = json!(answer.statuses);
    assert_eq!(statuses[0], applied(1, 1));
    assert_eq!(statuses[1]["message"], "table not registered todo.zzz");
    assert_eq!(
        statuses[2]["message"],
        "bad_payload: invalid UUID format: x"
    );
    let parked = store
        .parked(user_id("anna"), AppId::new("todo").expect("an identifier"))
        .await;
    let parked = parked.expect("the store answers").into_iter();
    let reasons: Vec<_> = parked.map(|parked| parked.reason).collect();
    assert_eq!(
        reasons,
        [
            "table not registered todo.zzz",
            "bad_payload: invalid UUID format: x"
        ]
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
