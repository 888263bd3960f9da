//! Taking over the table of a replaced service: each batch is one transaction, with the mark of its last row.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use rusqlite::Connection;
use sync_protocol::{AppId, Millis};
use sync_store::{
    Import, ImportBatch, ImportState, ImportWrites, Importer, Loaded, Pending, RecordKey, Rules,
    Scope,
};

use crate::failure::{Failure, Outcome};
use crate::store::SqliteStore;
use crate::tables::{clock, import, log, parked, records};

/// Larger than any batch of pushes.
const ALONE: usize = usize::MAX;

impl Importer for SqliteStore {
    fn state(&self) -> Pending<'_, ImportState> {
        self.read(import::state)
    }

    fn begin(&self) -> Pending<'_, ImportState> {
        self.write(ALONE, begin)
    }

    fn take(&self, batch: Import) -> Pending<'_, ImportState> {
        let rules = self.rules();
        self.write(ALONE, move |connection| take(connection, batch, rules))
    }

    fn end(&self, now: Millis) -> Pending<'_, ImportState> {
        self.write(ALONE, move |connection| {
            let state = import::state(connection)?;
            remember(connection, state.ended(now, clock::last(connection)?))
        })
    }
}

fn begin(connection: &Connection) -> Outcome<ImportState> {
    let state = import::state(connection)?;
    let begun = state.begun(log::greatest(connection)?, clock::last(connection)?)?;
    remember(connection, begun)
}

fn take(connection: &Connection, batch: Import, rules: Rules) -> Outcome<ImportState> {
    let state = import::state(connection)?;
    state.check_follows(&batch)?;
    let batch = ImportBatch::read(batch);
    let (loaded, mut places) = load(connection, batch.keys())?;
    let writes = batch.decide(loaded, rules, state.last)?;
    write(connection, &writes, &mut places)?;
    remember(connection, state.behind(&writes))
}

/// Keeps the state, and moves the clock above all that belongs to the import.
fn remember(connection: &Connection, state: ImportState) -> Outcome<ImportState> {
    import::keep(connection, &state)?;
    clock::advance(connection, state.last)?;
    Ok(state)
}

/// The app and the scope of each live row that was loaded.
type Places = HashMap<i64, (AppId, Scope)>;

fn load(
    connection: &Connection,
    keys: BTreeMap<AppId, BTreeSet<RecordKey>>,
) -> Outcome<(HashMap<AppId, Loaded>, Places)> {
    let (mut all, mut places) = (HashMap::new(), Places::new());
    for (app, keys) in keys {
        let mut loaded = Loaded::default();
        for key in keys {
            let Some(record) = records::find(connection, &app, &key)? else {
                continue;
            };
            for position in record.rows {
                log::load_fields(connection, &app, &key.scope, position, &mut loaded)?;
                places.insert(position, (app.clone(), key.scope.clone()));
            }
            loaded.record(key, record.state, record.version);
        }
        all.insert(app, loaded);
    }
    Ok((all, places))
}

fn write(connection: &Connection, writes: &ImportWrites, places: &mut Places) -> Outcome<()> {
    for entry in &writes.entries {
        log::append(connection, entry)?;
    }
    for (position, since) in &writes.dead {
        let (app, scope) = places
            .remove(&position.0)
            .ok_or_else(|| Failure::fault(format!("row {} was not loaded", position.0)))?;
        log::bury(connection, &app, &scope, position.0, *since)?;
    }
    for kept in &writes.records {
        records::write(
            connection,
            &kept.app,
            &kept.key,
            &kept.state,
            kept.deleted_since,
        )?;
    }
    for (app, key) in &writes.gone {
        records::forget(connection, app, key)?;
    }
    for row in &writes.parked {
        let parked = std::slice::from_ref(&row.parked);
        parked::keep(connection, &row.user, &row.app, parked, row.received)?;
    }
    Ok(())
}
