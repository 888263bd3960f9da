//! What goes wrong beside the store: the database away, a lock not to be had, a client gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sync_store::{Pushed, Store, StoreError, personal};
use sync_store_postgres::{Config, Fate, PostgresStore, migrate};
use test_postgres::{Instance, Options};
use tokio::sync::Notify;

use crate::support::{Database, ids, insert, pull, push, user};

fn one(id: &str) -> String {
    format!("[{}]", insert(id, "x"))
}

fn is_unavailable(outcome: Result<Pushed, StoreError>) -> bool {
    matches!(outcome, Err(StoreError::Unavailable(_)))
}

#[tokio::test]
async fn the_store_goes_on_when_a_killed_database_is_back() {
    let mut instance = Instance::start(Options::default()).unwrap();
    let config = Config::new(instance.url());
    migrate(&config).await.unwrap();
    let store = PostgresStore::connect(config).await.unwrap();
    store
        .push(push("anna", "phone", "", &one("t1")))
        .await
        .unwrap();
    instance.kill_hard().unwrap();
    assert!(is_unavailable(
        store.push(push("anna", "phone", "", &one("t2"))).await
    ));
    assert!(is_unavailable(
        store.push(push("anna", "phone", "", &one("t2"))).await
    ));
    assert!(matches!(
        store.ready().await,
        Err(StoreError::Unavailable(_))
    ));
    assert!(matches!(
        store.pull(pull("anna", "laptop", "")).await,
        Err(StoreError::Unavailable(_))
    ));
    instance.restart().unwrap();
    store.ready().await.unwrap();
    store
        .push(push("anna", "phone", "", &one("t3")))
        .await
        .unwrap();
    let answer = store.pull(pull("anna", "laptop", "")).await.unwrap();
    assert_eq!(ids(&answer), ["t1", "t3"]);
}

/// A store whose first push stops before its commit, and what tells when it has.
async fn store_that_stops_once(database: &Database) -> (Arc<PostgresStore>, Arc<Notify>) {
    let stopped = Arc::new(Notify::new());
    let (count, notify) = (Arc::new(AtomicUsize::new(0)), stopped.clone());
    let config = Config {
        before_commit: Some(Arc::new(move || {
            let is_first = count.fetch_add(1, Ordering::SeqCst) == 0;
            let notify = notify.clone();
            Box::pin(async move {
                if is_first {
                    notify.notify_one();
                    std::future::pending::<()>().await;
                }
                Fate::Commit
            })
        })),
        ..database.config()
    };
    let store = PostgresStore::connect(config).await.unwrap();
    (Arc::new(store), stopped)
}

#[tokio::test]
async fn an_abandoned_push_leaves_no_transaction_and_no_lock() {
    let database = Database::migrated().await;
    let (store, stopped) = store_that_stops_once(&database).await;
    let abandoned = tokio::spawn({
        let store = store.clone();
        async move { store.push(push("anna", "phone", "", &one("t1"))).await }
    });
    stopped.notified().await;
    assert_eq!(store.stats().await.unwrap().pool_size, 2);
    abandoned.abort();
    assert!(abandoned.await.unwrap_err().is_cancelled());
    // It is the same user: this one waits for the lock of the other, unless that is gone.
    store
        .push(push("anna", "phone", "", &one("t2")))
        .await
        .unwrap();
    let answer = store.pull(pull("anna", "laptop", "")).await.unwrap();
    assert_eq!(ids(&answer), ["t2"]);
    let stats = store.stats().await.unwrap();
    assert_eq!((stats.pool_size, stats.pool_waiting), (1, 0));
}

#[tokio::test]
async fn a_push_that_is_rolled_back_leaves_nothing_and_its_connection_serves_on() {
    let database = Database::migrated().await;
    let config = Config {
        pool_size: 1,
        before_commit: Some(Arc::new(|| Box::pin(async { Fate::RollBack }))),
        ..database.config()
    };
    let store = PostgresStore::connect(config).await.unwrap();
    for _ in 0..3 {
        assert!(is_unavailable(
            store.push(push("anna", "phone", "", &one("t1"))).await
        ));
    }
    let answer = store.pull(pull("anna", "laptop", "")).await.unwrap();
    assert_eq!(ids(&answer), Vec::<String>::new());
    assert_eq!(store.stats().await.unwrap().pool_size, 1);
}

#[tokio::test]
async fn a_lock_and_a_connection_that_are_not_to_be_had_are_unavailable_for_the_moment() {
    let database = Database::migrated().await;
    let config = Config {
        pool_size: 1,
        ..database.config()
    };
    let store = PostgresStore::connect(config).await.unwrap();
    let raw = database.raw().await;
    let key = personal(&user("anna")).lock_key();
    raw.execute("select pg_advisory_lock($1)", &[&key])
        .await
        .unwrap();
    let (waits_for_lock, waits_for_connection) =
        tokio::join!(store.push(push("anna", "phone", "", &one("t1"))), async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            tokio::time::timeout(
                Duration::from_secs(3),
                store.push(push("ben", "phone", "", &one("t1"))),
            )
            .await
        });
    assert!(is_unavailable(waits_for_lock));
    // Nobody else was served on the only connection in the meantime, and the one that gave up left its place.
    assert!(waits_for_connection.is_err());
    raw.execute("select pg_advisory_unlock($1)", &[&key])
        .await
        .unwrap();
    store
        .push(push("anna", "phone", "", &one("t1")))
        .await
        .unwrap();
    assert_eq!(store.stats().await.unwrap().pool_size, 1);
}

#[tokio::test]
async fn a_store_whose_connections_were_ended_serves_on() {
    let database = Database::migrated().await;
    let store = database.store().await;
    store
        .push(push("anna", "phone", "", &one("t1")))
        .await
        .unwrap();
    let raw = database.raw().await;
    raw.batch_execute(
        "select pg_terminate_backend(pid)
         from pg_stat_activity
         where datname = current_database() and pid <> pg_backend_pid()",
    )
    .await
    .unwrap();
    let mut tries = 0;
    while let Err(error) = store.push(push("anna", "phone", "", &one("t2"))).await {
        assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
        tries += 1;
        assert!(tries < 3);
    }
}
