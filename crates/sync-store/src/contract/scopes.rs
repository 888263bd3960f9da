//! Who sees what: users, apps, spaces (P6).

use std::sync::Arc;

use serde_json::json;
use sync_protocol::WarningCode;

use super::device::{Device, TIMES, changes as changes_of, insert, update};
use crate::{Role, Store};

/// The same ids, app and client of two users are two worlds.
pub async fn two_users_see_nothing_of_each_other(store: Arc<dyn Store>) {
    Device::new(&store, "anna", "phone")
        .push(json!([insert("a", "anna's")]))
        .await;
    let mut ben = Device::new(&store, "ben", "phone");
    let pushed = ben.push(json!([insert("a", "ben's")])).await;
    assert_eq!(
        (
            pushed.answer.server_changes.len(),
            pushed.answer.conflicts.len()
        ),
        (0, 0)
    );
    assert_eq!(
        Device::new(&store, "ben", "tab").pull().await,
        json!([insert("a", "ben's")])
    );
    assert_eq!(
        Device::new(&store, "anna", "tab").pull().await,
        json!([insert("a", "anna's")])
    );
}

/// Apps are namespaces.
pub async fn two_apps_see_nothing_of_each_other(store: Arc<dyn Store>) {
    Device::new(&store, "anna", "phone")
        .push(json!([insert("a", "1")]))
        .await;
    let mut notes = Device::new(&store, "anna", "phone").in_app("notes");
    notes.push(json!([insert("a", "2")])).await;
    assert_eq!(
        Device::new(&store, "anna", "tab")
            .in_app("notes")
            .pull()
            .await,
        json!([insert("a", "2")])
    );
}

/// What a member writes into a space every member reads, with its author; nobody else does.
pub async fn members_read_a_space_and_others_do_not(store: Arc<dyn Store>) {
    let (mut anna, mut ben) = (
        Device::new(&store, "anna", "phone"),
        Device::new(&store, "ben", "phone"),
    );
    anna.grant("club", Some(Role::Writer)).await;
    ben.grant("club", Some(Role::Reader)).await;
    let mut shared = insert("a", "ours");
    shared["spaceId"] = json!("club");
    anna.push(json!([shared, insert("b", "mine")])).await;
    let mut authored = shared.clone();
    authored["author"] = json!("anna");
    assert_eq!(ben.pull().await, json!([authored]));
    assert_eq!(Device::new(&store, "carl", "phone").pull().await, json!([]));
    ben.grant("club", None).await;
    ben.since = String::new();
    assert_eq!(ben.pull().await, json!([]));
}

/// P7: without a writing role the change stays with its author under the space's name, with a warning; members never
/// see it, and sending it again is a replay.
pub async fn a_write_without_the_role_stays_with_its_author(store: Arc<dyn Store>) {
    let (mut anna, mut ben) = (
        Device::new(&store, "anna", "phone"),
        Device::new(&store, "ben", "phone"),
    );
    anna.grant("club", Some(Role::Writer)).await;
    ben.grant("club", Some(Role::Reader)).await;
    let mut change = insert("a", "ben's");
    change["spaceId"] = json!("club");
    for appended in [1, 0] {
        let pushed = ben.push(json!([change])).await;
        let warned: Vec<_> = pushed
            .answer
            .warnings
            .iter()
            .map(|warning| (warning.change, warning.code))
            .collect();
        assert_eq!(
            (pushed.appended, warned),
            (appended, vec![(0, WarningCode::SpaceWriteDenied)])
        );
    }
    assert_eq!(anna.pull().await, json!([]));
    assert_eq!(
        Device::new(&store, "ben", "tab").pull().await,
        json!([change])
    );
}

/// Whether a space is there, and what is in it, is no business of who is no member: all that is told is told alike.
pub async fn a_space_of_others_is_told_like_one_that_is_not_there(store: Arc<dyn Store>) {
    let mut anna = Device::new(&store, "anna", "phone");
    anna.grant("club", Some(Role::Writer)).await;
    let of = |space: &str, mut change: serde_json::Value| {
        change["spaceId"] = json!(space);
        change
    };
    anna.push(json!([of("club", insert("a", "ours"))])).await;
    let mut told = Vec::new();
    for (user, space) in [("eve", "club"), ("mallory", "nowhere")] {
        let mut stranger = Device::new(&store, user, "phone");
        let mut said = String::new();
        for changes in [
            json!([of(space, update("a", "title", "mine", TIMES[0]))]),
            json!([
                of(space, insert("a", "mine")),
                of(space, insert("b", "mine"))
            ]),
            json!([of(
                space,
                json!({"table": "tasks", "id": "a", "op": "delete", "deletedAt": TIMES[1]})
            )]),
        ] {
            let answer = stranger.push(changes).await.answer;
            let rest = (answer.conflicts, answer.warnings, answer.has_more);
            said += &format!("{} {rest:?}", changes_of(&answer.server_changes));
        }
        let own = Device::new(&store, user, "tab").pull().await;
        told.push((said + &own.to_string()).replace(space, "a space"));
    }
    assert_eq!(told[0], told[1]);
    assert!(told[0].contains("SpaceWriteDenied"), "{}", told[0]);
}

/// A change that names no space goes where its author has the record and may write it, the personal scope first.
pub async fn a_change_without_a_space_goes_where_the_record_is(store: Arc<dyn Store>) {
    let (mut anna, mut ben) = (
        Device::new(&store, "anna", "phone"),
        Device::new(&store, "ben", "phone"),
    );
    anna.grant("club", Some(Role::Writer)).await;
    ben.grant("club", Some(Role::Writer)).await;
    let mut shared = insert("a", "ours");
    shared["spaceId"] = json!("club");
    anna.push(json!([shared])).await;
    anna.push(json!([
        update("a", "title", "still ours", TIMES[0]),
        update("b", "title", "mine", TIMES[0])
    ]))
    .await;
    let read = ben.pull().await;
    let ids: Vec<_> = read
        .as_array()
        .expect("a list")
        .iter()
        .map(|change| change["id"].clone())
        .collect();
    assert_eq!(ids, ["a", "a"]);
}

/// Two members whose clients have the same name are two clients: the one that loses is told of it.
pub async fn a_conflict_with_a_client_of_the_same_name_is_told(store: Arc<dyn Store>) {
    let (mut anna, mut ben) = (
        Device::new(&store, "anna", "phone"),
        Device::new(&store, "ben", "phone"),
    );
    let in_club = |value: &str, at: &str| {
        let mut change = update("a", "title", value, at);
        change["spaceId"] = json!("club");
        change
    };
    for device in [&anna, &ben] {
        device.grant("club", Some(Role::Writer)).await;
    }
    anna.push(json!([in_club("anna's", TIMES[1])])).await;
    let told = ben.push(json!([in_club("ben's", TIMES[0])])).await.answer;
    let conflicts: Vec<_> = told.conflicts.iter().map(|one| &one.server_value).collect();
    assert_eq!(json!(conflicts), json!(["anna's"]));
}

/// A correction in a space says whose write stands: it is not the one who is told.
pub async fn a_correction_in_a_space_names_its_author(store: Arc<dyn Store>) {
    let (mut anna, mut ben) = (
        Device::new(&store, "anna", "phone"),
        Device::new(&store, "ben", "phone"),
    );
    for device in [&anna, &ben] {
        device.grant("club", Some(Role::Writer)).await;
    }
    let in_club = |id: &str, value: &str, at: &str| {
        let mut change = update(id, "title", value, at);
        change["spaceId"] = json!("club");
        change
    };
    let big = "x".repeat(2_000_000);
    anna.push(json!([
        in_club("a", "new", TIMES[1]),
        in_club("b", &big, TIMES[1])
    ]))
    .await;
    ben.since.clone_from(&anna.since);
    let told = ben
        .push(json!([
            in_club("a", "old", TIMES[0]),
            in_club("b", "old", TIMES[0])
        ]))
        .await
        .answer;
    let author = |change: &sync_protocol::ServerChange| {
        (
            change.id.to_string(),
            change.author.as_ref().map(ToString::to_string),
        )
    };
    let mut authors: Vec<_> = told.server_changes.iter().map(author).collect();
    authors.extend(
        ben.page("tasks", 10)
            .await
            .server_changes
            .iter()
            .map(author),
    );
    assert_eq!(
        authors,
        [("a", "anna"), ("b", "anna")].map(|(id, author)| (id.to_owned(), Some(author.to_owned())))
    );
}
