//! Business tables, and rows to be written into them.

use std::collections::BTreeMap;
use std::sync::Arc;

use sync_protocol::rows::{ListedFailure, RowOp};
use sync_protocol::{AppId, FieldName, Members, RecordId, TableName, Value};
use sync_store::{BusinessTable, FailureList, RowAfter, RowTable, RowTables, Store, TableKey};
use sync_store_postgres::{Config, Handler, PostgresStore};
use tokio_postgres::Client;

use crate::support::{Database, NOW, user};

/// Authors and their posts; a post may answer another one.
pub(crate) const TABLES: &str = "
create schema business;
grant usage on schema business to sync_app;
create table business.users (
    user_id text not null,
    id uuid not null,
    name text not null,
    email text,
    made timestamptz not null default '2020-01-01Z',
    loud text generated always as (upper(name)) stored,
    primary key (user_id, id),
    unique (user_id, email)
);
create table business.posts (
    user_id text not null,
    id uuid not null,
    author_id uuid,
    answers uuid,
    title text,
    primary key (user_id, id),
    foreign key (user_id, author_id) references business.users (user_id, id) deferrable initially deferred,
    foreign key (user_id, answers) references business.posts (user_id, id)
);
grant select, insert, update, delete on all tables in schema business to sync_app;";

/// The columns that clients fill.
pub(crate) const USERS: &[&str] = &["name", "email", "made"];
const POSTS: &[&str] = &["author_id", "answers", "title"];

/// The id of a row, by its number.
pub(crate) fn id(number: u32) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
}

pub(crate) fn table(name: &str) -> TableKey {
    (
        AppId::new("business").unwrap(),
        TableName::new(name).unwrap(),
    )
}

/// A row that is there, with its payload as JSON.
pub(crate) fn row(name: &str, number: u32, version: i64, payload: &str) -> RowAfter {
    let (app, table) = table(name);
    let payload: Members<FieldName, Value> = serde_json::from_str(payload).unwrap();
    RowAfter {
        app,
        table,
        record: RecordId::new(&id(number)).unwrap(),
        version,
        op: RowOp::Update,
        payload: Some(payload),
    }
}

/// A row that is deleted.
pub(crate) fn gone(name: &str, number: u32, version: i64) -> RowAfter {
    RowAfter {
        op: RowOp::Delete,
        payload: None,
        ..row(name, number, version, "{}")
    }
}

/// A table that is written into the business table of its name: into these columns, each with the name of its payload key
/// unless it says `key = column`.
pub(crate) fn into(name: &str, columns: &[&str]) -> (TableKey, RowTable) {
    let columns = columns.iter().map(|named| {
        let (field, column) = named.split_once(" = ").unwrap_or((named, named));
        (FieldName::new(field).unwrap(), column.to_owned())
    });
    let business = BusinessTable {
        schema: "business".to_owned(),
        name: name.to_owned(),
        user: "user_id".to_owned(),
        key: "id".to_owned(),
        columns: columns.collect(),
    };
    let described = RowTable {
        references: BTreeMap::new(),
        business: Some(business),
    };
    (table(name), described)
}

/// The description of [`TABLES`].
pub(crate) fn described() -> RowTables {
    let mut posts = into("posts", POSTS);
    let author = FieldName::new("author_id").unwrap();
    let answers = FieldName::new("answers").unwrap();
    posts.1.references = BTreeMap::from([(author, table("users")), (answers, table("posts"))]);
    tables([into("users", USERS), posts])
}

pub(crate) fn tables<const N: usize>(described: [(TableKey, RowTable); N]) -> RowTables {
    RowTables {
        described: Some(BTreeMap::from(described)),
        ..RowTables::default()
    }
}

/// A database with business tables, and a store that writes into them.
pub(crate) struct World {
    pub(crate) database: Database,
    pub(crate) store: Arc<PostgresStore>,
    pub(crate) raw: Client,
    pub(crate) tables: Arc<RowTables>,
}

impl World {
    /// Authors and posts.
    pub(crate) async fn usual() -> Self {
        Self::new(TABLES, described(), Vec::new()).await
    }

    pub(crate) async fn new(sql: &str, tables: RowTables, handlers: Vec<Arc<dyn Handler>>) -> Self {
        let database = Database::migrated().await;
        let raw = database.raw().await;
        raw.batch_execute(sql).await.unwrap();
        let tables = Arc::new(tables);
        let config = Config {
            tables: Arc::clone(&tables),
            handlers,
            ..database.config()
        };
        let store = Arc::new(PostgresStore::connect(config).await.unwrap());
        Self {
            database,
            store,
            raw,
            tables,
        }
    }

    /// Writes rows of a user.
    pub(crate) async fn write(&self, name: &str, rows: &[RowAfter]) {
        self.store
            .materialise(&user(name), NOW, rows)
            .await
            .unwrap();
    }

    /// What a query of one text column finds.
    pub(crate) async fn texts(&self, sql: &str) -> Vec<String> {
        let rows = self.raw.query(sql, &[]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// The authors, as `user:name`.
    pub(crate) async fn authors(&self) -> Vec<String> {
        self.texts("select user_id || ':' || name from business.users order by 1")
            .await
    }

    /// The posts, as `user:title`.
    pub(crate) async fn posts(&self) -> Vec<String> {
        self.texts("select user_id || ':' || title from business.posts order by 1")
            .await
    }

    pub(crate) async fn listed(&self, name: &str) -> Vec<ListedFailure> {
        let list = FailureList {
            user: user(name),
            app: None,
            table: None,
            limit: 100,
        };
        self.store.failures(list).await.unwrap()
    }

    /// The failures of a user, each as `table number version retries: error`, by row.
    pub(crate) async fn failures(&self, name: &str) -> Vec<String> {
        let listed = self.listed(name).await;
        let told = listed.iter().map(|failure| {
            let number = failure.pk.as_str().rsplit('0').next().unwrap_or_default();
            format!(
                "{} {number} v{} r{}: {}",
                failure.table, failure.attempted_version, failure.retry_count, failure.error
            )
        });
        let mut told: Vec<String> = told.collect();
        told.sort();
        told
    }
}
