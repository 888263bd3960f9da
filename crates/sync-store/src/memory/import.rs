//! Taking over a table, in memory.

use std::collections::HashMap;
use std::future::ready;

use sync_protocol::Millis;

use super::{Inner, MemoryStore};
use crate::{
    Import, ImportBatch, ImportState, Importer, KeptRecord, Loaded, ParkedRow, Pending, Position,
    Rules, StoreError,
};

impl Importer for MemoryStore {
    fn state(&self) -> Pending<'_, ImportState> {
        Box::pin(ready(Ok(self.locked().import.clone())))
    }

    fn begin(&self) -> Pending<'_, ImportState> {
        Box::pin(ready(self.locked().begin_import()))
    }

    fn take(&self, import: Import) -> Pending<'_, ImportState> {
        Box::pin(ready(self.locked().import(import, self.rules)))
    }

    fn end(&self, now: Millis) -> Pending<'_, ImportState> {
        Box::pin(ready(Ok(self.locked().end_import(now))))
    }
}

impl Inner {
    fn begin_import(&mut self) -> Result<ImportState, StoreError> {
        let greatest = self.log.last_key_value();
        let greatest = greatest.map(|(position, _)| *position).unwrap_or_default();
        let begun = self.import.clone().begun(greatest, Position(self.clock))?;
        self.import = begun;
        Ok(self.import.clone())
    }

    fn import(&mut self, import: Import, rules: Rules) -> Result<ImportState, StoreError> {
        self.import.check_follows(&import)?;
        let batch = ImportBatch::read(import);
        let mut loaded = HashMap::new();
        for (app, keys) in batch.keys() {
            let mut of_app = Loaded::default();
            for key in keys {
                self.load_record(&app, key, &mut of_app)?;
            }
            loaded.insert(app, of_app);
        }
        let writes = batch.decide(loaded, rules, self.import.last)?;
        self.import = self.import.clone().behind(&writes);
        self.clock = self.clock.max(writes.last.0);
        for entry in writes.entries {
            self.append(entry)?;
        }
        for (position, since) in writes.dead {
            self.bury(position, since);
        }
        for KeptRecord {
            app,
            key,
            state,
            deleted_since,
        } in writes.records
        {
            self.keep(app, key, state, deleted_since);
        }
        for gone in writes.gone {
            self.records.remove(&gone);
        }
        for ParkedRow {
            user, app, parked, ..
        } in writes.parked
        {
            self.park(user, app, parked);
        }
        Ok(self.import.clone())
    }

    fn end_import(&mut self, now: Millis) -> ImportState {
        self.import = self.import.clone().ended(now, Position(self.clock));
        self.clock = self.clock.max(self.import.last.0);
        self.import.clone()
    }
}
