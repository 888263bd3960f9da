//! What an operator wants to know of a database file before trusting it.

use std::path::Path;

use rusqlite::Connection;
use sync_store::{Finding, StoreError};

use crate::failure::{Failure, Outcome};
use crate::{connection, migrations};

/// Looks at the database at `path` and says what it finds, a line each. It writes nothing, and may be asked while a
/// server uses the file.
///
/// # Errors
///
/// [`StoreError`] if there is no database, if its integrity is lost, or if its schema is not one of this program.
pub fn check(path: &Path) -> Result<Vec<Finding>, StoreError> {
    report(path).map_err(|failure| failure.0)
}

fn report(path: &Path) -> Outcome<Vec<Finding>> {
    if !path.is_file() {
        return Err(Failure(StoreError::unavailable(format!(
            "there is no database at {}; serving or migrating makes one",
            path.display()
        ))));
    }
    let connection = connection::reader(path)?;
    let findings = [
        format!("file {}", path.display()),
        format!("journal mode {}", text(&connection, "PRAGMA journal_mode")?),
        "synchronous full (set, and read back, whenever a server opens the file)".to_owned(),
        format!("size {} bytes", size(&connection)?),
        schema(&connection)?,
        format!("integrity {}", integrity(&connection)?),
    ];
    Ok(findings.into_iter().map(Finding::Well).collect())
}

fn text(connection: &Connection, pragma: &str) -> Outcome<String> {
    Ok(connection.query_row(pragma, [], |row| row.get(0))?)
}

fn size(connection: &Connection) -> Outcome<i64> {
    let number = |pragma| connection.query_row(pragma, [], |row| row.get::<_, i64>(0));
    let (pages, bytes) = (number("PRAGMA page_count")?, number("PRAGMA page_size")?);
    Ok(pages.saturating_mul(bytes))
}

fn schema(connection: &Connection) -> Outcome<String> {
    let (at, newest) = (migrations::version(connection)?, migrations::newest());
    Ok(match newest - at {
        0 => format!("schema version {at}, up to date"),
        missing => format!("schema version {at}, {missing} to be applied"),
    })
}

fn integrity(connection: &Connection) -> Outcome<String> {
    match text(connection, "PRAGMA quick_check(1)")? {
        fine if fine == "ok" => Ok(fine),
        found => Err(Failure::fault(format!(
            "the database is damaged: {found}; restore a backup"
        ))),
    }
}
