//! What the server does for all scopes at once: it counts, and removes what is dead for long. No answer to a client
//! comes from here.

use rusqlite::{Connection, Row};
use sync_protocol::{AppId, Millis, RecordId, TableName};
use sync_store::{RecordKey, Scope};

use super::queries;
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

/// Tells the position and the size of the rows that died at this time or before, the oldest first, as long as the answer
/// is that more are wanted.
pub(crate) fn each_dead(
    connection: &Connection,
    before: Millis,
    mut wants_more: impl FnMut(i64, usize) -> bool,
) -> Outcome<()> {
    let mut statement = connection.prepare_cached(queries::EACH_DEAD)?;
    let mut rows = statement.query([before.0])?;
    while let Some(row) = rows.next()? {
        let size = usize::try_from(row.get::<_, i64>(1)?).unwrap_or(0);
        if !wants_more(row.get(0)?, size) {
            break;
        }
    }
    Ok(())
}

/// Removes a row.
pub(crate) fn remove(connection: &Connection, position: i64) -> Outcome<()> {
    connection
        .prepare_cached(queries::REMOVE)?
        .execute([position])?;
    Ok(())
}

/// Some records that were deleted at this time or before and still have values, each unless its key cannot be
/// read: the oldest first, without the first `passed_over`, `limit` at the most.
pub(crate) fn deleted_records(
    connection: &Connection,
    before: Millis,
    passed_over: usize,
    limit: usize,
) -> Outcome<Vec<Outcome<DeletedRecord>>> {
    let mut statement = connection.prepare_cached(queries::DELETED_RECORDS)?;
    let mut rows = statement.query((before.0, bound(passed_over), bound(limit)))?;
    let mut records = Vec::new();
    while let Some(row) = rows.next()? {
        records.push(deleted_record(row));
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
        since: Millis(row.get(4)?),
    })
}
