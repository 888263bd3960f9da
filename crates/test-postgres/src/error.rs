//! Why there is no server.

use std::io;
use std::path::PathBuf;

use crate::binaries::OLDEST_MAJOR_VERSION;

/// What can go wrong with a throwaway server.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No server programs of a usable version on this machine: install them.
    #[error(
        "found no PostgreSQL server programs (initdb, postgres) of version {OLDEST_MAJOR_VERSION} or later: install them \
         (Debian, Ubuntu: apt-get install postgresql; Fedora: dnf install postgresql-server; macOS: brew install \
         postgresql){}", too_old(.older)
    )]
    NotInstalled {
        /// Folders with server programs that are too old.
        older: Vec<PathBuf>,
    },
    /// A file, folder or process of the server could not be made or reached.
    #[error("cannot {doing}: {source}")]
    Io {
        /// What was tried, to follow "cannot".
        doing: String,
        /// What the system said.
        source: io::Error,
    },
    /// PostgreSQL does not run as root, and this machine has no user to run it as.
    #[error(
        "PostgreSQL refuses to run as root, and there is no user `postgres` or `nobody` to run it as"
    )]
    NoAccount,
    /// `initdb` said no.
    #[error("initdb failed: {said}")]
    Initdb {
        /// Its own words.
        said: String,
    },
    /// The server ended while it started.
    #[error("PostgreSQL did not start; its log ends with:\n{log}")]
    Exited {
        /// The end of its log.
        log: String,
    },
    /// The server, or a process of it, did not do in time what it was told.
    #[error("PostgreSQL took over {seconds} s to {doing}; its log ends with:\n{log}")]
    TooSlow {
        /// What was waited for, to follow "to".
        doing: &'static str,
        /// The time limit.
        seconds: u64,
        /// The end of its log.
        log: String,
    },
}

impl Error {
    /// For `map_err`: an input or output error with what was tried.
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        |source| Self::Io { doing, source }
    }
}

fn too_old(older: &[PathBuf]) -> String {
    if older.is_empty() {
        return String::new();
    }
    format!("; too old: {older:?}")
}
