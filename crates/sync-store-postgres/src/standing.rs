//! Where the log stands for a reader.

use sync_store::{Delta, Position, StoreError, imported};
use tokio_postgres::Row;

/// Reads the row of [`crate::queries::STANDING`].
pub(crate) fn read_standing(rows: &[Row]) -> Result<Delta, StoreError> {
    let [row] = rows else {
        return Err(StoreError::fault("the log stands in one place"));
    };
    Ok(Delta {
        horizon: Position(row.get(0)),
        greatest: Position(row.get(1)),
        imported: imported(Position(row.get(2)))?,
    })
}
