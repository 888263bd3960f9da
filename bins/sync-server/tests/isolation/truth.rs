//! The truth, read past the store: every row of the log with its scope, dead ones, too.

use std::collections::{HashMap, HashSet};

use rusqlite::{Connection, OpenFlags};
use serde_json::{Map, Value};

use crate::model::{NONE, READER, WRITER};
use crate::model::{Nanos, Roles, marks_in};
use crate::names::{APPS, Names, Place};
use crate::walls::Source;
use crate::world::SPEED;

/// A position is drawn from a clock of milliseconds, and a little ahead of it where many are drawn at once.
pub(crate) const SLACK: Nanos = 2_000_000;
/// What is committed may stand this far below what was read last.
const BEHIND: Nanos = 5_000_000_000 * SPEED;

/// A row of the log.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) position: Nanos,
    pub(crate) scope: String,
    pub(crate) user: String,
    pub(crate) app: String,
    pub(crate) table: String,
    pub(crate) record: String,
    /// Its event id, as 32 hexadecimal digits.
    pub(crate) id: String,
    /// Its fields and their values.
    pub(crate) data: String,
    /// What a client has written beside them.
    pub(crate) beside: String,
}

/// Where something is, and since when.
pub(crate) type Home = (Place, Nanos);

/// App, table, record and field.
pub(crate) type Field = (String, String, String, String);

/// What the log has held so far.
#[derive(Default)]
pub(crate) struct Truth {
    /// Of each mark the scopes that have had it.
    pub(crate) homes: HashMap<usize, Vec<Home>>,
    /// Of each event id.
    pub(crate) events: HashMap<String, Vec<Home>>,
    /// Of each field of a record the values without marks.
    pub(crate) plain: HashMap<Field, Vec<(Home, Value)>>,
    /// What was written in each table of an app, in order.
    pub(crate) tables: HashMap<(usize, usize), Vec<Home>>,
    /// The row at each position: its scope, and app, table and record.
    pub(crate) positions: HashMap<Nanos, (Place, [String; 3])>,
    /// Which records have had a row in which scope.
    pub(crate) records: HashSet<(Place, [String; 3])>,
    pub(crate) rows: usize,
    last: Nanos,
    recent: HashSet<Nanos>,
}

const ROWS: &str = "\
select position, scope, user_id, app_id, table_name, record_id, data, coalesce(actor, ''), coalesce(origin, ''),";

impl Source {
    async fn rows(&self, after: Nanos) -> Vec<Row> {
        match self {
            Self::Postgres(database) => {
                let sql = format!(
                    "{ROWS} replace(id::text, '-', '') from sync_changes where position > $1 order by position"
                );
                let rows = database.client.query(&sql, &[&after]).await.unwrap();
                let row = |row: &tokio_postgres::Row| Row {
                    position: row.get(0),
                    scope: row.get(1),
                    user: row.get(2),
                    app: row.get(3),
                    table: row.get(4),
                    record: row.get(5),
                    data: row.get(6),
                    beside: [7, 8].map(|column| row.get::<_, &str>(column)).concat(),
                    id: row.get(9),
                };
                rows.iter().map(row).collect()
            }
            Self::Sqlite(path, _) => {
                let connection =
                    Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
                let sql = format!(
                    "{ROWS} lower(hex(id)) from sync_changes where position > ?1 order by position"
                );
                let mut statement = connection.prepare(&sql).unwrap();
                let rows = statement.query_map([after], |row| {
                    let text = |column| row.get::<_, String>(column);
                    Ok(Row {
                        position: row.get(0)?,
                        scope: text(1)?,
                        user: text(2)?,
                        app: text(3)?,
                        table: text(4)?,
                        record: text(5)?,
                        data: text(6)?,
                        beside: [text(7)?, text(8)?].concat(),
                        id: text(9)?,
                    })
                });
                rows.unwrap().map(Result::unwrap).collect()
            }
        }
    }

    /// Of records the scopes whose rows are of another one; and of what is kept aside, user and text.
    pub(crate) async fn strays(&self) -> (Vec<String>, Vec<(String, String)>) {
        match self {
            Self::Postgres(database) => {
                let client = &database.client;
                let strays = client.query(
                    "select record.scope from sync_records as record
                     cross join lateral unnest(record.rows) as held (position)
                     join sync_changes as change on change.position = held.position
                     where change.scope <> record.scope",
                    &[],
                );
                let parked = client.query("select user_id, raw from sync_parked", &[]);
                let (strays, parked) = (strays.await.unwrap(), parked.await.unwrap());
                let pair = |row: &tokio_postgres::Row| (row.get(0), row.get(1));
                (
                    strays.iter().map(|row| row.get(0)).collect(),
                    parked.iter().map(pair).collect(),
                )
            }
            Self::Sqlite(path, _) => {
                let connection =
                    Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
                let mut parked = connection
                    .prepare("select user_id, raw from sync_parked")
                    .unwrap();
                let pairs = parked.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
                (Vec::new(), pairs.unwrap().map(Result::unwrap).collect())
            }
        }
    }

    /// The grants that stand: user, space, role.
    pub(crate) async fn grants(&self) -> Vec<(String, String, Roles)> {
        const GRANTS: &str = "select user_id, space_id, coalesce(role, '') from sync_grants";
        let read: Vec<(String, String, String)> = match self {
            Self::Postgres(database) => {
                let rows = database.client.query(GRANTS, &[]).await.unwrap();
                let columns = |row: &tokio_postgres::Row| (row.get(0), row.get(1), row.get(2));
                rows.iter().map(columns).collect()
            }
            Self::Sqlite(path, _) => {
                let connection =
                    Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
                let mut statement = connection.prepare(GRANTS).unwrap();
                let rows =
                    statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
                rows.unwrap().map(Result::unwrap).collect()
            }
        };
        let roles = |(user, space, role): (String, String, String)| {
            let role = match role.as_str() {
                "reader" => READER,
                "writer" => WRITER,
                _ => NONE,
            };
            (user, space, role)
        };
        read.into_iter().map(roles).collect()
    }
}

impl Row {
    /// The marks in it, each once.
    pub(crate) fn marks(&self) -> Vec<usize> {
        marks_in(&format!("{}{}", self.data, self.beside))
    }
}

impl Truth {
    /// Takes in what was written since the last time; gives those rows.
    pub(crate) async fn follow(&mut self, source: &Source, names: &Names) -> Vec<Row> {
        let mut rows = source.rows(self.last - BEHIND).await;
        rows.retain(|row| self.recent.insert(row.position));
        for row in &rows {
            self.last = self.last.max(row.position);
            self.add(row, names);
        }
        let last = self.last;
        self.recent.retain(|position| *position > last - BEHIND);
        rows
    }

    fn add(&mut self, row: &Row, names: &Names) {
        self.rows += 1;
        let Some(place) = names.place(&row.scope) else {
            return;
        };
        let home = (place, row.position);
        let named = [&row.app, &row.table, &row.record].map(String::clone);
        self.records.insert((place, named.clone()));
        self.positions.insert(row.position, (place, named));
        for mark in row.marks() {
            self.homes.entry(mark).or_default().push(home);
        }
        let fields: Map<String, Value> = serde_json::from_str(&row.data).unwrap_or_default();
        for (field, value) in fields {
            if marks_in(&value.to_string()).is_empty() {
                let names = [&row.app, &row.table, &row.record].map(String::clone);
                let [app, table, record] = names;
                let known = self.plain.entry((app, table, record, field)).or_default();
                known.push((home, value));
            }
        }
        self.events.entry(row.id.clone()).or_default().push(home);
        let app = APPS.iter().position(|app| *app == row.app);
        if let (Some(app), Some(table)) = (app, names.table(&row.table)) {
            let homes = self.tables.entry((app, table)).or_default();
            let at = homes.partition_point(|(_, position)| *position < row.position);
            homes.insert(at, home);
        }
    }
}
