//! What goes wrong beside the store: the database away, a lock not to be had, a client gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sync_store::{Loaded, MAX_LOAD_BYTES, Pushed, Store, StoreError, personal};
use sync_store_postgres::{Config, Fate, PostgresStore, migrate};
use test_postgres::{Instance, Options};
use tokio::sync::Notify;

use crate::support::{Database, connect, ids, insert, pull, push, random, user};
use crate::wire::Wire;

fn one(id: &str) -> String {
    format!("[{}]", insert(id, "x"))
}

/// The processes of the database that serve the pool: those that have spoken for a user.
async fn processes(database: &Database) -> Vec<i32> {
    let rows = database
        .raw()
        .await
        .query(
            "select pid
             from pg_stat_activity
             where datname = current_database()
                 and application_name = 'sync-server'
                 and query not like '%sync_clock%'
             order by pid",
            &[],
        )
        .await
        .unwrap();
    rows.iter().map(|row| row.get(0)).collect()
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

#[tokio::test]
async fn a_push_that_the_database_asks_to_repeat_is_repeated() {
    let database = Database::migrated().await;
    let store = database.store().await;
    let raw = database.raw().await;
    // A sequence counts on when a transaction is rolled back.
    raw.batch_execute(
        "create sequence tries;
         create function ask_twice() returns trigger language plpgsql security definer as $$
         declare
             try bigint := nextval('public.tries');
         begin
             if try = 1 then
                 raise exception 'a deadlock' using errcode = '40P01';
             elsif try = 2 then
                 raise exception 'a failure to serialize' using errcode = '40001';
             end if;
             return null;
         end
         $$;
         create trigger ask_twice after insert on sync_changes execute function ask_twice()",
    )
    .await
    .unwrap();
    let pushed = store
        .push(push("anna", "phone", "", &one("t1")))
        .await
        .unwrap();
    assert_eq!(pushed.appended, 1);
    let tries = raw.query_one("select last_value from tries", &[]).await;
    assert_eq!(tries.unwrap().get::<_, i64>(0), 3);
    let answer = store.pull(pull("anna", "laptop", "")).await.unwrap();
    assert_eq!(ids(&answer), ["t1"]);
}

#[tokio::test]
async fn a_database_that_is_away_for_a_restore_is_unavailable_until_it_is_back() {
    let database = Database::migrated().await;
    let store = database.store().await;
    let admin = connect(&test_postgres::shared_url()).await;
    let url = database.url();
    let (_, name) = url.rsplit_once('/').unwrap();
    let rename = |from: String, to: String| format!("alter database {from} rename to {to}");
    let aside = format!("{name}_aside");
    admin
        .batch_execute(&rename(name.to_owned(), aside.clone()))
        .await
        .unwrap();
    let pushed = store.push(push("anna", "phone", "", &one("t1"))).await;
    let connected = PostgresStore::connect(database.config()).await;
    admin
        .batch_execute(&rename(aside, name.to_owned()))
        .await
        .unwrap();
    assert!(is_unavailable(pushed));
    assert!(matches!(connected, Err(StoreError::Unavailable(_))));
    store
        .push(push("anna", "phone", "", &one("t1")))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_password_that_was_changed_is_unavailable_until_it_is_the_same_again() {
    let other = Database::migrated().await;
    let admin = other.raw().await;
    let owner = format!("sync_owner_{:016x}", random());
    let database = Database::owned_by(&owner).await;
    admin
        .batch_execute(&format!("grant sync_app, sync_maintenance to {owner}"))
        .await
        .unwrap();
    migrate(&database.config()).await.unwrap();
    let store = database.store().await;
    let set = |password: &str| format!("alter role {owner} password '{password}'");
    admin.batch_execute(&set("rotated")).await.unwrap();
    let pushed = store.push(push("anna", "phone", "", &one("t1"))).await;
    assert!(is_unavailable(pushed));
    admin.batch_execute(&set("owner")).await.unwrap();
    store
        .push(push("anna", "phone", "", &one("t1")))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_server_whose_name_is_not_resolved_is_unavailable() {
    let config = Config::new("postgresql://anna:x@nowhere.invalid/sync");
    let connected = PostgresStore::connect(config).await;
    assert!(matches!(connected, Err(StoreError::Unavailable(_))));
}

#[tokio::test]
async fn a_push_for_too_much_data_is_refused_before_the_data_is_fetched() {
    let database = Database::migrated().await;
    let wire = Wire::to(&database.url()).await;
    let config = Config {
        pool_size: 1,
        ..Config::new(wire.url(&database.url()))
    };
    let store = PostgresStore::connect(config).await.unwrap();
    store
        .push(push("anna", "phone", "", &one("t1")))
        .await
        .unwrap();
    let raw = database.raw().await;
    raw.execute(
        "update sync_changes set data = '{\"title\":\"' || repeat('x', $1) || '\"}'",
        &[&i32::try_from(MAX_LOAD_BYTES).unwrap()],
    )
    .await
    .unwrap();
    let before = processes(&database).await;
    let update = r#"[{"table":"tasks","id":"t1","op":"update","fields":{"note":{"value":"x","at":"2025-01-01T10:00:00Z"}}}]"#;
    let pushed = store.push(push("anna", "phone", "", update)).await;
    assert_eq!(pushed, Err(Loaded::too_large()));
    let heard = wire.heard();
    assert!(heard < 1024 * 1024, "{heard} bytes were fetched");
    // The same connection goes on.
    store
        .push(push("anna", "phone", "", &one("t2")))
        .await
        .unwrap();
    assert_eq!(processes(&database).await, before);
}
