//! The schema's history, and what `check` says.

use sync_store::StoreError;
use sync_store_postgres::{PostgresStore, migrate};

use crate::support::Database;

const ALL: [&str; 8] = [
    "0001_roles",
    "0002_log",
    "0003_walls",
    "0004_spaces",
    "0005_erase",
    "0006_import",
    "0007_rows",
    "0008_failures",
];

fn fault(error: StoreError) -> String {
    match error {
        StoreError::Fault(text) => text,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn migrations_are_applied_once() {
    let database = Database::empty().await;
    let error = PostgresStore::connect(database.config()).await.unwrap_err();
    assert_eq!(
        fault(error),
        "the database has 0 of 8 migrations: run `sync-server migrate`"
    );
    assert_eq!(migrate(&database.config()).await.unwrap(), ALL);
    assert_eq!(
        migrate(&database.config()).await.unwrap(),
        Vec::<String>::new()
    );
    database.store().await;
}

#[tokio::test]
async fn several_servers_may_migrate_at_once() {
    let (one, two) = (Database::empty().await, Database::empty().await);
    let (one, two) = (one.config(), two.config());
    let (a, b, c, d) = tokio::join!(migrate(&one), migrate(&one), migrate(&two), migrate(&two));
    let mut first = [a.unwrap(), b.unwrap()].concat();
    let mut second = [c.unwrap(), d.unwrap()].concat();
    first.sort_unstable();
    second.sort_unstable();
    assert_eq!(
        (first, second),
        (
            ALL.map(str::to_owned).to_vec(),
            ALL.map(str::to_owned).to_vec()
        )
    );
}

#[tokio::test]
async fn an_edited_migration_and_a_newer_schema_are_refused() {
    let database = Database::migrated().await;
    let raw = database.raw().await;
    raw.batch_execute(
        "insert into sync_migrations (version, name, digest) values (9, 'later', '')",
    )
    .await
    .unwrap();
    let newer = PostgresStore::connect(database.config()).await.unwrap_err();
    assert_eq!(
        fault(newer),
        "the database has migration 9, which is newer than this server: run a newer server"
    );
    raw.batch_execute("delete from sync_migrations where version = 9; update sync_migrations set digest = 'x' where version = 2")
        .await
        .unwrap();
    for error in [
        PostgresStore::connect(database.config()).await.unwrap_err(),
        migrate(&database.config()).await.unwrap_err(),
    ] {
        assert_eq!(
            fault(error),
            "migration 2 of the database is not the 0002_log of this server"
        );
    }
}

#[tokio::test]
async fn check_tells_what_works_and_what_does_not() {
    let database = Database::migrated().await;
    let report = database.report().await;
    let (expected, told): (Vec<_>, Vec<_>) = (
        vec![
            "ok: the database takes writes",
            "ok: the schema is at version 8",
            "ok: role sync_app cannot log in, owns no table and is held by row-level security",
            "ok: role sync_maintenance cannot log in, owns no table and is held by row-level security",
            "ok: row-level security is enabled and forced",
            "ok: the server acts in both roles",
        ],
        report.iter().map(String::as_str).collect(),
    );
    let missing: Vec<_> = expected
        .iter()
        .filter(|line| !told.contains(line))
        .collect();
    assert_eq!(missing, Vec::<&&str>::new(), "{report:#?}");
    assert!(
        report
            .last()
            .unwrap()
            .starts_with("ok: the clock gives positions"),
        "{report:#?}"
    );
    let raw = database.raw().await;
    raw.batch_execute("alter table sync_grants no force row level security")
        .await
        .unwrap();
    let report = database.report().await;
    let fault = "fault: row-level security is not in force on sync_grants".to_owned();
    assert!(report.contains(&fault), "{report:#?}");
}
