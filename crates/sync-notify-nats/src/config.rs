//! What a relay is told at its start.

use std::fmt;

use crate::NatsError;
use crate::servers::Servers;
use crate::subjects::Subjects;

/// The prefix of the subjects, if no other one is given.
pub const DEFAULT_PREFIX: &str = "sync.notices";

/// Where NATS is, and under which subjects the nodes meet there.
#[derive(Clone)]
pub struct Config {
    /// The URL of a server, or several with commas between them: `nats://user:password@host:port`, `nats://token@host`, or
    /// `tls://…`, which refuses to speak without TLS. With `nats://` the server decides, and a certificate is verified all
    /// the same. The port is 4222 if none is given. Characters with a meaning (`@ : / , %`) are percent-encoded in names and
    /// passwords. A list has one user.
    pub url: String,
    /// What the subjects begin with. Nodes hear each other if they have the same, so that two systems can share a server.
    pub prefix: String,
    /// Certificates in PEM form, of authorities that are trusted beside those of the machine (`SSL_CERT_FILE` of the
    /// environment replaces those).
    pub authorities: Option<Vec<u8>>,
}

impl Config {
    /// These servers, and everything else as usual.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            prefix: DEFAULT_PREFIX.to_owned(),
            authorities: None,
        }
    }
}

impl Config {
    /// Whether a relay can be started with it.
    ///
    /// # Errors
    ///
    /// What is wrong with the URLs or the prefix.
    pub fn check(&self) -> Result<(), NatsError> {
        Servers::parse(&self.url)?;
        Subjects::new(&self.prefix)?;
        Ok(())
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL may hold a password.
        out.debug_struct("Config")
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}
