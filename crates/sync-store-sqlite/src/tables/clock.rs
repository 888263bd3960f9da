//! The clock that positions are drawn from.

use rusqlite::Connection;
use sync_protocol::Millis;
use sync_store::Position;

use super::queries;
use crate::failure::Outcome;

const NANOS_PER_MILLI: i64 = 1_000_000;

/// Draws so many positions, one behind the other, and gives the first: greater than every one before, and no less than
/// the wall clock.
pub(crate) fn draw(connection: &Connection, count: usize, now: Millis) -> Outcome<Position> {
    if count == 0 {
        return Ok(Position::default());
    }
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    let mut statement = connection.prepare_cached(queries::DRAW)?;
    let wall = now.0.saturating_mul(NANOS_PER_MILLI);
    let first = statement.query_row((wall, count), |row| row.get(0))?;
    Ok(Position(first))
}

/// Draws nothing more up to a position.
pub(crate) fn advance(connection: &Connection, to: Position) -> Outcome<()> {
    connection
        .prepare_cached(queries::ADVANCE)?
        .execute([to.0])?;
    Ok(())
}

/// The last position drawn.
pub(crate) fn last(connection: &Connection) -> Outcome<Position> {
    let mut statement = connection.prepare_cached(queries::CLOCK)?;
    Ok(Position(statement.query_row([], |row| row.get(0))?))
}
