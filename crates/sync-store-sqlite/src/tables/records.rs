//! The winning versions of records.

use rusqlite::{Connection, OptionalExtension};
use sync_protocol::{AppId, Millis};
use sync_store::{RecordKey, RecordState};

use super::queries;
use crate::failure::{Failure, Outcome};

/// A record as it stands in the table.
#[derive(Debug)]
pub(crate) struct Stored {
    /// Its text.
    pub(crate) state: String,
    /// Its version.
    pub(crate) version: i64,
    /// The positions of its live rows.
    pub(crate) rows: Vec<i64>,
}

/// The record of a key, if it is known.
pub(crate) fn find(
    connection: &Connection,
    app: &AppId,
    key: &RecordKey,
) -> Outcome<Option<Stored>> {
    let mut statement = connection.prepare_cached(queries::RECORD)?;
    let found = statement
        .query_row(
            (
                key.scope.key(),
                app.as_str(),
                key.table.as_str(),
                key.record.as_str(),
            ),
            |row| Ok((row.get(0)?, row.get(1)?, row.get::<_, String>(2)?)),
        )
        .optional()?;
    let Some((state, version, rows)) = found else {
        return Ok(None);
    };
    Ok(Some(Stored {
        state,
        version,
        rows: positions(&rows)?,
    }))
}

/// Writes a record over what was known of it; `deleted_since` is since when its values wait to be removed,
/// unless they wait already.
pub(crate) fn write(
    connection: &Connection,
    app: &AppId,
    key: &RecordKey,
    state: &RecordState,
    deleted_since: Option<Millis>,
) -> Outcome<()> {
    let rows = serde_json::to_string(&state.rows).expect("numbers are always JSON");
    connection.prepare_cached(queries::WRITE_RECORD)?.execute((
        key.scope.key(),
        app.as_str(),
        key.table.as_str(),
        key.record.as_str(),
        &state.state,
        rows,
        state.version,
        deleted_since.map(|since| since.0),
    ))?;
    Ok(())
}

/// Forgets a record, whose rows are dead.
pub(crate) fn forget(connection: &Connection, app: &AppId, key: &RecordKey) -> Outcome<()> {
    connection
        .prepare_cached(queries::FORGET_RECORD)?
        .execute((
            key.scope.key(),
            app.as_str(),
            key.table.as_str(),
            key.record.as_str(),
        ))?;
    Ok(())
}

/// Reads the column `rows`.
pub(super) fn positions(rows: &str) -> Outcome<Vec<i64>> {
    serde_json::from_str(rows)
        .map_err(|error| Failure::fault(format!("a record's rows cannot be read: {error}")))
}
