//! What becomes of values, and which columns take them.

use super::support::{World, gone, id, into, row, tables};

/// A table with a column of each kind, whose names want quotes.
const KINDS: &str = r#"
create schema business;
grant usage on schema business to sync_app;
create domain business.word as varchar(5);
create table business."kinds" (
    user_id text not null,
    id uuid not null,
    "Photo ""x""" bytea,
    at timestamptz,
    local timestamp,
    other uuid,
    amount numeric,
    count bigint,
    yes boolean,
    info jsonb,
    raw json,
    list integer[],
    word business.word,
    made timestamptz not null default '2020-01-01Z',
    primary key (user_id, id)
);
grant select, insert, update, delete on business.kinds to sync_app;"#;

/// All of its columns but those of user and key.
const ALL: &[&str] = &[
    "Photo \"x\"",
    "at",
    "local",
    "other",
    "amount",
    "count",
    "yes",
    "info",
    "raw",
    "list",
    "word",
    "made",
];

const SHOWN: &str = r#"
select concat_ws('|',
    encode("Photo ""x""", 'hex'), at at time zone 'UTC', local, other, amount, count, yes, info, raw, list, word,
    made at time zone 'UTC')
from business.kinds
order by id"#;

#[tokio::test]
async fn values_are_cast_to_their_columns() {
    let world = World::new(KINDS, tables([into("kinds", ALL)]), Vec::new()).await;
    let payload = r#"{"Photo \"x\"":"aGk=","at":1736000000.5,"local":1736000000,"other":"AAECAwQFBgcICQoLDA0ODw==",
        "amount":12345678901234567890.123,"count":"7","yes":1,"info":{"b":1,"a":"x"},"raw":{"b": 1.0},"list":[1,2],"word":"w","unknown":1}"#;
    let texts = r#"{"at":"2025-01-04T10:00:00+01:00","local":"2025-01-04 10:00:00","other":"00010203-0405-0607-0809-0A0B0C0D0E0F","raw":"text"}"#;
    world
        .write(
            "anna",
            &[row("kinds", 1, 1, payload), row("kinds", 2, 1, texts)],
        )
        .await;
    assert_eq!(world.failures("anna").await, Vec::<String>::new());
    assert_eq!(
        world.texts(SHOWN).await,
        [
            r#"6869|2025-01-04 14:13:20.5|2025-01-04 14:13:20|00010203-0405-0607-0809-0a0b0c0d0e0f|12345678901234567890.123|7|t|{"a": "x", "b": 1}|{"b": 1.0}|{1,2}|w|2020-01-01 00:00:00"#,
            r#"2025-01-04 09:00:00|2025-01-04 10:00:00|00010203-0405-0607-0809-0a0b0c0d0e0f|"text"|2020-01-01 00:00:00"#,
        ]
    );
}

#[tokio::test]
async fn values_that_no_column_takes_are_failures_each() {
    let world = World::new(KINDS, tables([into("kinds", ALL)]), Vec::new()).await;
    let bad = [
        (r#"{"Photo \"x\"":"a"}"#, "is no base64"),
        (r#"{"at":1e300}"#, "is no number of seconds"),
        (r#"{"at":"soon"}"#, "22007"),
        (r#"{"other":"AAE="}"#, "22P02"),
        (r#"{"amount":"much"}"#, "22P02"),
        (r#"{"count":1.5}"#, "22P02"),
        (r#"{"yes":"\u0000"}"#, "22P05"),
        (r#"{"info":{"deep":["\u0000"]}}"#, "22P05"),
        (r#"{"raw":"\ud800"}"#, "22P02"),
        (r#"{"list":1}"#, "22P02"),
        (r#"{"word":"longer"}"#, "22001"),
    ];
    let bad: Vec<_> = (11..).zip(bad).collect();
    let mut rows: Vec<_> = bad
        .iter()
        .map(|(number, (payload, _))| row("kinds", *number, 1, payload))
        .collect();
    rows.push(row("kinds", 1, 1, r#"{"count":1}"#));
    world.write("anna", &rows).await;
    assert_eq!(
        world.texts("select count::text from business.kinds").await,
        ["1"]
    );
    let failures = world.listed("anna").await;
    for (number, (payload, error)) in &bad {
        let found = failures
            .iter()
            .find(|failure| failure.pk.as_str() == id(*number));
        let told = found.map(|failure| failure.error.as_str());
        assert!(
            told.is_some_and(|told| told.contains(error)),
            "{payload}: {told:?}"
        );
    }
    assert_eq!(failures.len(), bad.len());
}

#[tokio::test]
async fn a_described_column_without_a_value_is_null_or_its_default() {
    let columns = &["number = count", "made", "amount"];
    let world = World::new(KINDS, tables([into("kinds", columns)]), Vec::new()).await;
    world
        .write(
            "anna",
            &[
                row(
                    "kinds",
                    1,
                    1,
                    r#"{"number":1,"made":0,"amount":5,"word":"w"}"#,
                ),
                row("kinds", 2, 1, r#"{"number":2}"#),
            ],
        )
        .await;
    let shown = "select concat_ws('|', count, amount, word, (made at time zone 'UTC')::date) from business.kinds order by id";
    assert_eq!(world.texts(shown).await, ["1|5|1970-01-01", "2|2020-01-01"]);
    world
        .write("anna", &[row("kinds", 1, 2, r#"{"amount":null}"#)])
        .await;
    assert_eq!(world.texts(shown).await, ["2020-01-01", "2|2020-01-01"]);
}

#[tokio::test]
async fn a_table_that_changes_is_read_again() {
    let world = World::new(KINDS, tables([into("kinds", &["count"])]), Vec::new()).await;
    let rows = [
        row("kinds", 1, 1, r#"{"count":1}"#),
        row("kinds", 2, 1, r#"{"count":2}"#),
    ];
    world.write("anna", &rows).await;
    let changed = "alter table business.kinds drop column count; alter table business.kinds add column count text";
    world.raw.batch_execute(changed).await.unwrap();
    world.write("anna", &rows).await;
    let renamed = "alter table business.kinds rename count to total";
    world.raw.batch_execute(renamed).await.unwrap();
    world.write("anna", &rows).await;
    let lacking = r#"table "business"."kinds" has no column "count""#;
    assert_eq!(
        world.failures("anna").await,
        [
            format!("kinds 1 v1 r0: {lacking}"),
            format!("kinds 2 v1 r0: {lacking}")
        ]
    );
    let back = "alter table business.kinds rename total to count";
    world.raw.batch_execute(back).await.unwrap();
    world.write("anna", &rows).await;
    assert_eq!(world.failures("anna").await, Vec::<String>::new());
    world
        .raw
        .batch_execute("drop table business.kinds")
        .await
        .unwrap();
    world.write("anna", &rows).await;
    assert_eq!(
        world.failures("anna").await,
        [
            r#"kinds 1 v1 r0: there is no table "business"."kinds""#,
            r#"kinds 2 v1 r0: there is no table "business"."kinds""#
        ]
    );
}

#[tokio::test]
async fn clients_write_no_column_that_is_not_theirs() {
    let sql = "
        create schema business;
        grant usage on schema business to sync_app;
        create table business.kinds (user_id text, id uuid, name text, is_admin boolean default false, primary key (user_id, id));
        grant select, insert, update, delete on business.kinds to sync_app;";
    let world = World::new(sql, tables([into("kinds", &["name"])]), Vec::new()).await;
    let payload = r#"{"name":"A","is_admin":true,"user_id":"ben","id":"x"}"#;
    let shown = "select concat_ws('|', user_id, name, is_admin) from business.kinds";
    for version in 1..3 {
        world
            .write("anna", &[row("kinds", 1, version, payload)])
            .await;
        assert_eq!(world.texts(shown).await, ["anna|A|f"]);
    }
    assert_eq!(world.failures("anna").await, Vec::<String>::new());
}

#[tokio::test]
async fn nobody_passes_for_another_user_in_a_column_that_makes_them_alike() {
    for kind in ["char(8)", "varchar(4)", "integer", "business.anycase"] {
        let sql = format!(
            "create schema business;
             grant usage on schema business to sync_app;
             create collation business.loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
             create domain business.anycase as text collate business.loose;
             create table business.kinds (user_id {kind}, id text, name text, primary key (user_id, id));
             grant select, insert, update, delete on business.kinds to sync_app;"
        );
        let world = World::new(&sql, tables([into("kinds", &["name"])]), Vec::new()).await;
        let (first, others) = match kind {
            "integer" => ("7", ["07", " 7", "+7"]),
            "business.anycase" => ("anna", ["Anna", "ANNA", "annA"]),
            _ => ("anna", ["anna ", "anna  ", "anna    "]),
        };
        let mine = [row("kinds", 1, 1, r#"{"name":"mine"}"#)];
        world.write(first, &mine).await;
        for other in others {
            world
                .write(other, &[row("kinds", 1, 1, r#"{"name":"other"}"#)])
                .await;
            assert_eq!(world.listed(other).await.len(), 1, "{kind} {other:?}");
            world.write(other, &[gone("kinds", 1, 2)]).await;
        }
        let names = world.texts("select name from business.kinds").await;
        assert_eq!(names, ["mine"], "{kind}");
    }
}

#[tokio::test]
async fn bytes_may_be_keys() {
    let sql = "
        create schema business;
        grant usage on schema business to sync_app;
        create table business.kinds (user_id text, id bytea, parent bytea, primary key (user_id, id),
            foreign key (user_id, parent) references business.kinds);
        grant select, insert, update, delete on business.kinds to sync_app;";
    let world = World::new(sql, tables([into("kinds", &["parent"])]), Vec::new()).await;
    let child = r#"{"parent":"AAAAAAAAQACAAAAAAAAAAQ=="}"#;
    world
        .write(
            "anna",
            &[row("kinds", 2, 1, child), row("kinds", 1, 1, "{}")],
        )
        .await;
    assert_eq!(world.failures("anna").await, Vec::<String>::new());
    let shown = "select encode(id, 'hex') from business.kinds where parent is not null";
    assert_eq!(world.texts(shown).await, [id(2).replace('-', "")]);
    world.write("anna", &[gone("kinds", 2, 2)]).await;
    assert_eq!(world.texts(shown).await, Vec::<String>::new());
}
