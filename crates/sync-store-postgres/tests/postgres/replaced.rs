//! The table of the replaced service, read where it stands: in order, whole, in every shape that it has had.

use sync_store::{Mark, ReplacedRow, StoreError};
use sync_store_postgres::ReplacedTable;

use crate::support::{Database, random};

/// As that service made it at first.
const FIRST: &str = "
create table sync_changes (
    id uuid primary key default gen_random_uuid(),
    app_id text not null,
    table_name text not null,
    record_id text not null,
    user_id text not null,
    op text not null check (op in ('insert', 'update', 'delete')),
    data jsonb,
    field_timestamps jsonb default '{}',
    client_id text not null,
    created_at timestamptz not null default now()
)";
/// What it added later.
const LATER: &str = "
alter table sync_changes add column schema_version int not null default 1;
alter table sync_changes add column actor jsonb;
alter table sync_changes add column space_id text";
/// What it kept users apart with.
const WALL: &str = "
alter table sync_changes enable row level security;
alter table sync_changes force row level security;
create policy sync_changes_user_isolation on sync_changes
    using (user_id = current_setting('app.current_user_id', true))
    with check (user_id = current_setting('app.current_user_id', true))";

async fn database(statements: &[&str]) -> Database {
    let database = Database::empty().await;
    let raw = database.raw().await;
    for sql in statements {
        raw.batch_execute(sql).await.unwrap();
    }
    database
}

async fn all(url: &str, after: Option<&Mark>, batch: usize) -> Vec<ReplacedRow> {
    let mut table = ReplacedTable::open(url, after).await.unwrap();
    let mut all = Vec::new();
    loop {
        let rows = table.next(batch).await.unwrap();
        assert!(rows.len() <= batch);
        if rows.is_empty() {
            return all;
        }
        all.extend(rows);
    }
}

async fn fault(url: &str, after: Option<&Mark>) -> String {
    match ReplacedTable::open(url, after).await {
        Err(StoreError::Fault(text)) => text,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was opened"),
    }
}

#[tokio::test]
async fn rows_come_by_time_and_id_from_any_mark_on() {
    let database = database(&[
        FIRST,
        LATER,
        "insert into sync_changes (id, app_id, table_name, record_id, user_id, op, data, client_id, created_at)
         select
             md5(number::text)::uuid, 'todo', 'tasks', number::text, 'anna', 'insert', '{}', 'phone',
             timestamptz '2025-06-01T12:00:00.000001Z' + (number / 7) * interval '1 microsecond'
         from generate_series(1, 1000) as number",
    ])
    .await;
    let rows = all(&database.url(), None, 300).await;
    assert_eq!(rows.len(), 1000);
    let places: Vec<_> = rows
        .iter()
        .map(|row| (row.created_nanos, row.mark.id))
        .collect();
    assert!(places.is_sorted());
    assert_eq!(places[0].0, 1_748_779_200_000_001_000);
    assert_eq!(places[999].0, 1_748_779_200_000_143_000);
    for behind in [0, 5, 500, 998, 999] {
        let mark = Mark::parse(&rows[behind].mark.to_string()).unwrap();
        let rest = all(&database.url(), Some(&mark), 1000).await;
        assert_eq!(rest, rows[behind + 1..], "{behind}");
    }
    let other = Mark {
        created: "2025-06-01 12:00:00+00".to_owned(),
        ..rows[3].mark.clone()
    };
    let text = fault(&database.url(), Some(&other)).await;
    assert!(text.contains("is not in that table"), "{text}");
}

#[tokio::test]
async fn a_row_that_lacks_a_name_is_read_and_one_without_a_place_is_refused() {
    let database = database(&[
        FIRST,
        "alter table sync_changes
             alter column user_id drop not null,
             alter column app_id drop not null,
             alter column table_name drop not null,
             alter column record_id drop not null,
             alter column op drop not null,
             alter column client_id drop not null,
             alter column created_at drop not null",
        "insert into sync_changes default values",
    ])
    .await;
    let row = all(&database.url(), None, 10).await.remove(0);
    let names = [row.user, row.app, row.table, row.record, row.op, row.client];
    assert_eq!(names, [""; 6]);
    let raw = database.raw().await;
    let sql = "insert into sync_changes (created_at) values (null), (null)";
    raw.batch_execute(sql).await.unwrap();
    let text = fault(&database.url(), None).await;
    assert!(text.starts_with("2 rows of the table"), "{text}");
}

#[tokio::test]
async fn a_table_of_any_age_is_read() {
    const VALUES: &str =
        r#"{"a": 1.10, "b": 9007199254740993, "c": [1, {"d": null}], "e": "ä \" x"}"#;
    let insert = format!(
        "insert into sync_changes (id, app_id, table_name, record_id, user_id, op, data, client_id, created_at)
         values ('0194c0ff-ee00-7abc-8def-0123456789ab', 'todo', 'tasks', 't', 'anna', 'insert', '{VALUES}', 'phone',
             '2025-06-01T12:00:00Z')"
    );
    let oldest = database(&[
        FIRST,
        "alter table sync_changes drop column field_timestamps",
        &insert,
    ])
    .await;
    let row = all(&oldest.url(), None, 10).await.remove(0);
    assert_eq!(row.data.as_deref(), Some(VALUES));
    assert_eq!(
        (row.times, row.space, row.actor, row.origin),
        (None, None, None, None)
    );
    assert_eq!((row.schema_version, row.client.as_str()), (1, "phone"));
    let newest = database(&[
        FIRST,
        LATER,
        "alter table sync_changes add column field_meta jsonb; alter table sync_changes add column origin text",
        &insert,
        r#"update sync_changes
           set field_timestamps = '{"a": "x", "b": "y"}', field_meta = '{"b": "z"}', origin = 'user', actor = '{"k": 1}',
               space_id = 'club', schema_version = 2"#,
        "insert into sync_changes (app_id, table_name, record_id, user_id, op, client_id, created_at, field_meta)
         values ('todo', 'tasks', 'u', 'ben', 'delete', '', 'infinity', 'null'),
             ('mail', 'tasks', 'v', 'ben', 'delete', '', '-infinity', null)",
    ])
    .await;
    let rows = all(&newest.url(), None, 10).await;
    let told: Vec<_> = rows
        .iter()
        .map(|row| (row.record.as_str(), row.created_nanos, row.times.as_deref()))
        .collect();
    assert_eq!(
        told,
        [
            ("v", 0, Some("{}")),
            (
                "t",
                1_748_779_200_000_000_000,
                Some(r#"{"a": "x", "b": "z"}"#)
            ),
            ("u", i64::MAX, Some("{}")),
        ]
    );
    let row = &rows[1];
    assert_eq!(
        (row.space.as_deref(), row.actor.as_deref()),
        (Some("club"), Some(r#"{"k": 1}"#))
    );
    assert_eq!(
        (row.origin.as_deref(), row.schema_version),
        (Some(r#""user""#), 2)
    );
    // The last row of all can be a mark, too.
    let rest = all(&newest.url(), Some(&rows[1].mark), 10).await;
    assert_eq!(rest, rows[2..]);
    assert_eq!(all(&newest.url(), Some(&rows[2].mark), 10).await, []);
    let table = ReplacedTable::open(&newest.url(), None).await.unwrap();
    let overview = table.overview();
    assert_eq!(
        (
            overview.rows,
            overview.users,
            overview.apps,
            overview.spaces
        ),
        (3, 2, 2, 1)
    );
    assert!(overview.spaces_of_users["anna"].contains("club"));
}

#[tokio::test]
async fn rows_are_never_hidden_and_a_reader_needs_no_other_right() {
    let owner = format!("old_owner_{:016x}", random());
    let reader = format!("old_reader_{:016x}", random());
    let database = Database::owned_by(&owner).await;
    let raw = database.raw().await;
    let row =
        "insert into sync_changes (app_id, table_name, record_id, user_id, op, data, client_id)
               values ('todo', 'tasks', 't', 'anna', 'insert', '{}', 'phone')";
    for sql in [FIRST, row, WALL] {
        raw.batch_execute(sql).await.unwrap();
    }
    let text = fault(&database.url(), None).await;
    for part in ["42501", "bypassrls", "grant select on sync_changes"] {
        assert!(text.contains(part), "{text}");
    }
    let admin = crate::support::connect(&test_postgres::shared_url()).await;
    admin
        .batch_execute(&format!(
            "create role {reader} login bypassrls password 'reader'"
        ))
        .await
        .unwrap();
    let url = database
        .url()
        .replace(&format!("{owner}:owner"), &format!("{reader}:reader"));
    let text = fault(&url, None).await;
    assert!(text.contains("42501"), "{text}");
    raw.batch_execute(&format!(
        "grant usage on schema public to {reader}; grant select on sync_changes to {reader}"
    ))
    .await
    .unwrap();
    assert_eq!(all(&url, None, 10).await.len(), 1);
    raw.batch_execute(&format!(
        "revoke all on sync_changes from {reader}; revoke all on schema public from {reader}"
    ))
    .await
    .unwrap();
    admin
        .batch_execute(&format!("drop role {reader}"))
        .await
        .unwrap();
}

#[tokio::test]
async fn what_is_not_that_table_is_refused() {
    let ours = Database::migrated().await;
    let text = fault(&ours.url(), None).await;
    assert!(text.contains("is one of this server"), "{text}");
    let empty = Database::empty().await;
    let text = fault(&empty.url(), None).await;
    assert!(text.contains("there is no table sync_changes"), "{text}");
    let other = database(&["create table sync_changes (id bigint, op text)"]).await;
    let text = fault(&other.url(), None).await;
    assert!(text.contains("lacks created_at, app_id"), "{text}");
    let away = "postgresql://nobody@127.0.0.1:9/none";
    assert!(matches!(
        ReplacedTable::open(away, None).await,
        Err(StoreError::Unavailable(_))
    ));
}
