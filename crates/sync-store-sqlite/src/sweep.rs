//! Sweeping: what is dead for longer than the history window goes, a small batch at a time, so that pushes go on (P8).

use rusqlite::Connection;
use sync_protocol::Millis;
use sync_store::{Swept, strip_deleted};

use crate::failure::Outcome;
use crate::tables::maintenance::{self, DeletedRecord};
use crate::tables::{log, records};

/// How many rows, and how many records, one batch takes at the most: a few milliseconds of work.
pub(crate) const BATCH: usize = 500;

/// Strips deleted records to their tombstones and removes dead rows, both of this time or before.
pub(crate) fn sweep(connection: &Connection, before: Millis) -> Outcome<Swept> {
    let deleted = maintenance::deleted_records(connection, before, BATCH)?;
    for record in &deleted {
        strip(connection, record)?;
    }
    let rows = maintenance::remove_dead(connection, before, BATCH)?;
    Ok(Swept {
        rows,
        records: deleted.len(),
        more: deleted.len() == BATCH || rows == BATCH,
    })
}

/// Leaves the tombstone of a record; its other rows are dead as long as it is deleted.
fn strip(connection: &Connection, record: &DeletedRecord) -> Outcome<()> {
    let DeletedRecord {
        app,
        key,
        state,
        since,
    } = record;
    let left = strip_deleted(state)?;
    let gone = state.rows.iter().filter(|row| !left.rows.contains(row));
    for position in gone {
        log::bury(connection, app, &key.scope, *position, *since)?;
    }
    for position in &left.rows {
        log::keep_delete(connection, app, &key.scope, *position)?;
    }
    records::write(connection, app, key, &left, None)
}
