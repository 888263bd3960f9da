//! What is left in the tables of a user who was erased: nothing, whoever writes meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sync_protocol::Audience;
use sync_store::{Erased, Erasure, Role, Store};
use tokio_postgres::Client;

use crate::support::{Database, NOW, grant, ids, insert, pull, push, user};

const NAME: &str = "anna-who-is-to-be-forgotten";

/// Everything in the tables that has this text in it.
async fn found(raw: &Client, text: &str) -> Vec<String> {
    let tables = raw
        .query(
            "select tablename::text from pg_tables where schemaname = 'public'",
            &[],
        )
        .await
        .unwrap();
    let mut found = Vec::new();
    for table in tables {
        let table: &str = table.get(0);
        let sql =
            format!("select kept::text from {table} as kept where strpos(kept::text, $1) > 0");
        let rows = raw.query(&sql, &[&text]).await.unwrap();
        found.extend(
            rows.iter()
                .map(|row| format!("{table}: {}", row.get::<_, &str>(0))),
        );
    }
    found
}

async fn erase(store: &dyn Store, of: Audience) -> Erased {
    let erasure = Erasure::new(of, 7, NOW);
    sync_store::erase(store, erasure, |_| {}).await.unwrap()
}

/// A user with rows, claims and what was kept aside, alone and in a space.
async fn write_everywhere(store: &dyn Store, round: usize) {
    let ahead = |id: &str, space: &str| {
        format!(
            r#"{{"table":"tasks","id":"{id}","op":"update","actor":{{"id":"{NAME}"}},{space}
                "fields":{{"title":{{"value":{round},"at":"2027-01-01T00:00:00Z"}}}}}}"#
        )
    };
    let changes = [
        insert(&format!("own-{round}"), "x"),
        ahead("own", ""),
        ahead("shared", r#""spaceId":"club","#),
        ahead(&format!("shared-{round}"), r#""spaceId":"club","#),
        r#"{"table":"tasks","id":"a\u0001","op":"insert","data":{}}"#.to_owned(),
    ];
    let changes = format!("[{}]", changes.join(","));
    store.push(push(NAME, "phone", "", &changes)).await.unwrap();
}

#[tokio::test]
async fn nothing_in_the_database_names_an_erased_user() {
    let database = Database::migrated().await;
    let store = database.store().await;
    let roles = [(NAME, Role::Writer), ("ben", Role::Writer)];
    grant(&*store, "club", &roles).await;
    grant(&*store, "left", &roles[..1]).await;
    write_everywhere(&*store, 0).await;
    write_everywhere(&*store, 1).await;
    let theirs = format!(
        r#"[{{"table":"tasks","id":"shared","op":"update","spaceId":"club",
            "fields":{{"title":{{"value":"ben's","at":"2025-01-01T00:00:00Z"}}}}}},{}]"#,
        insert("bens", "x")
    );
    store
        .push(push("ben", "tablet", "", &theirs))
        .await
        .unwrap();
    sync_store::contract::grant(&*store, NAME, "left", None, NOW).await;
    let raw = database.raw().await;
    assert!(found(&raw, NAME).await.len() > 10);
    let before = ids(&store.pull(pull("ben", "new", "")).await.unwrap());
    let erased = erase(&*store, Audience::User(user(NAME))).await;
    assert_eq!(found(&raw, NAME).await, Vec::<String>::new());
    assert_eq!((erased.grants, erased.parked), (2, 1));
    assert!(erased.claims > 0 && erased.renamed > 0, "{erased:?}");
    let after = ids(&store.pull(pull("ben", "new", "")).await.unwrap());
    assert_eq!(after, before);
}

#[tokio::test]
async fn a_user_who_writes_while_being_erased_is_whole_afterwards() {
    let database = Database::migrated().await;
    let store = database.store().await;
    grant(
        &*store,
        "club",
        &[(NAME, Role::Writer), ("ben", Role::Writer)],
    )
    .await;
    for round in 0..20 {
        write_everywhere(&*store, round).await;
    }
    let is_over = Arc::new(AtomicBool::new(false));
    let (pusher, over) = (database.store().await, is_over.clone());
    let pushing = tokio::spawn(async move {
        let mut round = 100;
        while !over.load(Ordering::SeqCst) {
            write_everywhere(&*pusher, round).await;
            round += 1;
        }
    });
    for _ in 0..3 {
        erase(&*store, Audience::User(user(NAME))).await;
    }
    is_over.store(true, Ordering::SeqCst);
    pushing.await.unwrap();
    // Each record has its rows, and each live row its record.
    let raw = database.raw().await;
    let torn = raw
        .query(
            "select record.record_id
             from sync_records as record, unnest(record.rows) as held (position)
             left join sync_changes as change using (position)
             where change.dead_since is not null or change.scope is distinct from record.scope
             union all
             select change.record_id
             from sync_changes as change
             where change.dead_since is null
                 and not exists (
                     select
                     from sync_records as record
                     where record.scope = change.scope and change.position = any(record.rows)
                 )",
            &[],
        )
        .await
        .unwrap();
    assert_eq!(torn.len(), 0);
    write_everywhere(&*store, 1000).await;
    erase(&*store, Audience::User(user(NAME))).await;
    assert_eq!(found(&raw, NAME).await, Vec::<String>::new());
    let left = store.pull(pull("ben", "new", "")).await.unwrap();
    assert!(ids(&left).len() >= 21, "what is shared stays");
}

#[tokio::test]
async fn nothing_is_left_of_an_erased_space_but_its_name() {
    let database = Database::migrated().await;
    let store = database.store().await;
    grant(
        &*store,
        "club",
        &[(NAME, Role::Writer), ("ben", Role::Writer)],
    )
    .await;
    for round in 0..5 {
        write_everywhere(&*store, round).await;
    }
    erase(&*store, Audience::Space(crate::support::space("club"))).await;
    let raw = database.raw().await;
    let left = found(&raw, "s:club").await;
    assert_eq!(left, Vec::<String>::new());
    let answer = store.pull(pull(NAME, "phone", "")).await.unwrap();
    assert_eq!(answer.removed_spaces, [crate::support::space("club")]);
}
