//! How failures of SQLite look to those who call the store.

use rusqlite::ErrorCode;
use rusqlite::types::FromSqlError;
use sync_store::StoreError;

/// What a function of this crate answers.
pub(crate) type Outcome<T> = Result<T, Failure>;

/// A [`StoreError`] that `?` makes of what goes wrong below.
#[derive(Debug)]
pub(crate) struct Failure(pub(crate) StoreError);

impl Failure {
    /// Something that waiting does not mend.
    pub(crate) fn fault(detail: impl Into<String>) -> Self {
        Self(StoreError::fault(detail))
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self(error)
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        let detail = error.to_string();
        Self(match error.sqlite_error_code() {
            Some(code) if passes(code) => StoreError::Unavailable(detail),
            _ => StoreError::Fault(detail),
        })
    }
}

impl From<FromSqlError> for Failure {
    fn from(error: FromSqlError) -> Self {
        rusqlite::Error::from(error).into()
    }
}

/// Whether the same may go well later: when the disk has room again, or another program has let go of the file.
fn passes(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::DiskFull
            | ErrorCode::SystemIoFailure
            | ErrorCode::CannotOpen
            | ErrorCode::OutOfMemory
            | ErrorCode::ReadOnly
            | ErrorCode::FileLockingProtocolFailed
            | ErrorCode::OperationInterrupted
            | ErrorCode::OperationAborted
    )
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi;

    use super::*;

    fn store_error(code: i32) -> StoreError {
        Failure::from(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None)).0
    }

    #[test]
    fn what_may_pass_is_unavailable_and_what_is_broken_a_fault() {
        for code in [
            ffi::SQLITE_FULL,
            ffi::SQLITE_BUSY,
            ffi::SQLITE_IOERR_WRITE,
            ffi::SQLITE_IOERR_FSYNC,
        ] {
            assert!(
                matches!(store_error(code), StoreError::Unavailable(_)),
                "{code}"
            );
        }
        for code in [
            ffi::SQLITE_CORRUPT,
            ffi::SQLITE_NOTADB,
            ffi::SQLITE_CONSTRAINT_UNIQUE,
        ] {
            assert!(matches!(store_error(code), StoreError::Fault(_)), "{code}");
        }
    }
}
