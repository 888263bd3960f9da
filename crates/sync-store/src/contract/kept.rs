//! A record that was denied a space stays about that space, whatever its author writes to it later; a personal one does not
//! become so by a space that has its id, too (P6, P7).

use std::sync::Arc;

use serde_json::{Value as Json, json};
use sync_protocol::WarningCode;

use super::device::{Device, TIMES, ids, insert, of, update};
use super::replica::Replica;
use crate::{MAX_PAGE, Pushed, Role, Store};

/// Anna in the club with `c0`, and Ben, who reads it.
async fn club(store: &Arc<dyn Store>) -> (Replica, Device) {
    let mut anna = Replica::new(store, "anna", "phone");
    anna.device.grant("club", Some(Role::Writer)).await;
    anna.push(json!([of(
        "club",
        update("c0", "title", "annas", "2025-01-01T00:00:00.000Z")
    )]))
    .await;
    let mut ben = Device::new(store, "ben", "phone");
    ben.grant("club", Some(Role::Reader)).await;
    ben.pull().await;
    (anna, ben)
}

fn denied(pushed: &Pushed) -> Vec<usize> {
    let warnings = pushed.answer.warnings.iter();
    let denied = warnings.filter(|warning| warning.code == WarningCode::SpaceWriteDenied);
    denied.map(|warning| warning.change).collect()
}

/// The records of which a user has something for itself: what is left when it is in no space.
async fn personal(store: &Arc<dyn Store>, user: &str) -> Vec<String> {
    let mut device = Device::new(store, user, "left");
    device.wait(3_600_000);
    device.grant("club", None).await;
    let read = device.pages("", MAX_PAGE).await;
    ids(&read).into_iter().map(str::to_owned).collect()
}

/// An edit with the new role, before what was denied has gone in, takes it along; nothing is left to mask the space.
pub async fn an_edit_with_the_new_role_takes_along_what_was_denied(store: Arc<dyn Store>) {
    let (mut anna, mut ben) = club(&store).await;
    let denied_write = json!([
        update("c0", "title", "denied", TIMES[0]),
        update("c0", "note", 1, TIMES[0])
    ]);
    assert_eq!(denied(&ben.push(denied_write).await), [0, 1]);
    ben.grant("club", Some(Role::Writer)).await;
    // It replaces the row that was denied, and names no space.
    let pushed = ben
        .push(json!([update("c0", "title", "bens", TIMES[1])]))
        .await;
    assert_eq!(denied(&pushed), [0; 0]);
    ben.promote().await;
    let expected = json!({"c0": {"title": "bens", "note": 1}});
    assert_eq!(anna.pull().await.live(), expected);
    assert_eq!(personal(&store, "ben").await, [""; 0]);
}

/// Every later change of a record that was denied is denied, too, whether its author reads the space or not; all goes in.
pub async fn later_changes_of_a_denied_record_are_denied_too(store: Arc<dyn Store>) {
    let (mut anna, mut ben) = club(&store).await;
    let mut carl = Device::new(&store, "carl", "phone");
    for (device, id) in [(&mut ben, "c0"), (&mut carl, "new")] {
        let named = of("club", update(id, "title", "1", TIMES[0]));
        assert_eq!(denied(&device.push(json!([named])).await), [0]);
        // The row that named the space is dead then.
        let twice = json!([
            update(id, "title", "2", TIMES[1]),
            update(id, "title", "3", TIMES[2])
        ]);
        assert_eq!(denied(&device.push(twice).await), [0, 1]);
        device.grant("club", Some(Role::Writer)).await;
        device.promote().await;
    }
    let expected = json!({"c0": {"title": "3"}, "new": {"title": "3"}});
    assert_eq!(anna.pull().await.live(), expected);
    for user in ["ben", "carl"] {
        assert_eq!(personal(&store, user).await, [""; 0]);
    }
}

/// A delete that stays with its author does not keep the author's later edits from the space.
pub async fn a_delete_that_stays_keeps_no_later_edit_from_the_space(store: Arc<dyn Store>) {
    let (mut anna, mut ben) = club(&store).await;
    let delete = json!({"table": "tasks", "id": "c0", "op": "delete", "deletedAt": TIMES[0]});
    assert_eq!(denied(&ben.push(json!([delete])).await), [0]);
    ben.grant("club", Some(Role::Writer)).await;
    ben.promote().await;
    let mut edit = update("c0", "title", "bens", TIMES[1]);
    edit["fields"]["deletedAt"] = json!({"value": null, "at": TIMES[1]});
    assert_eq!(denied(&ben.push(json!([edit])).await), [0; 0]);
    let expected = json!({"c0": {"title": "bens"}});
    assert_eq!(anna.pull().await.live(), expected);
    assert_eq!(
        Replica::new(&store, "ben", "tab").pull().await.live(),
        expected
    );
}

/// A personal record is its author's alone though a space that its author reads, and then writes, has one of the same id.
pub async fn a_personal_record_is_not_taken_for_one_of_a_space(store: Arc<dyn Store>) {
    let mut ben = Device::new(&store, "ben", "phone");
    ben.push(json!([insert("settings", "mine")])).await;
    let mut anna = Replica::new(&store, "anna", "phone");
    anna.device.grant("club", Some(Role::Writer)).await;
    anna.push(json!([of("club", insert("settings", "ours"))]))
        .await;
    for role in [Role::Reader, Role::Writer] {
        ben.grant("club", Some(role)).await;
        let edit = update("settings", "secret", role.as_str(), TIMES[1]);
        let pushed = ben.push(json!([edit.clone(), edit])).await;
        assert_eq!((denied(&pushed), pushed.appended), (vec![], 1));
        ben.promote().await;
    }
    assert_eq!(
        anna.pull().await.live(),
        json!({"settings": {"title": "ours"}})
    );
    assert_eq!(personal(&store, "ben").await, ["settings", "settings"]);
}

/// A denied value that is appended again, since an answer had no room for it, keeps the name of its space, and goes in.
pub async fn what_was_denied_keeps_its_space_when_it_is_told_again(store: Arc<dyn Store>) {
    let (mut anna, mut ben) = club(&store).await;
    let big = "x".repeat(2_000_000);
    let write = |value: &str, at: &str| of("club", update("new", "title", value, at));
    ben.push(json!([write(&big, TIMES[1])])).await;
    let older = ben.push(json!([write("old", TIMES[0])])).await;
    assert_eq!((denied(&older), older.appended), (vec![0], 1));
    let read = Device::new(&store, "ben", "tab").pages("", MAX_PAGE).await;
    let named: Vec<&Json> = read.iter().map(|change| &change["spaceId"]).collect();
    assert_eq!(named, ["club", "club"]);
    ben.grant("club", Some(Role::Writer)).await;
    ben.promote().await;
    assert!(anna.pull().await.live()["new"]["title"] == json!(big));
    assert_eq!(personal(&store, "ben").await, [""; 0]);
}

/// A delete of what others wrote that was denied, sent once more when the answer got lost, is the same one: it does not go
/// into the space with the new role. Another one does.
pub async fn a_denied_delete_sent_again_with_the_new_role_is_a_replay(store: Arc<dyn Store>) {
    let (mut anna, mut ben) = club(&store).await;
    anna.push(json!([
        of(
            "club",
            update("c1", "title", "annas", "2025-01-01T00:00:00.000Z")
        ),
        of(
            "club",
            update("c2", "title", "annas", "2025-01-01T00:00:00.000Z")
        )
    ]))
    .await;
    let delete = |id: &str| of("club", json!({"table": "tasks", "id": id, "op": "delete"}));
    let mut timed = delete("c0");
    timed["deletedAt"] = json!(TIMES[1]);
    let field = json!({"deletedAt": {"value": TIMES[1], "at": TIMES[1]}});
    let mut as_field = delete("c1");
    as_field["fields"] = field;
    let all = json!([timed, as_field, delete("c2")]);
    assert_eq!(denied(&ben.push(all.clone()).await), [0, 1, 2]);
    ben.grant("club", Some(Role::Writer)).await;
    ben.push_again(&all.to_string()).await;
    ben.promote().await;
    ben.push_again(&all.to_string()).await;
    let title = json!({"title": "annas"});
    let expected = json!({"c0": title, "c1": title, "c2": title});
    assert_eq!(anna.pull().await.live(), expected);
    let mut later = delete("c0");
    later["deletedAt"] = json!(TIMES[2]);
    ben.push(json!([later])).await;
    let expected = json!({"c1": title, "c2": title});
    assert_eq!(anna.pull().await.live(), expected);
}
