//! What a row refers to.

use sync_protocol::rows::{RowEdit, reference_uuid};
use sync_protocol::{AppId, FieldName, RecordId, TableName, Value};

use super::{RowTables, TableKey};

/// A row to which another one refers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Parent {
    /// Its table.
    pub(super) table: TableKey,
    /// Its `pk`.
    pub(super) record: RecordId,
    /// The value that refers to it, as it was sent.
    pub(super) sent: String,
}

/// The rows to which a change refers, as far as they can be read.
pub(super) fn parents(edit: &RowEdit, tables: &RowTables) -> Vec<Parent> {
    of_edit(edit, tables).filter_map(Result::ok).collect()
}

/// Whether every reference of a change can be read.
pub(super) fn are_readable(edit: &RowEdit, tables: &RowTables) -> bool {
    of_edit(edit, tables).all(|parent| parent.is_ok())
}

fn of_edit<'a>(
    edit: &'a RowEdit,
    tables: &'a RowTables,
) -> impl Iterator<Item = Result<Parent, &'a FieldName>> {
    let payload = edit.payload.iter().flat_map(|payload| &payload.0);
    let values = payload.map(|(name, value)| (name, value));
    referred(&edit.app, &edit.table, values, tables)
}

/// The rows to which these values of a row of this table refer, and the columns whose values refer to nothing that can be.
/// A value that is null or empty refers to nothing.
pub(super) fn referred<'a>(
    app: &AppId,
    table: &TableName,
    values: impl Iterator<Item = (&'a FieldName, &'a Value)>,
    tables: &'a RowTables,
) -> impl Iterator<Item = Result<Parent, &'a FieldName>> {
    let described = tables.find(app, table);
    values.filter_map(move |(name, value)| {
        let parent = described?.references.get(name)?;
        if value.is_null() {
            return None;
        }
        let Some(sent) = value.text() else {
            return Some(Err(name));
        };
        if sent.is_empty() {
            return None;
        }
        let record = reference_uuid(&sent).and_then(|uuid| RecordId::new(&uuid).ok());
        Some(record.ok_or(name).map(|record| Parent {
            table: parent.clone(),
            record,
            sent,
        }))
    })
}
