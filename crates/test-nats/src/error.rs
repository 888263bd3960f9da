//! Why there is no server.

use std::io;

/// What can go wrong with a throwaway server.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No server program on this machine: install it.
    #[error(
        "found no nats-server, and this test needs one: run `.ci/install nats`, or install it (Debian, Ubuntu: apt-get \
         install nats-server; macOS: brew install nats-server)"
    )]
    NotInstalled,
    /// A file, folder or process of the server could not be made or reached.
    #[error("cannot {doing}: {source}")]
    Io {
        /// What was tried, to follow "cannot".
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The server ended while it started.
    #[error("nats-server did not start; its log ends with:\n{log}")]
    Exited {
        /// The end of its log.
        log: String,
    },
    /// The server did not start in time.
    #[error("nats-server took over {seconds} s to start; its log ends with:\n{log}")]
    TooSlow {
        /// The time limit.
        seconds: u64,
        /// The end of its log.
        log: String,
    },
}

impl Error {
    /// For `map_err`: an input or output error with what was tried.
    pub(crate) fn io(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing, source }
    }
}
