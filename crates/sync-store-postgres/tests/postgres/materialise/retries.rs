//! Failures that are retried.

use serde_json::json;
use sync_protocol::rows::RetryAnswer;
use sync_store::{Retried, Retry, Store};

use super::device::{delete, put};
use super::support::{World, id, into, row, tables};
use crate::support::{NOW, user};

impl World {
    pub(super) async fn retry(&self, name: &str, id: i64) -> Retried {
        let retry = Retry {
            user: user(name),
            id,
            now: NOW,
        };
        self.store.retry(retry).await.unwrap()
    }
}

pub(super) fn done(status: &str, version: i64, message: Option<&str>) -> Retried {
    Retried::Done(RetryAnswer {
        source_change_id: 0,
        status: status.to_owned(),
        new_server_version: version,
        message: message.map(str::to_owned),
    })
}

const POLITE: &str = "alter table business.users add constraint polite check (name <> 'rude')";
const RUDE: &str =
    "PostgreSQL says 23514: new row for relation \"users\" violates check constraint \"polite\"";

/// A world with one failure of Anna's, of a row that is there.
async fn failing() -> (World, i64) {
    let world = World::usual().await;
    world.alter(POLITE).await;
    let mut phone = world.phone("anna", "phone");
    let rude = put("users", 1, 0, json!({"name": "rude"}));
    assert_eq!(phone.upload(vec![rude]).await, ["applied v1"]);
    let id = world.listed("anna").await[0].id;
    (world, id)
}

#[tokio::test]
async fn a_retry_that_fails_again_is_counted() {
    let (world, id) = failing().await;
    for count in 1..3 {
        let answer = world.retry("anna", id).await;
        assert_eq!(answer, done("materialize_error", 1, Some(RUDE)));
        let failures = world.failures("anna").await;
        assert_eq!(failures, [format!("users 1 v1 r{count}: {RUDE}")]);
    }
}

#[tokio::test]
async fn a_retry_succeeds_once_the_business_database_takes_the_row() {
    let (world, id) = failing().await;
    world
        .alter("alter table business.users drop constraint polite")
        .await;
    assert_eq!(world.retry("anna", id).await, done("applied", 1, None));
    assert_eq!(world.authors().await, ["anna:rude"]);
    assert_eq!(world.failures("anna").await, Vec::<String>::new());
    assert_eq!(world.retry("anna", id).await, Retried::Unknown);
}

#[tokio::test]
async fn a_retry_succeeds_once_the_parent_is_there() {
    let (world, parent) = failing().await;
    let mut phone = world.phone("anna", "tablet");
    let post = put("posts", 2, 0, json!({"author_id": id(1), "title": "T"}));
    assert_eq!(phone.upload(vec![post]).await, ["applied v1"]);
    assert_eq!(world.posts().await, Vec::<String>::new());
    let listed = world.listed("anna").await;
    let child = listed.iter().find(|failure| failure.id != parent).unwrap();
    let sql = format!(
        "insert into business.users (user_id, id, name) values ('anna', '{}', 'by hand')",
        id(1)
    );
    world.alter(&sql).await;
    assert_eq!(
        world.retry("anna", child.id).await,
        done("applied", 1, None)
    );
    assert_eq!(world.posts().await, ["anna:T"]);
    assert_eq!(
        world.failures("anna").await,
        [format!("users 1 v1 r0: {RUDE}")]
    );
}

#[tokio::test]
async fn a_retry_deletes_what_is_deleted_now() {
    let world = World::usual().await;
    let mut phone = world.phone("anna", "phone");
    phone
        .applies(vec![put("users", 1, 0, json!({"name": "A"}))])
        .await;
    let sql = format!(
        "insert into business.posts (user_id, id, author_id) values ('anna', '{}', '{}')",
        id(9),
        id(1)
    );
    world.alter(&sql).await;
    assert_eq!(
        phone.upload(vec![delete("users", 1, 1)]).await,
        ["applied v2"]
    );
    assert_eq!(world.authors().await, ["anna:A"]);
    let failure = world.listed("anna").await.remove(0);
    assert_eq!(
        (failure.op.as_str(), failure.attempted_version),
        ("DELETE", 2)
    );
    world.alter("delete from business.posts").await;
    let answer = world.retry("anna", failure.id).await;
    assert_eq!(answer, done("applied", 2, None));
    assert_eq!(world.authors().await, Vec::<String>::new());
    assert_eq!(world.failures("anna").await, Vec::<String>::new());
}

#[tokio::test]
async fn a_failure_without_its_row_is_stale() {
    let world = World::usual().await;
    world
        .write("anna", &[row("users", 1, 7, r#"{"name":null}"#)])
        .await;
    let id = world.listed("anna").await[0].id;
    assert_eq!(
        world.retry("anna", id).await,
        done("applied", 7, Some("failure was stale; removed"))
    );
    assert_eq!(world.failures("anna").await, Vec::<String>::new());
}

#[tokio::test]
async fn nobody_retries_the_failure_of_another_user() {
    let (world, id) = failing().await;
    assert_eq!(world.retry("ben", id).await, Retried::Unknown);
    assert_eq!(world.retry("anna", id + 1).await, Retried::Unknown);
    assert_eq!(world.failures("anna").await.len(), 1);
}

#[tokio::test]
async fn a_failure_that_is_being_retried_is_busy_at_once() {
    let (world, id) = failing().await;
    let other = world.database.raw().await;
    let lock = format!("begin; select from sync_failures where id = {id} for update");
    other.batch_execute(&lock).await.unwrap();
    // A wait for the lock would end in an error.
    assert_eq!(world.retry("anna", id).await, Retried::Busy);
    other.batch_execute("rollback").await.unwrap();
    let answer = world.retry("anna", id).await;
    assert_eq!(answer, done("materialize_error", 1, Some(RUDE)));
}

#[tokio::test]
async fn a_failure_of_a_table_that_nobody_writes_any_more_says_so() {
    let (world, id) = failing().await;
    let config = sync_store_postgres::Config {
        tables: std::sync::Arc::new(tables([into("posts", &[])])),
        ..world.database.config()
    };
    let store = sync_store_postgres::PostgresStore::connect(config)
        .await
        .unwrap();
    let retry = Retry {
        user: user("anna"),
        id,
        now: NOW,
    };
    let (app, table) = super::support::table("users");
    assert_eq!(
        store.retry(retry).await.unwrap(),
        Retried::NoHandler(app, table)
    );
    assert_eq!(world.failures("anna").await.len(), 1);
}
