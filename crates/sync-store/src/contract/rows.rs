//! The rows dialect: versions, replays, and what one change has to do with another.

use std::sync::Arc;

use serde_json::{Value as Json, json};

use sync_protocol::AppId;

use super::device::{Device, user_id};
use super::row_device::RowDevice;
use crate::{OwnRows, Store};

pub(super) const ONE: &str = "00000000-0000-4000-8000-000000000001";
pub(super) const TWO: &str = "00000000-0000-4000-8000-000000000002";
pub(super) const THREE: &str = "00000000-0000-4000-8000-000000000003";

pub(super) fn upsert(id: i64, pk: &str, version: i64, payload: Json) -> Json {
    json!({"source_change_id": id, "table": "tasks", "op": "UPDATE", "pk": pk,
        "server_version": version, "payload": payload})
}

pub(super) fn delete(id: i64, pk: &str, version: i64) -> Json {
    json!({"source_change_id": id, "table": "tasks", "op": "DELETE", "pk": pk,
        "server_version": version})
}

pub(super) fn applied(id: i64, version: i64) -> Json {
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

/// Conflicts show rows as far as one answer has room; what is behind is to be sent again.
pub async fn an_answer_shows_conflicts_as_far_as_it_has_room(store: Arc<dyn Store>) {
    let mut phone = RowDevice::new(&store, "anna", "phone");
    let large = "x".repeat(3 * 1024 * 1024);
    phone
        .upload(json!([upsert(1, ONE, 0, json!({"text": large}))]))
        .await;
    let stale: Json = (2..12).map(|id| delete(id, ONE, 7)).collect();
    let statuses = phone.statuses(stale).await;
    let words: Vec<_> = statuses
        .iter()
        .map(|one| one["status"].as_str().expect("a word"))
        .collect();
    let (shown, behind) = words.split_at(6);
    assert_eq!((shown, behind), (&["conflict"; 6][..], &["invalid"; 4][..]));
    assert_eq!(statuses[9]["invalid"]["reason"], "internal_error");
}
