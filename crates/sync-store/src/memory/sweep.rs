//! Sweeping: what is dead for longer than the history window goes.

use sync_protocol::{AppId, Millis};

use super::{Inner, Kept, Row};
use crate::{Position, RecordKey, StoreError, Swept, strip_deleted};

/// How many rows and records a sweep removes at most.
const SWEEP_BATCH: usize = 1000;

impl Inner {
    pub(super) fn sweep(&mut self, before: Millis) -> Result<Swept, StoreError> {
        let old: Vec<_> = self
            .records
            .iter()
            .filter(|(_, kept)| kept.deleted_since.is_some_and(|since| since <= before))
            .map(|(key, _)| key.clone())
            .take(SWEEP_BATCH)
            .collect();
        for key in &old {
            self.strip(key)?;
        }
        let is_old = |row: &Row| row.dead_since.is_some_and(|since| since <= before);
        let dead: Vec<_> = self
            .log
            .iter()
            .filter(|(_, row)| is_old(row))
            .map(|(position, _)| *position)
            .take(SWEEP_BATCH)
            .collect();
        for position in &dead {
            if let Some(row) = self.log.remove(position) {
                self.events.remove(&(row.entry.user, row.entry.event_id));
            }
        }
        let more = old.len() == SWEEP_BATCH || dead.len() == SWEEP_BATCH;
        Ok(Swept {
            rows: dead.len(),
            records: old.len(),
            more,
        })
    }

    /// Leaves the tombstone of a deleted record; its other rows are dead as of long ago.
    fn strip(&mut self, key: &(AppId, RecordKey)) -> Result<(), StoreError> {
        let Some(kept) = self.records.get_mut(key) else {
            return Ok(());
        };
        let left = strip_deleted(&kept.state)?;
        for position in kept
            .state
            .rows
            .iter()
            .filter(|position| !left.rows.contains(position))
        {
            if let Some(row) = self.log.get_mut(&Position(*position)) {
                row.dead_since = kept.deleted_since;
            }
        }
        for position in &left.rows {
            if let Some(row) = self.log.get_mut(&Position(*position)) {
                row.entry
                    .fields
                    .retain(|(name, ..)| name == sync_merge::deleted_at());
            }
        }
        *kept = Kept {
            state: left,
            deleted_since: None,
        };
        Ok(())
    }
}
