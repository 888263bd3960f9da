//! How the file is opened: the settings that the promises rest on, and the lock that keeps a second server away.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use sync_store::StoreError;

use crate::failure::{Failure, Outcome};

/// How long a statement waits for a program that holds the file (a backup, a shell).
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// More than there are statements.
const CACHED_STATEMENTS: usize = 64;

/// For the thread that writes. `synchronous=FULL`: a commit is on disk before it is answered (P1). The write-ahead log
/// is copied back each 16 MiB, and cut after a reader has kept it longer.
const WRITER_SETTINGS: &str = "
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
PRAGMA foreign_keys = OFF;
PRAGMA trusted_schema = OFF;
PRAGMA temp_store = MEMORY;
PRAGMA cache_size = -65536;
PRAGMA wal_autocheckpoint = 4096;
PRAGMA journal_size_limit = 67108864;
";

/// What `PRAGMA synchronous` says of `FULL`.
const FULL: i64 = 2;

/// For a thread that reads.
const READER_SETTINGS: &str = "
PRAGMA query_only = ON;
PRAGMA foreign_keys = OFF;
PRAGMA trusted_schema = OFF;
PRAGMA temp_store = MEMORY;
PRAGMA cache_size = -16384;
";

/// The right to be the only server on a file, for as long as the value lives.
#[derive(Debug)]
pub(crate) struct OnlyServer {
    /// Unlocked by the system when it is closed, by whatever end of the process.
    _lock: File,
}

/// Makes the folder that a database file is to be in, for its owner only where it is new.
///
/// # Errors
///
/// It cannot be made.
pub(crate) fn make_folder(path: &Path) -> Outcome<()> {
    let Some(folder) = path.parent() else {
        return Ok(());
    };
    if folder.as_os_str().is_empty() || folder.is_dir() {
        return Ok(());
    }
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
        .create(folder)
        .map_err(|error| unavailable("make the folder", folder, &error))
}

/// Takes the lock file beside the database.
///
/// # Errors
///
/// [`StoreError::Unavailable`] if another process has it.
pub(crate) fn lock(path: &Path) -> Outcome<OnlyServer> {
    let beside = lock_path(path);
    let file = owners_file(&beside).map_err(|error| unavailable("open", &beside, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(OnlyServer { _lock: file }),
        Err(TryLockError::WouldBlock) => Err(Failure(StoreError::unavailable(format!(
            "another server has the database {} open (it holds {}): stop it first, one process at a time may use a file",
            path.display(),
            beside.display()
        )))),
        Err(TryLockError::Error(error)) => Err(unavailable("lock", &beside, &error)),
    }
}

/// Opens the connection that writes; makes the file if there is none.
///
/// # Errors
///
/// The file cannot be opened, or is no database.
pub(crate) fn writer(path: &Path) -> Outcome<Connection> {
    // Closing a second handle on a file that is open would drop SQLite's locks on it, so only a new one is made here.
    if !path.exists() {
        owners_file(path).map_err(|error| unavailable("make", path, &error))?;
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = open(path, flags)?;
    connection.execute_batch(WRITER_SETTINGS)?;
    let setting =
        |name| connection.query_row(name, [], |row| row.get::<_, rusqlite::types::Value>(0));
    let (journal, synchronous) = (
        setting("PRAGMA journal_mode")?,
        setting("PRAGMA synchronous")?,
    );
    if journal != "wal".to_owned().into() || synchronous != FULL.into() {
        return Err(Failure::fault(format!(
            "the database {} does not take a write-ahead log with full synchronisation: is it on a network disk?",
            path.display()
        )));
    }
    Ok(connection)
}

/// Opens a connection that only reads.
///
/// # Errors
///
/// The file cannot be opened, or is no database.
pub(crate) fn reader(path: &Path) -> Outcome<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = open(path, flags)?;
    connection.execute_batch(READER_SETTINGS)?;
    Ok(connection)
}

fn open(path: &Path, flags: OpenFlags) -> Outcome<Connection> {
    // An absolute path never looks like a URI to SQLite.
    let absolute = std::path::absolute(path).map_err(|error| unavailable("open", path, &error))?;
    let connection = Connection::open_with_flags(absolute, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_prepared_statement_cache_capacity(CACHED_STATEMENTS);
    Ok(connection)
}

/// Opens a file to be read and written, and makes it for its owner only if there is none: it holds what people keep to
/// themselves.
fn owners_file(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn lock_path(path: &Path) -> PathBuf {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".lock");
    PathBuf::from(beside)
}

fn unavailable(doing: &str, path: &Path, error: &std::io::Error) -> Failure {
    Failure(StoreError::unavailable(format!(
        "cannot {doing} {}: {error}",
        path.display()
    )))
}
