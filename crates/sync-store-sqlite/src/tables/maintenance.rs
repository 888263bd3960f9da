//! What the server does for all scopes at once: it counts, and removes what is dead for long. No answer to a client
//! comes from here.

use rusqlite::{Connection, Row};
use sync_protocol::{AppId, Millis, RecordId, TableName};
use sync_store::{RecordKey, RecordState, Scope};

use super::{queries, records};
use crate::failure::{Failure, Outcome};

/// Up to so many dead rows are counted.
const MAX_COUNTED: i64 = 10_000;

/// A deleted record whose values wait to be removed.
#[derive(Debug)]
pub(crate) struct DeletedRecord {
    /// Its app.
    pub(crate) app: AppId,
    /// Its key.
    pub(crate) key: RecordKey,
    /// How it stands.
    pub(crate) state: RecordState,
    /// Since when it is deleted.
    pub(crate) since: Millis,
}

/// How many rows are dead and not yet removed, counted no further than [`MAX_COUNTED`]: figures are asked for often, and
/// an operator sees by that many that sweeps do not keep up.
pub(crate) fn count_dead(connection: &Connection) -> Outcome<u64> {
    let mut statement = connection.prepare_cached(queries::COUNT_DEAD)?;
    let dead: i64 = statement.query_row([MAX_COUNTED], |row| row.get(0))?;
    Ok(u64::try_from(dead).unwrap_or(0))
}

/// Removes some rows that died at this time or before; the oldest first, `limit` at the most.
pub(crate) fn remove_dead(connection: &Connection, before: Millis, limit: usize) -> Outcome<usize> {
    let mut statement = connection.prepare_cached(queries::REMOVE_DEAD)?;
    Ok(statement.execute((before.0, bound(limit)))?)
}

/// Some records that were deleted at this time or before and still have values; the oldest first, `limit` at the most.
pub(crate) fn deleted_records(
    connection: &Connection,
    before: Millis,
    limit: usize,
) -> Outcome<Vec<DeletedRecord>> {
    let mut statement = connection.prepare_cached(queries::DELETED_RECORDS)?;
    let mut rows = statement.query((before.0, bound(limit)))?;
    let mut records = Vec::new();
    while let Some(row) = rows.next()? {
        records.push(deleted_record(row)?);
    }
    Ok(records)
}

fn bound(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

fn deleted_record(row: &Row<'_>) -> Outcome<DeletedRecord> {
    let text = |column| -> Outcome<&str> { Ok(row.get_ref(column)?.as_str()?) };
    let unreadable = || Failure::fault("the key of a record cannot be read");
    Ok(DeletedRecord {
        app: AppId::new(text(1)?).map_err(|_| unreadable())?,
        key: RecordKey {
            scope: Scope::from_key(text(0)?).ok_or_else(unreadable)?,
            table: TableName::new(text(2)?).map_err(|_| unreadable())?,
            record: RecordId::new(text(3)?).map_err(|_| unreadable())?,
        },
        state: RecordState {
            state: row.get(4)?,
            rows: records::positions(text(5)?)?,
            version: row.get(6)?,
            deleted: true,
        },
        since: Millis(row.get(7)?),
    })
}
