//! Why a relay cannot be started: its settings are wrong.

use async_nats::rustls;

/// What keeps a relay from being started. NATS being away is not among it. No text holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum NatsError {
    /// A URL of the list cannot be used.
    #[error("URL {place} of the NATS servers {reason}")]
    Url {
        /// Which one, counted from 1.
        place: usize,
        /// What is wrong with it, to follow its name.
        reason: &'static str,
    },
    /// Two URLs name different users.
    #[error(
        "the URLs of the NATS servers name different users or passwords; one list is one cluster"
    )]
    Logins,
    /// The prefix cannot begin a subject.
    #[error(
        "{prefix:?} cannot begin a NATS subject: it takes words of letters, digits, - and _, with dots between them"
    )]
    Prefix {
        /// The prefix.
        prefix: String,
    },
    /// The further certificate authorities cannot be read.
    #[error("the certificate authorities for NATS are not certificates in PEM form: {reason}")]
    Authorities {
        /// What is wrong with them.
        reason: String,
    },
    /// OpenSSL offers nothing to speak TLS with.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}
