//! The second wall holds alone: row-level security, with the first one removed.

use sync_store::{Role, Store};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::support::{Database, grant, ids, insert, pull, push, random};

/// A database with a row of Anna's, a row of Ben's, one in their space, grants, and something kept aside for Ben.
async fn inhabited() -> Database {
    let database = Database::migrated().await;
    let store = database.store().await;
    grant(
        &*store,
        "home",
        &[("anna", Role::Writer), ("ben", Role::Writer)],
    )
    .await;
    let parked = r#"[{"table":"tasks","id":"a\u0001","op":"insert","data":{}}]"#;
    for (name, changes) in [
        ("anna", format!("[{}]", insert("annas", "x"))),
        ("ben", format!("[{}]", insert("bens", "x"))),
        (
            "ben",
            r#"[{"table":"tasks","id":"shared","op":"insert","data":{"spaceId":"home"}}]"#
                .to_owned(),
        ),
        ("ben", parked.to_owned()),
    ] {
        store.push(push(name, "phone", "", &changes)).await.unwrap();
    }
    database
}

/// A transaction in the runtime role with these settings, past the store.
async fn enter(client: &Client, settings: &[(&str, &str)]) {
    client
        .batch_execute("begin; set local role sync_app")
        .await
        .unwrap();
    for (name, value) in settings {
        client
            .execute("select set_config($1, $2, true)", &[name, value])
            .await
            .unwrap();
    }
}

/// What a query of one text column finds.
async fn texts(client: &Client, sql: &str) -> Vec<String> {
    let rows = client.query(sql, &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

const EVERYTHING: &str = "select record_id from sync_changes
    union all select 'record ' || record_id from sync_records
    union all select 'grant ' || user_id from sync_grants
    union all select 'parked ' || user_id from sync_parked
    order by 1";

#[tokio::test]
async fn a_transaction_sees_what_its_settings_give_and_nothing_else() {
    let database = inhabited().await;
    let raw = database.raw().await;
    enter(&raw, &[("sync.user", "anna"), ("sync.scopes", "{u:anna}")]).await;
    assert_eq!(
        texts(&raw, EVERYTHING).await,
        ["annas", "grant anna", "record annas"]
    );
    raw.batch_execute("rollback").await.unwrap();
    enter(
        &raw,
        &[("sync.user", "ben"), ("sync.scopes", "{u:ben,s:home}")],
    )
    .await;
    assert_eq!(
        texts(&raw, EVERYTHING).await,
        [
            "bens",
            "grant ben",
            "parked ben",
            "record bens",
            "record shared",
            "shared"
        ]
    );
}

#[tokio::test]
async fn settings_that_are_missing_empty_or_over_match_nothing() {
    let database = inhabited().await;
    let raw = database.raw().await;
    let nothing: [&[(&str, &str)]; 4] = [
        &[],
        &[("sync.user", ""), ("sync.scopes", "")],
        &[("sync.scopes", "{}")],
        &[("sync.scopes", "{NULL,u:}"), ("sync.user", "'")],
    ];
    for settings in nothing {
        enter(&raw, settings).await;
        assert_eq!(
            texts(&raw, EVERYTHING).await,
            Vec::<String>::new(),
            "{settings:?}"
        );
        raw.batch_execute("commit").await.unwrap();
    }
    enter(&raw, &[("sync.user", "anna"), ("sync.scopes", "{u:anna}")]).await;
    raw.batch_execute("commit; set role sync_app")
        .await
        .unwrap();
    assert_eq!(texts(&raw, EVERYTHING).await, Vec::<String>::new());
}

#[tokio::test]
async fn nothing_is_written_into_a_scope_that_the_settings_do_not_give() {
    let database = inhabited().await;
    let raw = database.raw().await;
    let settings = [
        ("sync.user", "anna"),
        ("sync.scopes", "{u:anna,u:ben}"),
        ("sync.writable", "{u:anna}"),
    ];
    let refused = [
        "insert into sync_changes (position, created_at, id, schema_version, size, opens, to_everyone, undated, scope,
             app_id, table_name, record_id, user_id, client_id, op, data, field_timestamps)
         values (1, now(), gen_random_uuid(), 1, 1, true, false, false, 'u:ben', 'app', 't', 'r', 'anna', 'c', 'insert',
             '{}', '{}')",
        "insert into sync_records (version, scope, app_id, table_name, record_id, rows, state)
         values (1, 'u:ben', 'app', 't', 'r', '{}', '{}')",
        "insert into sync_records (version, scope, app_id, table_name, record_id, rows, state)
         values (1, 'u:ben', 'app', 'tasks', 'bens', '{}', '{}')
         on conflict (scope, app_id, table_name, record_id) do update set state = 'x'",
        "insert into sync_parked (user_id, app_id, digest, raw, reason, size, created_at)
         values ('ben', 'app', '', '', '', 0, now())",
        "insert into sync_grants (user_id, space_id, role, position) values ('anna', 'other', 'writer', 1)",
        "delete from sync_changes",
        "update sync_clock set last = 0",
        "update sync_changes set scope = 'u:ben' where scope = 'u:anna'",
    ];
    for sql in refused {
        enter(&raw, &settings).await;
        let error = raw.batch_execute(sql).await.expect_err(sql);
        assert_eq!(
            error.code(),
            Some(&SqlState::INSUFFICIENT_PRIVILEGE),
            "{sql}"
        );
        raw.batch_execute("rollback").await.unwrap();
    }
    enter(&raw, &settings).await;
    for sql in [
        "update sync_changes set dead_since = now() where scope = 'u:ben'",
        "update sync_records set state = '' where scope = 'u:ben'",
        "delete from sync_parked where user_id = 'ben'",
    ] {
        assert_eq!(raw.execute(sql, &[]).await.unwrap(), 0, "{sql}");
    }
}

#[tokio::test]
async fn a_connection_goes_back_to_the_pool_clean() {
    let database = inhabited().await;
    let store = database.store().await;
    store
        .push(push(
            "anna",
            "phone",
            "",
            &format!("[{}]", insert("more", "x")),
        ))
        .await
        .unwrap();
    store.pull(pull("ben", "laptop", "")).await.unwrap();
    sync_store::contract::grant(&*store, "anna", "home", None, crate::support::NOW).await;
    let raw = database.raw().await;
    let left = texts(
        &raw,
        "select 'busy: ' || state || ' ' || query
         from pg_stat_activity
         where datname = current_database() and pid <> pg_backend_pid() and state <> 'idle'
         union all
         select 'lock: ' || objid
         from pg_locks
         where locktype = 'advisory'
             and database = (select oid from pg_database where datname = current_database())",
    )
    .await;
    assert_eq!(left, Vec::<String>::new());
    let before = ids(&store.pull(pull("carl", "x", "")).await.unwrap());
    assert_eq!(before, Vec::<String>::new());
}

#[tokio::test]
async fn a_server_that_owns_the_tables_and_is_no_superuser_works_and_is_held_by_the_wall() {
    // The roles are there, as an operator would have made them.
    let other = Database::migrated().await;
    let admin = other.raw().await;
    let owner = format!("sync_owner_{:016x}", random());
    let database = Database::owned_by(&owner).await;
    let membership = format!("sync_app, sync_maintenance to {owner}");
    admin
        .batch_execute(&format!("grant {membership}"))
        .await
        .unwrap();
    let applied = sync_store_postgres::migrate(&database.config())
        .await
        .unwrap();
    assert_eq!(
        applied,
        [
            "0001_roles",
            "0002_log",
            "0003_walls",
            "0004_spaces",
            "0005_erase",
            "0006_import",
            "0007_rows",
            "0008_failures"
        ]
    );
    let store = database.store().await;
    grant(&*store, "home", &[("anna", Role::Writer)]).await;
    let change = format!(
        r#"[{},{{"table":"tasks","id":"t2","op":"insert","data":{{"spaceId":"home"}}}}]"#,
        insert("t1", "x")
    );
    store
        .push(push("anna", "phone", "", &change))
        .await
        .unwrap();
    let answer = store
        .pull(pull("anna", "laptop", "2200-01-01T00:00:00Z"))
        .await
        .unwrap();
    assert_eq!(ids(&answer), Vec::<String>::new());
    let answer = store.pull(pull("anna", "laptop", "")).await.unwrap();
    assert_eq!(ids(&answer), ["t1", "t2"]);
    store.sweep(crate::support::NOW).await.unwrap();
    store.stats().await.unwrap();
    let report = database.report().await;
    let faults: Vec<_> = report
        .iter()
        .filter(|line| line.starts_with("fault") && !line.contains("fsync"))
        .collect();
    assert_eq!(faults, Vec::<&String>::new());
    // The owner has the rights of its roles by membership. Without them it sees nothing of its own tables.
    let membership = membership.replace(" to ", " from ");
    admin
        .batch_execute(&format!("revoke {membership}"))
        .await
        .unwrap();
    let as_owner = database.raw().await;
    assert_eq!(texts(&as_owner, EVERYTHING).await, Vec::<String>::new());
}
