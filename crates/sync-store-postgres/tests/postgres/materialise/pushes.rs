//! Pushes of the changes dialect: what they write is written into business tables, too.

use std::sync::Arc;

use serde_json::{Value as Json, json};
use sync_store::contract::Device;
use sync_store::{Role, Store};

use super::device::put;
use super::retries::done;
use super::support::{World, id};

/// A device that knows no rows, in the app of the business tables.
fn browser(world: &World, name: &str) -> Device {
    let store: Arc<dyn Store> = world.store.clone();
    Device::new(&store, name, "browser").in_app("business")
}

fn insert(number: u32, data: Json) -> Json {
    json!({"table": "users", "id": id(number), "op": "insert", "data": data})
}

/// A new value of one field, at a second after all that is there.
fn update(number: u32, field: &str, value: &Json, second: u32) -> Json {
    json!({"table": "users", "id": id(number), "op": "update",
        "fields": {field: {"value": value, "updatedAt": format!("2026-01-01T00:00:{second:02}Z")}}})
}

async fn push(browser: &mut Device, changes: Vec<Json>) {
    browser.wait(60_000);
    let conflicts = browser.push(json!(changes)).await.answer.conflicts;
    assert!(conflicts.is_empty(), "{conflicts:?}");
}

#[tokio::test]
async fn a_push_writes_updates_and_deletes_business_rows() {
    let world = World::usual().await;
    let mut browser = browser(&world, "anna");
    let made = [
        insert(1, json!({"name": "A", "email": "a@b"})),
        insert(2, json!({"name": "B"})),
    ];
    push(&mut browser, made.to_vec()).await;
    assert_eq!(world.authors().await, ["anna:A", "anna:B"]);
    push(&mut browser, vec![update(1, "name", &json!("A2"), 30)]).await;
    let whole = world
        .texts("select name || ' ' || email from business.users where email is not null")
        .await;
    assert_eq!(whole, ["A2 a@b"]);
    let gone =
        json!({"table": "users", "id": id(2), "op": "delete", "deletedAt": "2026-01-01T00:01:00Z"});
    push(&mut browser, vec![gone]).await;
    assert_eq!(world.authors().await, ["anna:A2"]);
    assert_eq!(world.failures("anna").await, Vec::<String>::new());
}

#[tokio::test]
async fn a_push_of_a_row_that_cannot_be_written_is_taken_and_is_a_failure_until_it_can() {
    let world = World::usual().await;
    let mut browser = browser(&world, "anna");
    let made = [
        insert(1, json!({"name": null})),
        insert(2, json!({"name": "B"})),
    ];
    push(&mut browser, made.to_vec()).await;
    assert_eq!(world.authors().await, ["anna:B"]);
    assert_eq!(world.listed("anna").await.len(), 1);
    push(&mut browser, vec![update(1, "name", &json!("A"), 30)]).await;
    assert_eq!(world.authors().await, ["anna:A", "anna:B"]);
    assert_eq!(world.failures("anna").await, Vec::<String>::new());
}

#[tokio::test]
async fn a_push_changes_what_was_uploaded() {
    let world = World::usual().await;
    let mut phone = world.phone("anna", "phone");
    phone
        .applies(vec![put("users", 1, 0, json!({"name": "A"}))])
        .await;
    let mut browser = browser(&world, "anna");
    push(&mut browser, vec![update(1, "name", &json!("A2"), 30)]).await;
    assert_eq!(world.authors().await, ["anna:A2"]);
}

#[tokio::test]
async fn a_record_that_moves_into_a_space_leaves_the_business_table() {
    let world = World::usual().await;
    let mut browser = browser(&world, "anna");
    browser.grant("home", Some(Role::Writer)).await;
    let made = [
        insert(1, json!({"name": "A"})),
        insert(2, json!({"name": "B"})),
    ];
    push(&mut browser, made.to_vec()).await;
    let mut moving = update(1, "name", &json!("A2"), 30);
    moving["spaceId"] = json!("home");
    push(&mut browser, vec![moving]).await;
    assert_eq!(world.authors().await, ["anna:B"]);
    // What is written there from now on is nobody's row.
    let mut shared = update(1, "name", &json!("A3"), 40);
    shared["spaceId"] = json!("home");
    push(&mut browser, vec![shared]).await;
    let mut born = insert(3, json!({"name": "C"}));
    born["spaceId"] = json!("home");
    push(&mut browser, vec![born]).await;
    assert_eq!(world.authors().await, ["anna:B"]);
    assert_eq!(world.failures("anna").await, Vec::<String>::new());
}

#[tokio::test]
async fn a_record_that_has_moved_is_still_deleted_when_that_is_retried() {
    let world = World::usual().await;
    let mut browser = browser(&world, "anna");
    browser.grant("home", Some(Role::Writer)).await;
    push(&mut browser, vec![insert(1, json!({"name": "A"}))]).await;
    let sql = format!(
        "insert into business.posts (user_id, id, author_id) values ('anna', '{}', '{}')",
        id(9),
        id(1)
    );
    world.alter(&sql).await;
    let mut moving = update(1, "name", &json!("A2"), 30);
    moving["spaceId"] = json!("home");
    push(&mut browser, vec![moving]).await;
    assert_eq!(world.authors().await, ["anna:A"]);
    let failure = world.listed("anna").await.remove(0);
    assert_eq!(failure.op, "DELETE");
    world.alter("delete from business.posts").await;
    let version = failure.attempted_version;
    assert_eq!(
        world.retry("anna", failure.id).await,
        done("applied", version, None)
    );
    assert_eq!(world.authors().await, Vec::<String>::new());
    assert_eq!(world.failures("anna").await, Vec::<String>::new());
}
