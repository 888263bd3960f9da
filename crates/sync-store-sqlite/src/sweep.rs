//! Sweeping: what is dead for longer than the history window goes, a small batch at a time, so that pushes go on (P8).

use rusqlite::Connection;
use sync_protocol::Millis;
use sync_store::{RecordState, StoreError, Swept, strip_deleted};

use crate::failure::{Failure, Outcome};
use crate::tables::maintenance::{self, DeletedRecord};
use crate::tables::{log, records, uploads};

/// How many dead rows one batch removes at the most.
const ROWS: usize = 500;
/// How many records one batch strips at the most: fewer, since it reads their last values.
const RECORDS: usize = 100;
/// How many bytes either takes up at the most; a row or a record that has more is alone.
const BYTES: usize = 4 * 1024 * 1024;
/// How many records that cannot be stripped one batch passes over at the most: some milliseconds of work for nothing.
const DAMAGED: usize = 1000;

/// Strips deleted records to their tombstones and removes dead rows, both of this time or before, and forgets uploads
/// that are not to be remembered.
pub(crate) fn sweep(connection: &Connection, before: Millis, remembered: Millis) -> Outcome<Swept> {
    let more_uploads = uploads::forget(connection, remembered)?;
    let records = strip_records(connection, before)?;
    let rows = remove_dead(connection, before)?;
    Ok(Swept {
        rows: rows.taken,
        records: records.taken,
        more: records.is_full || rows.is_full || more_uploads,
    })
}

/// What one batch has taken, and what it has room for.
#[derive(Debug)]
struct Batch {
    taken: usize,
    limit: usize,
    room: usize,
    /// Whether something was left for the next batch. Never without something taken: sweeping again has to get further.
    is_full: bool,
}

impl Batch {
    fn new(limit: usize) -> Self {
        Self {
            taken: 0,
            limit,
            room: BYTES,
            is_full: false,
        }
    }

    /// Whether something of this size may be tried; always, as long as nothing is taken.
    fn fits(&mut self, bytes: usize) -> bool {
        self.is_full = self.taken == self.limit || self.taken > 0 && bytes > self.room;
        if !self.is_full {
            self.room = self.room.saturating_sub(bytes);
        }
        !self.is_full
    }
}

fn strip_records(connection: &Connection, before: Millis) -> Outcome<Batch> {
    let mut batch = Batch::new(RECORDS);
    let mut damaged = 0;
    while damaged < DAMAGED {
        // Those that are stripped are due no more, so the damaged ones are the first that are.
        let due = maintenance::deleted_records(connection, before, damaged, RECORDS)?;
        if due.is_empty() {
            return Ok(batch);
        }
        for record in due {
            if !try_strip(connection, record, &mut batch)? {
                damaged += 1;
            }
            if batch.is_full {
                return Ok(batch);
            }
        }
    }
    batch.is_full = batch.taken > 0;
    Ok(batch)
}

/// Strips a record if it fits, inside a savepoint of its own: one that is damaged stays as it is, is told in the log, and
/// holds up no other.
fn try_strip(
    connection: &Connection,
    record: Outcome<DeletedRecord>,
    batch: &mut Batch,
) -> Outcome<bool> {
    connection.prepare_cached("SAVEPOINT record")?.execute([])?;
    let outcome = record.and_then(|record| strip(connection, &record, batch));
    let is_whole = outcome.is_ok();
    match outcome {
        Ok(()) => {}
        Err(Failure(error @ StoreError::Fault(_))) if !connection.is_autocommit() => {
            tracing::error!(%error, "a deleted record cannot be stripped and is passed over");
            let mut back = connection.prepare_cached("ROLLBACK TO record")?;
            back.execute([])?;
        }
        // What may pass is no damage.
        Err(failure) => return Err(failure),
    }
    connection.prepare_cached("RELEASE record")?.execute([])?;
    Ok(is_whole)
}

/// Leaves the tombstone of a record; its other rows are dead as long as it is deleted.
fn strip(connection: &Connection, record: &DeletedRecord, batch: &mut Batch) -> Outcome<()> {
    let DeletedRecord { app, key, since } = record;
    let found = records::find(connection, app, key)?;
    let stored = found.ok_or_else(|| Failure::fault("a deleted record is gone"))?;
    let mut bytes = stored.state.len();
    for position in &stored.rows {
        let size = log::size_of(connection, app, &key.scope, *position)?;
        bytes = bytes.saturating_add(size);
    }
    if !batch.fits(bytes) {
        return Ok(());
    }
    let state = RecordState {
        state: stored.state,
        rows: stored.rows,
        version: stored.version,
        deleted: true,
    };
    let left = strip_deleted(&state)?;
    let gone = state.rows.iter().filter(|row| !left.rows.contains(row));
    for position in gone {
        log::bury(connection, app, &key.scope, *position, *since)?;
    }
    for position in &left.rows {
        log::keep_delete(connection, app, &key.scope, *position)?;
    }
    records::write(connection, app, key, &left, None)?;
    batch.taken += 1;
    Ok(())
}

fn remove_dead(connection: &Connection, before: Millis) -> Outcome<Batch> {
    let mut batch = Batch::new(ROWS);
    let mut dead = Vec::new();
    maintenance::each_dead(connection, before, |position, size| {
        let fits = batch.fits(size);
        if fits {
            dead.push(position);
            batch.taken += 1;
        }
        fits
    })?;
    for position in dead {
        maintenance::remove(connection, position)?;
    }
    Ok(batch)
}
