//! Business tables that take longer than a statement may.

use serde_json::json;
use sync_store::{Retried, Retry, Store};

use super::device::{Phone, delete, put};
use super::support::{TABLES, World, described, id};
use crate::support::{NOW, user};

/// A trigger that counts, and fails with the code of a statement whose time is up; `$WHEN` says of what and when.
const SLOW: &str = "
create sequence business.tries;
grant usage on sequence business.tries to sync_app;
create function business.slow() returns trigger language plpgsql as
    $$ begin perform nextval('business.tries'); raise 'too slow' using errcode = '57014'; end $$;
create constraint trigger slow $WHEN for each row execute function business.slow();";

const TOO_SLOW: &str = "PostgreSQL says 57014: too slow";

async fn world(when: &str) -> (World, Phone) {
    let sql = format!("{TABLES}{}", SLOW.replace("$WHEN", when));
    let world = World::new(&sql, described(), Vec::new()).await;
    let phone = world.phone("anna", "phone");
    (world, phone)
}

async fn tries(world: &World) -> Vec<String> {
    world
        .texts("select last_value::text from business.tries")
        .await
}

fn users_and_a_post() -> Vec<serde_json::Value> {
    let mut rows: Vec<_> = (1..=5)
        .map(|number| put("users", number, 0, json!({"name": "A"})))
        .collect();
    rows.push(put("posts", 9, 0, json!({"title": "T"})));
    rows
}

#[tokio::test]
async fn a_table_that_is_always_slow_costs_an_upload_one_attempt_and_no_other_table() {
    let (world, mut phone) = world("after insert on business.users").await;
    assert_eq!(phone.upload(users_and_a_post()).await, ["applied v1"; 6]);
    assert_eq!(tries(&world).await, ["1"]);
    assert_eq!(world.posts().await, ["anna:T"]);
    let expected: Vec<String> = (1..=5)
        .map(|number| format!("users {number} v1 r0: {TOO_SLOW}"))
        .collect();
    assert_eq!(world.failures("anna").await, expected);
    // So does a retry.
    let retry = |id| Retry {
        user: user("anna"),
        id,
        now: NOW,
    };
    let failure = world.listed("anna").await.remove(0).id;
    let answer = world.store.retry(retry(failure)).await.unwrap();
    assert!(
        matches!(&answer, Retried::Done(told) if told.status == "materialize_error"),
        "{answer:?}"
    );
    world.alter("drop trigger slow on business.users").await;
    for failure in world.listed("anna").await {
        let answer = world.store.retry(retry(failure.id)).await.unwrap();
        assert!(
            matches!(&answer, Retried::Done(told) if told.status == "applied"),
            "{answer:?}"
        );
    }
    assert_eq!(world.authors().await.len(), 5);
    assert_eq!(world.failures("anna").await, Vec::<String>::new());
}

#[tokio::test]
async fn what_is_slow_when_it_is_checked_is_found_by_one_row_more() {
    let when = "after insert on business.users deferrable initially deferred";
    let (world, mut phone) = world(when).await;
    assert_eq!(phone.upload(users_and_a_post()).await, ["applied v1"; 6]);
    assert_eq!(tries(&world).await, ["2"]);
    assert_eq!(world.posts().await, ["anna:T"]);
    assert_eq!(world.listed("anna").await.len(), 5);
}

#[tokio::test]
async fn deletes_are_not_slow_because_inserts_are() {
    let (world, mut phone) = world("after insert on business.users").await;
    let sql = format!(
        "alter table business.users disable trigger slow; insert into business.users (user_id, id, name) values ('anna', '{}', 'A'); alter table business.users enable trigger slow",
        id(1)
    );
    world.alter(&sql).await;
    phone
        .applies(vec![put("users", 1, 0, json!({"name": "A"}))])
        .await;
    assert_eq!(world.failures("anna").await, Vec::<String>::new());
    let rows = vec![
        put("users", 2, 0, json!({"name": "B"})),
        delete("users", 1, 1),
    ];
    assert_eq!(phone.upload(rows).await, ["applied v1", "applied v2"]);
    assert_eq!(world.authors().await, Vec::<String>::new());
    assert_eq!(
        world.failures("anna").await,
        [format!("users 2 v1 r0: {TOO_SLOW}")]
    );
}
