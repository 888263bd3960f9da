//! What a check says of business tables.

use std::collections::BTreeMap;
use std::sync::Arc;

use sync_protocol::FieldName;
use sync_store::RowTables;
use sync_store_postgres::Config;

use super::support::{TABLES, described, into, table, tables};
use crate::support::Database;

/// What a check says of business tables.
async fn report(sql: &str, tables: RowTables) -> (Database, Vec<String>) {
    let database = Database::migrated().await;
    database.raw().await.batch_execute(sql).await.unwrap();
    let lines = told(&database, tables).await;
    (database, lines)
}

async fn told(database: &Database, tables: RowTables) -> Vec<String> {
    let config = Config {
        tables: Arc::new(tables),
        ..database.config()
    };
    let findings = sync_store_postgres::check(&config).await.unwrap();
    let lines = findings.iter().map(ToString::to_string);
    lines.filter(|line| line.contains(" into ")).collect()
}

#[tokio::test]
async fn tables_that_fit_are_well() {
    let (_database, lines) = report(TABLES, described()).await;
    assert_eq!(
        lines,
        [
            r#"ok: business.posts into "business"."posts": rows can be written"#,
            r#"ok: business.users into "business"."users": rows can be written"#,
        ]
    );
}

#[tokio::test]
async fn what_does_not_fit_is_said_with_what_mends_it() {
    let sql = "
        create schema business;
        create table business.users (name text, must text not null, made text not null default 'x', loud text generated always as (name) stored);";
    let columns = &["name", "nick", "loud"];
    let described = || tables([into("users", columns), into("posts", &[])]);
    let (database, lines) = report(sql, described()).await;
    let place = r#"fault: business.users into "business"."users": "#;
    let (posts, users) = lines.split_first().unwrap();
    assert!(
        posts.starts_with(
            r#"fault: business.posts into "business"."posts": there is no such table: create table"#
        ),
        "{posts}"
    );
    let faults = [
        r#"role sync_app may not use its schema: grant usage on schema "business" to sync_app"#,
        r#"role sync_app may not read and write it: grant select, insert, update, delete on "business"."users" to sync_app"#,
        r#"there is no column "user_id": alter table "business"."users" add column "user_id" text not null"#,
        r#"there is no column "id": alter table "business"."users" add column "id" uuid not null"#,
        r#"no unique index on exactly "user_id" and "id", whole and not deferrable: create unique index on "business"."users" ("user_id", "id")"#,
        r#"column "loud" for loud is generated and takes no value: take loud out of `columns`"#,
        r#"there is no column "nick" for nick: alter table "business"."users" add column "nick" text"#,
        r#"column "must" must not be null, has no default, and nothing fills it: name it in `columns`, or alter table "business"."users" alter column "must" drop not null"#,
    ];
    let expected: Vec<String> = faults
        .iter()
        .map(|fault| format!("{place}{fault}"))
        .collect();
    assert_eq!(users, expected);
    // What it says mends it.
    let mends = users.iter().filter_map(|line| {
        let sql = line.rsplit_once(": ").map(|(_, sql)| sql)?;
        let sql = sql.rsplit_once(", or ").map_or(sql, |(_, sql)| sql);
        (!sql.starts_with("take")).then(|| sql.to_owned())
    });
    let mends: Vec<String> = mends.collect();
    let raw = database.raw().await;
    raw.batch_execute(&mends.join(";")).await.unwrap();
    assert_eq!(
        told(&database, tables([into("users", &["name", "nick"])])).await,
        [r#"ok: business.users into "business"."users": rows can be written"#]
    );
}

#[tokio::test]
async fn an_index_that_no_upsert_finds_does_not_count() {
    let sql = "
        create schema business;
        grant usage on schema business to sync_app;
        create table business.users (user_id text, id uuid, other text, unique (user_id, id) deferrable);
        create unique index on business.users (user_id, id) where other is null;
        create unique index on business.users (user_id, id, other);
        create unique index on business.users (user_id, lower(other));
        create unique index on business.users (id);
        grant all on business.users to sync_app;";
    let (database, lines) = report(sql, tables([into("users", &[])])).await;
    assert!(
        lines.len() == 1 && lines[0].contains("no unique index on exactly"),
        "{lines:?}"
    );
    let sql = "create unique index on business.users (id, user_id) include (other)";
    database.raw().await.batch_execute(sql).await.unwrap();
    let lines = told(&database, tables([into("users", &[])])).await;
    assert!(lines[0].starts_with("ok: "), "{lines:?}");
}

#[tokio::test]
async fn foreign_keys_and_references_are_held_against_each_other() {
    let (_database, lines) = report(TABLES, {
        let mut tables = described();
        let described = tables.described.as_mut().unwrap();
        let posts = described.get_mut(&table("posts")).unwrap();
        let [title, answers, unwritten] =
            ["title", "answers", "unwritten"].map(|name| FieldName::new(name).unwrap());
        posts.references = BTreeMap::from([
            (title, table("users")),
            (answers, table("posts")),
            (unwritten, table("users")),
        ]);
        tables
    })
    .await;
    assert_eq!(
        lines,
        [
            r#"fault: business.posts into "business"."posts": foreign key posts_user_id_author_id_fkey is not described, so that children may come before their parents: references = { author_id = "business.users" }"#,
            r#"ok: business.posts into "business"."posts": note: title refers to business.users, and no foreign key does: alter table "business"."posts" add foreign key ("user_id", "title") references "business"."users" ("user_id", "id")"#,
            r#"ok: business.users into "business"."users": rows can be written"#,
        ]
    );
}
