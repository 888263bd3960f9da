//! The schema and its history: SQL files that are applied in order, once, and never edited afterwards.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior};
use sync_store::StoreError;

use crate::connection;
use crate::failure::{Failure, Outcome};

const APPLIED: &str = "
CREATE TABLE IF NOT EXISTS sync_migrations (
    version    INTEGER PRIMARY KEY,
    name       TEXT NOT NULL,
    digest     TEXT NOT NULL,
    applied_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
) STRICT;
";

const MIGRATIONS: [Migration; 5] = [
    Migration {
        version: 1,
        name: "log",
        sql: include_str!("../migrations/0001_log.sql"),
    },
    Migration {
        version: 2,
        name: "spaces",
        sql: include_str!("../migrations/0002_spaces.sql"),
    },
    Migration {
        version: 3,
        name: "erase",
        sql: include_str!("../migrations/0003_erase.sql"),
    },
    Migration {
        version: 4,
        name: "import",
        sql: include_str!("../migrations/0004_import.sql"),
    },
    Migration {
        version: 5,
        name: "rows",
        sql: include_str!("../migrations/0005_rows.sql"),
    },
];

/// One file of `migrations/`.
#[derive(Clone, Copy, Debug)]
struct Migration {
    version: i64,
    name: &'static str,
    sql: &'static str,
}

impl Migration {
    /// A digest of its text, by which an edit is noticed.
    fn digest(&self) -> String {
        format!("{:016x}", sync_merge::digest(self.sql.as_bytes()))
    }
}

/// Makes the database at `path` if there is none, brings its schema up to date, and says what was done, a line each.
///
/// # Errors
///
/// [`StoreError::Unavailable`] if the file cannot be opened or a server uses it; [`StoreError::Fault`] if its schema is
/// newer than this program, or its history another one.
pub fn migrate(path: &Path) -> Result<Vec<String>, StoreError> {
    let migrated = || -> Outcome<Vec<String>> {
        connection::make_folder(path)?;
        let _only = connection::lock(path)?;
        bring_up_to_date(&mut connection::writer(path)?)
    };
    migrated().map_err(|failure| failure.0)
}

/// Applies what is missing, each migration in a transaction of its own.
///
/// # Errors
///
/// The schema is newer than this program, or its history another one.
pub(crate) fn bring_up_to_date(connection: &mut Connection) -> Outcome<Vec<String>> {
    connection.execute_batch(APPLIED)?;
    apply(connection, &MIGRATIONS)
}

/// The schema's version, having made sure that this program knows it; 0 where there is none.
///
/// # Errors
///
/// The schema is newer than this program, or its history another one.
pub(crate) fn version(connection: &Connection) -> Outcome<i64> {
    let known = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'sync_migrations'";
    let any = connection.query_row(known, [], |_| Ok(())).optional()?;
    match any {
        Some(()) => verified(connection, &MIGRATIONS),
        None => Ok(0),
    }
}

/// The newest version that this program knows.
pub(crate) fn newest() -> i64 {
    MIGRATIONS.last().map_or(0, |migration| migration.version)
}

fn apply(connection: &mut Connection, migrations: &[Migration]) -> Outcome<Vec<String>> {
    let at = verified(connection, migrations)?;
    let mut done = Vec::new();
    for migration in migrations.iter().filter(|migration| migration.version > at) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(migration.sql)?;
        transaction.execute(
            "INSERT INTO sync_migrations (version, name, digest) VALUES (?1, ?2, ?3)",
            (migration.version, migration.name, migration.digest()),
        )?;
        transaction.commit()?;
        done.push(format!(
            "applied {:04}_{}",
            migration.version, migration.name
        ));
    }
    Ok(done)
}

/// The version of the schema, whose history is that of `migrations`.
fn verified(connection: &Connection, migrations: &[Migration]) -> Outcome<i64> {
    let mut statement =
        connection.prepare("SELECT version, digest FROM sync_migrations ORDER BY version")?;
    let mut rows = statement.query([])?;
    let mut at = 0;
    while let Some(row) = rows.next()? {
        let (version, digest): (i64, String) = (row.get(0)?, row.get(1)?);
        let Some(migration) = migrations.iter().find(|known| known.version == version) else {
            return Err(newer(version, migrations));
        };
        if migration.digest() != digest {
            return Err(Failure::fault(format!(
                "migration {version:04}_{} is not the one that this database was made with: a merged migration is never edited",
                migration.name
            )));
        }
        at = version;
    }
    Ok(at)
}

fn newer(version: i64, migrations: &[Migration]) -> Failure {
    let known = migrations.last().map_or(0, |migration| migration.version);
    Failure::fault(format!(
        "the database was made by a newer server: its schema has version {version}, this one knows up to {known}; \
         start the newer server, or restore a backup from before"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Migration = Migration {
        version: 1,
        name: "first",
        sql: "CREATE TABLE first (x INTEGER) STRICT;",
    };
    const SECOND: Migration = Migration {
        version: 2,
        name: "second",
        sql: "CREATE TABLE second (x INTEGER) STRICT;",
    };

    fn with(migrations: &[Migration]) -> Connection {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(APPLIED).unwrap();
        apply(&mut connection, migrations).unwrap();
        connection
    }

    fn refusal(connection: &mut Connection, migrations: &[Migration]) -> String {
        apply(connection, migrations).unwrap_err().0.to_string()
    }

    #[test]
    fn only_what_is_missing_is_applied() {
        let mut connection = with(&[FIRST]);
        let done = apply(&mut connection, &[FIRST, SECOND]).unwrap();
        assert_eq!(done, ["applied 0002_second"]);
        assert_eq!(
            apply(&mut connection, &[FIRST, SECOND]).unwrap(),
            Vec::<String>::new()
        );
    }

    #[test]
    fn a_migration_that_fails_leaves_nothing_behind() {
        let mut connection = with(&[FIRST]);
        let broken = Migration {
            sql: "CREATE TABLE half (x INTEGER) STRICT; CREATE TABLE nonsense",
            ..SECOND
        };
        assert!(apply(&mut connection, &[FIRST, broken]).is_err());
        assert_eq!(verified(&connection, &[FIRST, broken]).unwrap(), 1);
        apply(&mut connection, &[FIRST, SECOND]).unwrap();
        connection.prepare("SELECT x FROM half").unwrap_err();
    }

    #[test]
    fn an_edited_migration_is_refused() {
        let mut connection = with(&[FIRST]);
        let edited = Migration {
            sql: SECOND.sql,
            ..FIRST
        };
        let refusal = refusal(&mut connection, &[edited]);
        assert!(refusal.contains("0001_first is not the one"), "{refusal}");
    }

    #[test]
    fn a_newer_schema_is_refused() {
        let mut connection = with(&[FIRST, SECOND]);
        let refusal = refusal(&mut connection, &[FIRST]);
        assert!(
            refusal.contains("its schema has version 2, this one knows up to 1"),
            "{refusal}"
        );
    }

    #[test]
    fn versions_are_counted_from_one_without_gaps() {
        let versions: Vec<_> = MIGRATIONS
            .iter()
            .map(|migration| migration.version)
            .collect();
        assert_eq!(versions, (1..=newest()).collect::<Vec<_>>());
    }
}
