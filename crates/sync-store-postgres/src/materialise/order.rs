//! Which handler writes which rows, and in which order: parents first where rows are written, children first where they go.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::Arc;

use sync_protocol::{AppId, TableName};
use sync_store::{RowAfter, RowTables, TableKey};

use super::business::BusinessTables;
use super::handler::Handler;

/// The handlers of a store. The first that takes a table has it.
pub(crate) struct Handlers {
    list: Vec<Arc<dyn Handler>>,
    /// The place of each described table: behind all that it refers to, unless they go round in a circle.
    places: BTreeMap<TableKey, i64>,
    /// Whether no row is ever written.
    is_idle: bool,
}

/// Rows of one table that are all written, or all deleted.
pub(crate) struct Group<'a> {
    pub(crate) handler: &'a dyn Handler,
    pub(crate) rows: Vec<RowAfter>,
}

/// Of which rows a group is: of one table, and whether they are deleted.
pub(crate) type Kind = (Option<TableKey>, bool);

impl Group<'_> {
    pub(crate) fn kind(&self) -> Kind {
        let first = self.rows.first();
        let table = first.map(|row| (row.app.clone(), row.table.clone()));
        (table, first.is_some_and(|row| row.payload.is_none()))
    }

    /// Each row alone.
    pub(crate) fn apart(self) -> impl Iterator<Item = Self> {
        let handler = self.handler;
        let rows = self.rows.into_iter();
        rows.map(move |row| Self {
            handler,
            rows: vec![row],
        })
    }
}

impl Handlers {
    /// These, and behind them one for the business tables of the description.
    pub(crate) fn new(mut list: Vec<Arc<dyn Handler>>, tables: Arc<RowTables>) -> Self {
        let places = places(&tables);
        let mut described = tables.described.iter().flat_map(BTreeMap::values);
        let is_idle = list.is_empty() && described.all(|table| table.business.is_none());
        list.push(Arc::new(BusinessTables::new(tables)));
        Self {
            list,
            places,
            is_idle,
        }
    }

    /// Those of the rows that somebody writes.
    pub(crate) fn wanted(&self, rows: impl FnOnce() -> Vec<RowAfter>) -> Vec<RowAfter> {
        if self.is_idle {
            return Vec::new();
        }
        let mut rows = rows();
        rows.retain(|row| self.of(&row.app, &row.table).is_some());
        rows
    }

    /// Who writes the rows of this table.
    pub(crate) fn of(&self, app: &AppId, table: &TableName) -> Option<&dyn Handler> {
        let mut list = self.list.iter();
        list.find(|handler| handler.takes(app, table))
            .map(|handler| &**handler)
    }

    /// The rows that somebody writes, each once and as it is last, in groups and in order.
    pub(crate) fn groups(&self, rows: &[RowAfter]) -> Vec<Group<'_>> {
        let mut seen = HashSet::new();
        let mut of_tables: BTreeMap<_, Vec<RowAfter>> = BTreeMap::new();
        for row in rows.iter().rev() {
            if !seen.insert((&row.app, &row.table, &row.record)) {
                continue;
            }
            let table = (row.app.clone(), row.table.clone());
            let place = self.places.get(&table).copied().unwrap_or_default();
            let order = match row.payload {
                Some(_) => (false, place),
                None => (true, -place),
            };
            of_tables
                .entry((order, table))
                .or_default()
                .push(row.clone());
        }
        let groups = of_tables.into_iter().filter_map(|((_, table), mut rows)| {
            rows.reverse();
            let handler = self.of(&table.0, &table.1)?;
            Some(Group { handler, rows })
        });
        groups.collect()
    }
}

impl fmt::Debug for Handlers {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Handlers").finish_non_exhaustive()
    }
}

fn places(tables: &RowTables) -> BTreeMap<TableKey, i64> {
    let mut places = BTreeMap::new();
    for table in tables.described.iter().flat_map(BTreeMap::keys) {
        place(table, tables, &mut HashSet::new(), &mut places);
    }
    places
}

/// Gives a table its place, after all that it refers to.
fn place<'a>(
    table: &'a TableKey,
    tables: &'a RowTables,
    on_the_way: &mut HashSet<&'a TableKey>,
    places: &mut BTreeMap<TableKey, i64>,
) {
    if places.contains_key(table) || !on_the_way.insert(table) {
        return;
    }
    let described = tables.find(&table.0, &table.1);
    for parent in described.iter().flat_map(|table| table.references.values()) {
        place(parent, tables, on_the_way, places);
    }
    let next = i64::try_from(places.len()).unwrap_or(i64::MAX);
    places.insert(table.clone(), next);
}
