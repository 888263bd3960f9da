//! How far the import of a replaced service's table is.

use rusqlite::Connection;
use sync_store::{ImportState, Mark, Phase, Position, StoreError, Tally};

use super::queries;
use crate::failure::{Failure, Outcome};

/// Where an import has ended; 0 if there was none.
///
/// # Errors
///
/// [`StoreError::Unavailable`] while one is under way.
pub(crate) fn ended(connection: &Connection) -> Outcome<Position> {
    let mut statement = connection.prepare_cached(queries::IMPORTED)?;
    let until = statement.query_row([], |row| row.get(0))?;
    Ok(sync_store::imported(Position(until))?)
}

/// How far it is.
pub(crate) fn state(connection: &Connection) -> Outcome<ImportState> {
    let mut statement = connection.prepare_cached(queries::IMPORT_STATE)?;
    let mut rows = statement.query([])?;
    let row = rows
        .next()?
        .ok_or_else(|| Failure::fault("there is no state of an import"))?;
    let mark: Option<String> = row.get(2)?;
    let unreadable = || StoreError::fault("the mark of the import cannot be read");
    let mark = mark.map(|text| Mark::parse(&text).ok_or_else(unreadable));
    Ok(ImportState {
        phase: Phase::from_until(Position(row.get(0)?)),
        last: Position(row.get(1)?),
        mark: mark.transpose()?,
        tally: Tally::parse(row.get_ref(3)?.as_str()?)?,
    })
}

/// Keeps how far it is.
pub(crate) fn keep(connection: &Connection, state: &ImportState) -> Outcome<()> {
    connection.prepare_cached(queries::KEEP_IMPORT)?.execute((
        state.until().0,
        state.last.0,
        state.mark.as_ref().map(ToString::to_string),
        state.tally.text(),
    ))?;
    Ok(())
}
