//! Failures that are retried.

use sync_protocol::rows::RetryAnswer;
use sync_store::{Retried, Retry, Store};

use super::support::{World, id, into, row, tables};
use crate::support::{NOW, push, user};

impl World {
    async fn retry(&self, name: &str, id: i64) -> Retried {
        let retry = Retry {
            user: user(name),
            id,
            now: NOW,
        };
        self.store.retry(retry).await.unwrap()
    }

    /// Writes a record by the changes dialect, which so far writes no business table.
    async fn push(&self, number: u32, fields: &str) {
        let id = id(number);
        let change =
            format!(r#"[{{"table":"users","id":"{id}","op":"update","fields":{fields}}}]"#);
        let mut push = push("anna", "phone", "", &change);
        push.app = sync_protocol::AppId::new("business").unwrap();
        self.store.push(push).await.unwrap();
    }
}

fn field(name: &str, value: &str, day: u32) -> String {
    format!(r#"{{"{name}":{{"value":{value},"updatedAt":"2025-01-{day:02}T10:00:00Z"}}}}"#)
}

fn done(status: &str, version: i64, message: Option<&str>) -> Retried {
    Retried::Done(RetryAnswer {
        source_change_id: 0,
        status: status.to_owned(),
        new_server_version: version,
        message: message.map(str::to_owned),
    })
}

const NULL_NAME: &str = "PostgreSQL says 23502: null value in column \"name\" of relation \"users\" violates not-null constraint";

/// A world with one failure of Anna's, of a record that is there.
async fn failing() -> (World, i64) {
    let world = World::usual().await;
    world.push(1, &field("name", "null", 1)).await;
    world
        .write("anna", &[row("users", 1, 1, r#"{"name":null}"#)])
        .await;
    let id = world.listed("anna").await[0].id;
    (world, id)
}

#[tokio::test]
async fn a_retry_that_fails_again_is_counted() {
    let (world, id) = failing().await;
    for count in 1..3 {
        let answer = world.retry("anna", id).await;
        assert_eq!(answer, done("materialize_error", 1, Some(NULL_NAME)));
        let failures = world.failures("anna").await;
        assert_eq!(failures, [format!("users 1 v1 r{count}: {NULL_NAME}")]);
    }
}

#[tokio::test]
async fn a_retry_writes_the_row_as_it_is_now() {
    let (world, id) = failing().await;
    world.push(1, &field("name", r#""A""#, 2)).await;
    assert_eq!(world.retry("anna", id).await, done("applied", 2, None));
    assert_eq!(world.authors().await, ["anna:A"]);
    assert_eq!(world.failures("anna").await, Vec::<String>::new());
    assert_eq!(world.retry("anna", id).await, Retried::Unknown);
}

#[tokio::test]
async fn a_retry_deletes_what_is_deleted_now() {
    let (world, id) = failing().await;
    let sql = "insert into business.users (user_id, id, name) values ('anna', '00000000-0000-4000-8000-000000000001', 'old')";
    world.raw.batch_execute(sql).await.unwrap();
    world
        .push(1, &field("deletedAt", r#""2025-01-02T10:00:00Z""#, 2))
        .await;
    assert_eq!(world.retry("anna", id).await, done("applied", 2, None));
    assert_eq!(world.authors().await, Vec::<String>::new());
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
    assert_eq!(answer, done("materialize_error", 1, Some(NULL_NAME)));
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
