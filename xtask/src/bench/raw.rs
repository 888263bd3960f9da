//! What the database can do on this machine without a server in front of it: the bound that figures are a share of.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use tokio::runtime::{Builder, Runtime};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, NoTls, Statement};

use super::measure::Work;
use super::row::{APP, Row, TABLE};
use super::rows::{BATCH, PAGE};

/// A table with the columns, the checks and the indexes of the log; nothing else is on it.
const MAKE: &str = "\
create table raw_changes (
    like sync_changes including all
)";

/// What the log has of a new row: $1 app, $2 table, $3 scope, $4 user, $5 device; arrays: $6 positions, $7 records, $8 event
/// ids, $9 values, $10 their times, $11 sizes.
const INSERT: &str = "\
insert into raw_changes (
    created_at,
    app_id,
    table_name,
    scope,
    user_id,
    client_id,
    op,
    schema_version,
    opens,
    to_everyone,
    undated,
    source_change_id,
    position,
    record_id,
    id,
    data,
    field_timestamps,
    size
)
select
    now(),
    $1,
    $2,
    $3,
    $4,
    $5,
    'insert',
    1,
    true,
    false,
    false,
    new.position,
    new.position,
    new.record_id,
    new.id::uuid,
    new.data,
    new.field_timestamps,
    new.size
from unnest(
    $6::bigint[],
    $7::text[],
    $8::text[],
    $9::text[],
    $10::text[],
    $11::integer[]
) as new (position, record_id, id, data, field_timestamps, size)";

/// What a page has of rows, in the order of the index: $1 scope, $2 app, $3 after, $4 how many.
const SELECT: &str = "\
select
    change.position,
    change.app_id,
    change.table_name,
    change.record_id,
    change.op,
    change.client_id,
    change.source_change_id,
    change.created_at,
    change.data
from raw_changes as change
where change.scope = $1
    and change.app_id = $2
    and change.position > $3
    and change.dead_since is null
order by change.scope, change.app_id, change.position
limit $4";

/// The times of the fields of a row, as the log has them.
const TIMES: &str = r#"{"created_at":"2026-01-20T10:00:00.000Z","email":"2026-01-20T10:00:00.000Z","id":"2026-01-20T10:00:00.000Z","name":"2026-01-20T10:00:00.000Z","updated_at":"2026-01-20T10:00:00.000Z"}"#;

/// A connection to the database, and what it runs on.
pub(crate) struct Database {
    runtime: Runtime,
    client: Client,
}

impl Database {
    /// Connects.
    pub(crate) fn connect(url: &str) -> Result<Self, Box<dyn Error>> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (client, connection) = runtime.block_on(tokio_postgres::connect(url, NoTls))?;
        runtime.spawn(connection);
        Ok(Self { runtime, client })
    }

    /// Makes the table of the bounds.
    pub(crate) fn make_table(&self) -> Result<(), Box<dyn Error>> {
        self.tell(MAKE)
    }

    /// Leaves nothing to do for the database that would be done while something is measured.
    pub(crate) fn settle(&self) -> Result<(), Box<dyn Error>> {
        self.tell("vacuum (analyze)")?;
        self.tell("checkpoint")
    }

    /// Whether a user has rows in the table of the bounds.
    pub(crate) fn has_rows(&self, user: u64) -> Result<bool, Box<dyn Error>> {
        let sql = "select exists (select from raw_changes where scope = $1 and app_id = $2)";
        let scope = scope(user);
        let parameters: [&(dyn ToSql + Sync); 2] = [&scope, &APP];
        let found = self.client.query_one(sql, &parameters);
        Ok(self.runtime.block_on(found)?.get(0))
    }

    fn tell(&self, sql: &str) -> Result<(), Box<dyn Error>> {
        Ok(self.runtime.block_on(self.client.batch_execute(sql))?)
    }

    fn prepare(&self, sql: &str) -> Result<Statement, Box<dyn Error>> {
        Ok(self.runtime.block_on(self.client.prepare(sql))?)
    }
}

/// Positions, which no two writers have in common.
pub(crate) type Positions = Arc<AtomicI64>;

/// Writes rows of one user.
pub(crate) struct Writing {
    database: Database,
    insert: Statement,
    user: u64,
    rows: u64,
    positions: Positions,
}

impl Writing {
    /// A writer on a connection of its own.
    pub(crate) fn new(url: &str, user: u64, positions: &Positions) -> Result<Self, Box<dyn Error>> {
        let database = Database::connect(url)?;
        let insert = database.prepare(INSERT)?;
        Ok(Self {
            database,
            insert,
            user,
            rows: 0,
            positions: Arc::clone(positions),
        })
    }

    /// Writes until there are so many rows.
    pub(crate) fn fill(&mut self, rows: u64) -> Result<(), Box<dyn Error>> {
        while self.rows < rows {
            self.once()?;
        }
        Ok(())
    }
}

impl Work for Writing {
    fn once(&mut self) -> Result<u64, Box<dyn Error>> {
        let count = BATCH as u64;
        let first = self.positions.fetch_add(BATCH as i64, Ordering::Relaxed);
        let rows = (self.rows..self.rows + count).map(|number| Row::new(self.user, number));
        let rows: Vec<Row> = rows.collect();
        self.rows += count;
        let positions: Vec<i64> = (first..).take(BATCH).collect();
        let keys: Vec<String> = rows.iter().map(|row| row.key()).collect();
        let payloads = rows.iter().map(|row| {
            let mut payload = String::with_capacity(400);
            row.write_payload(0, &mut payload);
            payload
        });
        let payloads: Vec<String> = payloads.collect();
        let times = vec![TIMES; BATCH];
        let sizes: Vec<i32> = vec![700; BATCH];
        let (user, scope) = (format!("user-{}", self.user), scope(self.user));
        let Database { runtime, client } = &self.database;
        let parameters: [&(dyn ToSql + Sync); 11] = [
            &APP, &TABLE, &scope, &user, &"writer", &positions, &keys, &keys, &payloads, &times,
            &sizes,
        ];
        let written = client.execute(&self.insert, &parameters);
        Ok(runtime.block_on(written)?)
    }
}

/// Reads rows of one user page by page, and then begins again.
pub(crate) struct Reading {
    database: Database,
    select: Statement,
    user: u64,
    after: i64,
}

impl Reading {
    /// A reader on a connection of its own.
    pub(crate) fn new(url: &str, user: u64) -> Result<Self, Box<dyn Error>> {
        let database = Database::connect(url)?;
        let select = database.prepare(SELECT)?;
        Ok(Self {
            database,
            select,
            user,
            after: 0,
        })
    }

    fn page(&self) -> Result<Vec<tokio_postgres::Row>, Box<dyn Error>> {
        let Database { runtime, client } = &self.database;
        let (scope, limit) = (scope(self.user), PAGE as i64);
        let parameters: [&(dyn ToSql + Sync); 4] = [&scope, &APP, &self.after, &limit];
        let rows = client.query(&self.select, &parameters);
        Ok(runtime.block_on(rows)?)
    }
}

impl Work for Reading {
    fn once(&mut self) -> Result<u64, Box<dyn Error>> {
        let rows = self.page()?;
        self.after = rows.last().map_or(0, |row| row.get(0));
        Ok(rows.len() as u64)
    }
}

/// Reads the empty page behind all rows of a user.
pub(crate) struct Finding(pub(crate) Reading);

impl Work for Finding {
    fn once(&mut self) -> Result<u64, Box<dyn Error>> {
        self.0.after = i64::MAX - 1;
        match self.0.page()?.len() {
            0 => Ok(1),
            _ => Err("there is something behind all rows".into()),
        }
    }
}

fn scope(user: u64) -> String {
    format!("u:user-{user}")
}
