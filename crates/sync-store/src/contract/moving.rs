//! A personal record that is written with a space moves there whole (Scopes, spaces and grants).

use std::sync::Arc;

use serde_json::{Map, Value as Json, json};
use sync_protocol::WarningCode;

use super::device::{Device, NO_TIME, TIMES, by, ids, insert, list, of, told, update};
use super::replica::{Replica, all_hold};
use crate::{MAX_PAGE, Role, Store};

/// Anna and Ben in the club, and the phone of each.
async fn club(store: &Arc<dyn Store>) -> (Replica, Replica) {
    let replicas = ["anna", "ben"].map(|user| Replica::new(store, user, "phone"));
    for replica in &replicas {
        replica.device.grant("club", Some(Role::Writer)).await;
    }
    replicas.into()
}

/// A change of the space, by some field.
fn shares(id: &str) -> Json {
    of("club", update(id, "shared", true, TIMES[4]))
}

/// All fields of it, whoever of its author's clients wrote them, are read in the space with their times; nothing is
/// personal any more; and no device of its author loses a field: not one with an old cursor, nor the one that pushed.
pub async fn a_personal_record_written_with_a_space_moves_whole(store: Arc<dyn Store>) {
    let (mut phone, ben) = club(&store).await;
    let mut tab = Replica::new(&store, "anna", "tab");
    let asleep = Replica::new(&store, "anna", "asleep");
    let mut nameless = Replica::new(&store, "anna", "");
    let mut record = insert("r", "tabs");
    record["data"]["updatedAt"] = json!(TIMES[0]);
    tab.push(json!([record, update("r", "done", false, TIMES[1])]))
        .await;
    let mut half = Replica::new(&store, "anna", "half");
    half.pull().await;
    nameless
        .push(json!([update("r", "note", "none", TIMES[2])]))
        .await;
    // The phone has read nothing of it.
    let before = phone.device.clone();
    let pushed = phone
        .push(json!([shares("r"), update("r", "done", true, TIMES[3])]))
        .await;
    assert!(pushed.answer.has_more, "the rows that moved are to be read");
    let expected = json!({"r": {"title": "tabs", "updatedAt": TIMES[0], "done": true, "note": "none", "shared": true}});
    let mut replicas = [phone.clone(), ben, tab, asleep, half, nameless];
    all_hold(&store, &mut replicas, &["anna", "ben"], expected).await;
    for replica in &replicas {
        for (name, at) in [
            ("title", 0),
            ("updatedAt", 0),
            ("done", 3),
            ("note", 2),
            ("shared", 4),
        ] {
            assert_eq!(replica.time("r", name), Some(TIMES[at]), "{name}");
        }
    }
    let mut lost = before;
    lost.grant("club", None).await;
    lost.since = String::new();
    assert_eq!(lost.pull().await, json!([]), "nothing of it is personal");
}

/// Into a record that the space has already it moves field by field: the later write stands, and everybody holds it.
pub async fn a_record_moves_into_that_of_the_space_field_by_field(store: Arc<dyn Store>) {
    let (mut anna, mut ben) = club(&store).await;
    let mut asleep = Replica::new(&store, "anna", "asleep");
    let write = |value: &str, title: usize, note: usize| {
        let mut write = update("r", "title", value, TIMES[title]);
        write["fields"]["note"] = json!({"value": value, "at": TIMES[note]});
        write
    };
    anna.push(json!([
        write("annas", 1, 3),
        update("r", "own", 1, TIMES[0])
    ]))
    .await;
    asleep.pull().await;
    ben.push(json!([
        of("club", write("bens", 2, 2)),
        of("club", update("r", "bens", 1, TIMES[0]))
    ]))
    .await;
    anna.push(json!([shares("r")])).await;
    let expected =
        json!({"r": {"title": "bens", "note": "annas", "own": 1, "bens": 1, "shared": true}});
    let mut replicas = [anna, ben, asleep];
    all_hold(&store, &mut replicas, &["anna", "ben"], expected).await;
}

/// Where both wrote at the same time, everybody ends with the same, whichever stands and whatever they had read before.
pub async fn writes_of_the_same_time_are_told_when_a_record_moves(store: Arc<dyn Store>) {
    let (annas, ben) = club(&store).await;
    for (n, (first, second)) in [("a", "z"), ("z", "a")].into_iter().enumerate() {
        let id = format!("r{n}");
        let write = |value: &str| update(&id, "title", value, TIMES[0]);
        annas.device.grant("club", Some(Role::Reader)).await;
        let mut bens = Replica::new(&store, "ben", second);
        bens.push(json!([of("club", write("bens"))])).await;
        let mut writer = Replica::new(&store, "anna", first);
        let mut reader = annas.clone();
        writer.pull().await;
        writer.push(json!([write("annas")])).await;
        reader.pull().await;
        writer.device.grant("club", Some(Role::Writer)).await;
        let mut all = [writer, reader, bens, ben.clone()];
        if n == 0 {
            all[0].device.promote().await;
        } else {
            all[0].push(json!([shares(&id)])).await;
        }
        let stands = if first > second { "annas" } else { "bens" };
        for replica in &mut all {
            let live = replica.pull().await.live();
            assert_eq!(live[&id]["title"], stands, "{:?}", replica.device);
        }
    }
}

/// The pushes of before, sent again, store nothing: neither those that made the personal record, nor the one that moved it.
pub async fn a_retry_after_a_move_stores_nothing(store: Arc<dyn Store>) {
    let (phone, ben) = club(&store).await;
    let mut phone = phone.device;
    let pushes = [
        json!([
            insert("r", "x"),
            insert("s", "x"),
            update("r", "done", 1, TIMES[0])
        ]),
        json!([update("r", "done", 2, TIMES[1]), {"table": "tasks", "id": "s", "op": "delete"}]),
        json!([shares("r"), of("club", update("s", "note", "x", TIMES[1]))]),
        json!([update("r", "done", 3, TIMES[2])]),
    ];
    for push in &pushes {
        let appended = phone.push_again(&push.to_string()).await.appended;
        assert!(appended > 0, "{push}");
        phone.wait(1000);
    }
    let mut ben = ben.device;
    ben.pull().await;
    for push in pushes.iter().chain(&pushes) {
        let again = phone.push_again(&push.to_string()).await;
        assert_eq!((again.appended, again.touched), (0, vec![]), "{push}");
    }
    assert_eq!(ben.pull().await, json!([]));
}

/// A write whose time the server gave stays the same write when its record has moved: sent again it does not beat what
/// came between.
pub async fn the_times_that_the_server_gave_survive_a_move(store: Arc<dyn Store>) {
    let (phone, ben) = club(&store).await;
    let (mut phone, mut ben) = (phone.device, ben.device);
    let ahead = json!([update("r", "title", "ahead", "2026-01-01T09:00:00.000Z")]);
    let delete = json!([{"table": "tasks", "id": "s", "op": "delete"}]);
    phone
        .push(json!([update("s", "title", "x", TIMES[0])]))
        .await;
    phone.push(ahead.clone()).await;
    phone.push(delete.clone()).await;
    phone.wait(1000);
    phone.push(json!([shares("r"), shares("s")])).await;
    ben.wait(2000);
    let at = ben.now.to_string();
    let later = json!([
        of("club", update("r", "title", "bens", &at)),
        of("club", update("s", "deletedAt", Json::Null, &at))
    ]);
    ben.push(later).await;
    phone.wait(60_000);
    for retry in [ahead, delete] {
        assert_eq!(phone.push(retry.clone()).await.appended, 0, "{retry}");
    }
    let mut newcomer = Replica::new(&store, "ben", "newcomer");
    let live = newcomer.pull().await.live();
    assert_eq!(
        live,
        json!({"r": {"title": "bens", "shared": true}, "s": {"title": "x", "shared": true}})
    );
}

/// A push that makes a record and names its space in another change of it puts all of it there, in whatever order.
pub async fn a_record_whose_push_names_its_space_once_goes_there(store: Arc<dyn Store>) {
    let (anna, ben) = club(&store).await;
    let (mut anna, mut ben) = (anna.device, ben.device);
    let without = |id: &str| update(id, "title", "x", TIMES[0]);
    let named = |id: &str| of("club", update(id, "done", true, TIMES[0]));
    anna.push(json!([update("c", "note", "x", TIMES[0])])).await;
    anna.push(json!([
        without("a"),
        named("a"),
        named("b"),
        without("b"),
        without("c"),
        named("c"),
        update("c", "note", "y", TIMES[1]),
        without("d"),
    ]))
    .await;
    let read = ben.pages("", MAX_PAGE).await;
    let mut ids = ids(&read);
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids, ["a", "b", "c"]);
    let mut newcomer = Replica::new(&store, "ben", "newcomer");
    let whole = json!({"title": "x", "done": true});
    let c = json!({"title": "x", "done": true, "note": "y"});
    assert_eq!(
        newcomer.pull().await.live(),
        json!({"a": whole, "b": whole, "c": c})
    );
    anna.grant("club", None).await;
    anna.since = String::new();
    let personal = anna.pages("", MAX_PAGE).await;
    assert_eq!(super::device::ids(&personal), ["d"]);
}

/// A deleted record moves with its delete, and one that is taken back in the same push comes whole.
pub async fn a_deleted_record_moves_with_its_delete(store: Arc<dyn Store>) {
    let (mut anna, ben) = club(&store).await;
    let mut tab = Replica::new(&store, "anna", "tab");
    let deleted = |id: &str| {
        let mut row = update(id, "title", "x", TIMES[0]);
        row["fields"]["deletedAt"] = json!({"value": TIMES[1], "at": TIMES[1]});
        row
    };
    anna.push(json!([deleted("r"), deleted("s")])).await;
    tab.pull().await;
    let asleep = Replica::new(&store, "anna", "asleep");
    anna.push(json!([
        shares("r"),
        shares("s"),
        update("s", "deletedAt", Json::Null, TIMES[2])
    ]))
    .await;
    let expected = json!({"s": {"title": "x", "shared": true}});
    all_hold(
        &store,
        &mut [anna, ben, tab, asleep],
        &["anna", "ben"],
        expected,
    )
    .await;
}

/// A value without a time that moves is as old as it is: nobody takes it for one of now, and refuses older edits.
pub async fn values_without_a_time_do_not_grow_young_by_a_move(store: Arc<dyn Store>) {
    let (mut anna, ben) = club(&store).await;
    let mut ben = ben.device;
    anna.push(json!([insert("r", "old")])).await;
    anna.device.wait(3_600_000);
    ben.wait(3_600_000);
    anna.push(json!([shares("r")])).await;
    let mut moved = told("r", "title", "old", NO_TIME);
    moved["fields"]["id"] = json!({"value": "r", "at": NO_TIME, "updatedAt": NO_TIME});
    moved["data"] = json!({"id": "r", "title": "old"});
    let read = ben.pages("", MAX_PAGE).await;
    assert_eq!(read[0], by("anna", of("club", moved)));
}

/// A record larger than a row moves in several; its readers get all of it, in bounded pages.
pub async fn a_large_record_moves_in_several_rows(store: Arc<dyn Store>) {
    let (mut anna, mut ben) = club(&store).await;
    let text = "x".repeat(700_000);
    for n in 0..8 {
        anna.push(json!([update(
            "r",
            &format!("f{n}"),
            text.as_str(),
            TIMES[0]
        )]))
        .await;
    }
    anna.push(json!([shares("r")])).await;
    let expected: Map<_, _> = (0..8).map(|n| (format!("f{n}"), json!(text))).collect();
    let mut expected = json!(expected);
    expected["shared"] = json!(true);
    assert!(ben.pull().await.live()["r"] == expected, "the whole record");
    let mut newcomer = Device::new(&store, "ben", "newcomer");
    assert!(newcomer.page("", MAX_PAGE).await.has_more);
    let mut tab = Replica::new(&store, "anna", "tab");
    assert!(tab.pull().await.live()["r"] == expected, "the whole record");
}

/// A record that would hold too much by a move stays where it is; what was pushed with the space is stored there.
pub async fn a_move_does_not_make_a_record_too_large(store: Arc<dyn Store>) {
    let (mut anna, mut ben) = club(&store).await;
    let many = |owner: &str| {
        let fields = (0..900).map(|n| (format!("{owner}{n}"), json!({"value": n, "at": TIMES[0]})));
        let fields: Map<_, _> = fields.collect();
        json!({"table": "tasks", "id": "r", "op": "update", "fields": fields})
    };
    anna.push(json!([many("a"), many("b"), many("c")])).await;
    ben.push(json!([of("club", many("d")), of("club", many("e"))]))
        .await;
    let pushed = anna.push(json!([shares("r")])).await;
    let warned = pushed.answer.warnings.iter().map(|warning| warning.code);
    assert_eq!(warned.collect::<Vec<WarningCode>>(), []);
    let mut newcomer = Replica::new(&store, "ben", "newcomer");
    let fields = newcomer.pull().await.live()["r"]
        .as_object()
        .map_or(0, Map::len);
    assert_eq!(fields, 1801);
    let mut newcomer = Replica::new(&store, "anna", "newcomer");
    let fields = newcomer.pull().await.live()["r"]
        .as_object()
        .map_or(0, Map::len);
    assert_eq!(fields, 4501);
    let again = list(&anna.device.clone().push(json!([shares("r")])).await.answer);
    assert!(again.len() < 5, "{}", again.len());
}

/// A change that is denied moves nothing: the personal record stays, and is its author's alone.
pub async fn a_denied_change_moves_nothing(store: Arc<dyn Store>) {
    let (_, mut ben) = club(&store).await;
    let mut carl = Device::new(&store, "carl", "phone");
    carl.push(json!([update("r", "title", "carls", TIMES[0])]))
        .await;
    let pushed = carl.push(json!([shares("r")])).await;
    assert_eq!((pushed.appended, pushed.answer.warnings.len()), (1, 1));
    assert_eq!(ben.pull().await.live(), json!({}));
    let mut tab = Replica::new(&store, "carl", "tab");
    let own = json!({"r": {"title": "carls", "shared": true}});
    assert_eq!(tab.pull().await.live(), own);
}
