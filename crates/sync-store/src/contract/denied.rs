//! What its author may not write into a space is kept for the author alone, and goes there with the role (P7).

use std::sync::Arc;

use serde_json::{Value as Json, json};
use sync_protocol::WarningCode;

use super::device::{Device, TIMES, by, ids, insert, list, of, told, update};
use super::replica::{Replica, all_hold};
use crate::{MAX_PAGE, PROMOTION_BATCH, Promoted, Pushed, Role, Store};

const DAY: i64 = 24 * 60 * 60 * 1000;

/// Anna in the club with `c0` and `c1`, and Ben, who reads it.
async fn club(store: &Arc<dyn Store>) -> (Device, Device) {
    let mut anna = Device::new(store, "anna", "phone");
    let mut ben = Device::new(store, "ben", "phone");
    anna.grant("club", Some(Role::Writer)).await;
    ben.grant("club", Some(Role::Reader)).await;
    let row = |id: &str| {
        let fields = json!({"title": {"value": "annas", "at": TIMES[2]}});
        of(
            "club",
            json!({"table": "tasks", "id": id, "op": "insert", "data": {"title": "annas"}, "fields": fields}),
        )
    };
    anna.push(json!([row("c0"), row("c1")])).await;
    ben.pull().await;
    (anna, ben)
}

fn denied(pushed: &Pushed) -> Vec<usize> {
    let warnings = pushed.answer.warnings.iter();
    let denied = warnings.filter(|warning| warning.code == WarningCode::SpaceWriteDenied);
    denied.map(|warning| warning.change).collect()
}

/// The scopes that a promotion has touched, by app.
fn scopes(promoted: &[Promoted]) -> Vec<String> {
    let touched = promoted.iter().filter_map(|one| one.touched.as_ref());
    let scopes = touched.flat_map(|(app, touched)| {
        let scope = move |one: &crate::Touched| format!("{app} {}", one.scope);
        touched.iter().map(scope)
    });
    scopes.collect()
}

/// A change that names no space, on a record of a space that its author only reads: kept, told, for nobody else, once.
pub async fn a_change_on_a_record_that_its_author_only_reads_is_kept(store: Arc<dyn Store>) {
    let (mut anna, mut ben) = club(&store).await;
    let both = json!([
        update("c0", "title", "bens", TIMES[3]),
        update("own", "title", "bens", TIMES[3])
    ]);
    for appended in [2, 0] {
        let pushed = ben.push(both.clone()).await;
        assert_eq!((pushed.appended, denied(&pushed)), (appended, vec![0]));
        assert_eq!(list(&pushed.answer), Vec::<Json>::new());
    }
    assert_eq!(anna.pull().await, json!([]));
    let mut tab = Device::new(&store, "ben", "tab");
    let read = tab.pull().await;
    let mut kept = of("club", told("c0", "title", "bens", TIMES[3]));
    kept["data"] = json!({"id": "c0", "title": "bens"});
    let mut own = told("own", "title", "bens", TIMES[3]);
    own["data"] = json!({"id": "own", "title": "bens"});
    let rows = read.as_array().expect("a list");
    assert_eq!(rows[2..], [kept, own]);
}

/// With the role what was denied goes into the space, by its author and at its own time; its other devices and the
/// members read it there; it goes once, and the same push again stores nothing.
pub async fn what_was_denied_goes_into_the_space_with_the_role(store: Arc<dyn Store>) {
    let (mut anna, mut ben) = club(&store).await;
    let asleep = Replica::new(&store, "ben", "asleep");
    let mut read_it = Replica::new(&store, "ben", "tab");
    let change = json!([
        of("club", update("new", "title", "bens", TIMES[1])),
        update("c0", "done", true, TIMES[1])
    ]);
    assert_eq!(denied(&ben.push(change.clone()).await), [0, 1]);
    read_it.pull().await;
    assert_eq!(scopes(&ben.promote().await), [""; 0], "without the role");
    ben.grant("club", Some(Role::Writer)).await;
    ben.wait(1000);
    assert_eq!(scopes(&ben.promote().await), ["todo s:club"]);
    assert_eq!(scopes(&ben.promote().await), [""; 0], "it goes once");
    assert_eq!(ben.push(change).await.appended, 0);
    let mut new = told("new", "title", "bens", TIMES[1]);
    new["data"] = json!({"id": "new", "title": "bens"});
    assert_eq!(
        anna.pull().await,
        json!([
            by("ben", of("club", new)),
            by("ben", of("club", told("c0", "done", true, TIMES[1])))
        ])
    );
    let expected = json!({
        "c0": {"title": "annas", "done": true},
        "c1": {"title": "annas"},
        "new": {"title": "bens"},
    });
    all_hold(&store, &mut [asleep, read_it], &["anna", "ben"], expected).await;
    ben.grant("club", None).await;
    let left = Device::new(&store, "ben", "left").pull().await;
    assert_eq!(left, json!([]), "nothing of it is personal any more");
}

/// Who was no member at all when it wrote finds the same when it joins.
pub async fn what_a_stranger_was_denied_goes_in_when_it_joins(store: Arc<dyn Store>) {
    club(&store).await;
    let mut carl = Replica::new(&store, "carl", "phone");
    let asleep = Replica::new(&store, "carl", "asleep");
    let mut change = insert("new", "carls");
    change["data"]["updatedAt"] = json!(TIMES[0]);
    let pushed = carl.push(json!([of("club", change)])).await;
    assert_eq!(denied(&pushed), [0]);
    // An edit that names no space is about the same record.
    carl.push(json!([update("new", "done", 1, TIMES[1])])).await;
    carl.device.grant("club", Some(Role::Writer)).await;
    carl.device.promote().await;
    let expected = json!({
        "c0": {"title": "annas"},
        "c1": {"title": "annas"},
        "new": {"title": "carls", "updatedAt": TIMES[0], "done": 1},
    });

    all_hold(&store, &mut [carl, asleep], &["anna", "carl"], expected).await;
}

/// What goes in keeps its time: it loses against what members wrote later, and wins against what they wrote before.
pub async fn what_was_denied_counts_at_its_own_time(store: Arc<dyn Store>) {
    let (mut anna, _) = club(&store).await;
    let mut bens = Replica::new(&store, "ben", "phone");

    bens.pull().await;
    let asleep = bens.clone();
    bens.push(json!([
        update("c0", "title", "bens", TIMES[3]),
        update("c1", "title", "bens", TIMES[3]),
        update("c1", "note", "bens", TIMES[0]),
    ]))
    .await;
    anna.push(json!([
        of("club", update("c0", "title", "later", TIMES[4])),
        of("club", update("c1", "note", "later", TIMES[1])),
    ]))
    .await;
    bens.device.grant("club", Some(Role::Writer)).await;
    bens.device.promote().await;
    let expected = json!({"c0": {"title": "later"}, "c1": {"title": "bens", "note": "later"}});
    all_hold(&store, &mut [bens, asleep], &["anna", "ben"], expected).await;
}

/// However much was denied, in whatever apps and spaces, it all goes in; what is for a space without the role stays.
pub async fn all_that_was_denied_goes_in_batch_by_batch(store: Arc<dyn Store>) {
    const MANY: usize = 2 * PROMOTION_BATCH + 30;
    let anna = Device::new(&store, "anna", "phone");
    let mut ben = Device::new(&store, "ben", "phone");
    for space in ["club", "team", "closed"] {
        anna.grant(space, Some(Role::Writer)).await;
    }
    let rows = |from: usize| {
        let row = |n: usize| {
            of(
                ["club", "team", "closed"][n % 3],
                insert(&format!("r{n:03}"), "x"),
            )
        };
        Json::Array((from..MANY).step_by(2).map(row).collect())
    };
    let mut notes = ben.clone().in_app("notes");
    ben.push(rows(0)).await;
    notes.push(rows(1)).await;
    for space in ["club", "team"] {
        ben.grant(space, Some(Role::Writer)).await;
    }
    let promoted = ben.promote().await;
    assert!(promoted.len() > 1, "more than one batch");
    let touched = scopes(&promoted);
    for scope in ["todo s:club", "todo s:team", "notes s:club", "notes s:team"] {
        assert!(touched.iter().any(|one| one == scope), "{scope}");
    }
    assert_eq!(scopes(&ben.promote().await), [""; 0]);
    for (app, parity) in [("todo", 0), ("notes", 1)] {
        let expected = |spaces: &[usize]| -> Vec<String> {
            let all = (0..MANY).filter(|n| n % 2 == parity && spaces.contains(&(n % 3)));
            all.map(|n| format!("r{n:03}")).collect()
        };
        let sorted = |rows: Vec<Json>| {
            let mut ids: Vec<_> = ids(&rows).into_iter().map(str::to_owned).collect();
            ids.sort_unstable();
            ids
        };
        let mut annas = anna.clone().in_app(app);
        let read = annas.pages("", MAX_PAGE).await;
        assert_eq!(sorted(read), expected(&[0, 1]), "{app}");
        let mut bens = Device::new(&store, "ben", "tab").in_app(app);
        let read = bens.pages("", MAX_PAGE).await;
        assert_eq!(sorted(read), expected(&[0, 1, 2]), "{app}");
        ben.grant("club", None).await;
        ben.grant("team", None).await;
        let mut left = Device::new(&store, "ben", "left").in_app(app);
        let read = left.pages("", MAX_PAGE).await;
        assert_eq!(sorted(read), expected(&[2]), "{app}");
        ben.wait(1000);
        ben.grant("club", Some(Role::Writer)).await;
        ben.grant("team", Some(Role::Writer)).await;
    }
}

/// After thirty days it is too late.
pub async fn what_was_denied_long_ago_stays_with_its_author(store: Arc<dyn Store>) {
    let (mut anna, mut ben) = club(&store).await;
    ben.push(json!([of("club", insert("old", "x"))])).await;
    ben.wait(1);
    ben.push(json!([of("club", insert("young", "x"))])).await;
    ben.grant("club", Some(Role::Writer)).await;
    ben.wait(30 * DAY);
    ben.promote().await;
    let read = anna.pages("", MAX_PAGE).await;
    assert_eq!(ids(&read), ["young"]);
    ben.grant("club", None).await;
    let mut tab = Device::new(&store, "ben", "tab");
    assert_eq!(ids(&tab.pages("", MAX_PAGE).await), ["old"]);
}

/// Nobody deletes what others wrote by what was denied; its other fields go in.
pub async fn a_denied_delete_of_a_record_of_others_stays_with_its_author(store: Arc<dyn Store>) {
    let (mut anna, mut ben) = club(&store).await;
    // Without an insert nothing of anna is left of it when ben's title stands.
    anna.push(json!([of(
        "club",
        update("c2", "title", "annas", TIMES[2])
    )]))
    .await;
    ben.pull().await;
    let delete =
        |id: &str| json!({"table": "tasks", "id": id, "op": "delete", "deletedAt": TIMES[4]});
    let mut by_field = update("c2", "deletedAt", TIMES[4], TIMES[4]);
    by_field["fields"]["title"] = json!({"value": "bens", "at": TIMES[4]});
    let timeless = json!({"table": "tasks", "id": "c0", "op": "delete"});
    let pushed = ben.push(json!([delete("c0"), of("club", by_field), timeless]));
    assert_eq!(denied(&pushed.await), [0, 1, 2]);
    ben.grant("club", Some(Role::Writer)).await;
    for _ in 0..2 {
        ben.promote().await;
    }
    let mut title = told("c2", "title", "bens", TIMES[4]);
    title["data"] = json!({"id": "c2", "title": "bens"});
    assert_eq!(anna.pull().await, json!([by("ben", of("club", title))]));
    let mut newcomer = Replica::new(&store, "anna", "newcomer");
    let expected =
        json!({"c0": {"title": "annas"}, "c1": {"title": "annas"}, "c2": {"title": "bens"}});
    assert_eq!(newcomer.pull().await.live(), expected);
}

/// An own record is deleted by what was denied: one that nobody else has written to.
pub async fn a_denied_delete_of_an_own_record_goes_in(store: Arc<dyn Store>) {
    club(&store).await;
    let mut annas = Replica::new(&store, "anna", "tab");
    let mut bens = Replica::new(&store, "ben", "tab");

    bens.device.grant("club", Some(Role::Writer)).await;
    let row = |id: &str| of("club", update(id, "title", "bens", TIMES[0]));
    bens.push(json!([row("lone"), row("edited")])).await;
    annas
        .push(json!([of("club", update("edited", "done", 1, TIMES[1]))]))
        .await;
    let mut asleep = Replica::new(&store, "ben", "asleep");
    asleep.pull().await;
    bens.device.wait(1000);
    bens.device.grant("club", Some(Role::Reader)).await;
    let delete =
        |id: &str| json!({"table": "tasks", "id": id, "op": "delete", "deletedAt": TIMES[4]});
    let pushed = bens
        .push(json!([
            row("denied"),
            delete("denied"),
            delete("lone"),
            delete("edited")
        ]))
        .await;
    assert_eq!(denied(&pushed), [0, 1, 2, 3]);
    annas.pull().await;
    bens.device.wait(1000);
    bens.device.grant("club", Some(Role::Writer)).await;
    bens.device.promote().await;
    let expected = json!({
        "c0": {"title": "annas"},
        "c1": {"title": "annas"},
        "edited": {"title": "bens", "done": 1},
    });
    let mut replicas = [annas];
    all_hold(&store, &mut replicas, &["anna"], expected.clone()).await;
    // Its author alone deleted it.
    let without = json!({"c0": {"title": "annas"}, "c1": {"title": "annas"}});
    all_hold(&store, &mut [bens, asleep], &["ben"], without).await;
}

/// What goes into a record that the members have deleted meanwhile leaves it deleted, for everybody.
pub async fn what_goes_into_a_deleted_record_leaves_it_deleted(store: Arc<dyn Store>) {
    let (mut anna, _) = club(&store).await;
    let mut ben = Replica::new(&store, "ben", "tab");
    ben.pull().await;
    let asleep = Replica::new(&store, "ben", "asleep");
    ben.push(json!([
        update("c0", "title", "bens", TIMES[4]),
        update("c1", "title", "bens", TIMES[4]),
        update("c1", "deletedAt", Json::Null, TIMES[4]),
    ]))
    .await;
    let delete = |id: &str| of("club", update(id, "deletedAt", TIMES[3], TIMES[3]));
    anna.push(json!([delete("c0"), delete("c1")])).await;
    let mut carl = Replica::new(&store, "carl", "phone");
    carl.device.grant("club", Some(Role::Reader)).await;
    carl.pull().await;
    ben.device.grant("club", Some(Role::Writer)).await;
    ben.device.promote().await;
    let expected = json!({"c1": {"title": "bens"}});
    all_hold(
        &store,
        &mut [ben, asleep, carl],
        &["anna", "ben", "carl"],
        expected,
    )
    .await;
}
