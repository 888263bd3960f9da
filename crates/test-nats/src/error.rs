//! Why there is no server.

use std::{fmt, io};

/// What can go wrong with a throwaway server.
#[derive(thiserror::Error)]
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

/// Says what the error says: a test that unwraps it tells what to install.
impl fmt::Debug for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl Error {
    /// For `map_err`: an input or output error with what was tried.
    pub(crate) fn io(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing, source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_that_unwraps_a_missing_server_names_the_command_that_installs_it() {
        let said = format!("{:?}", Error::NotInstalled);
        assert!(said.contains("`.ci/install nats`"), "{said}");
    }
}
