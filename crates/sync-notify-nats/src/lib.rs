//! Notices between nodes over NATS: [`NatsRelay`], a [`Relay`](sync_notify::Relay) for those who run a NATS server anyway.
//!
//! NATS may be away at the start, at any time and for ever; the node does not wait for it. What is to be sent meanwhile is
//! lost and counted, since a notice that is told late is worth less than the look at the log that has found it by then.
//!
//! ```text
//! publish -> Outbox -> one task, that holds one connection at a time -> {prefix}.{0..63}
//!                         |  lost? back-off, connect, Hub::may_have_missed
//! Hub::hear <-------------+ <------------------------------------------ {prefix}.*
//! ```
//!
//! TLS speaks OpenSSL's cryptography, as everything else here does.
//!
//! The crate knows no SQL, no HTTP, no environment, and nothing of JetStream: nothing is kept in NATS.

mod backoff;
mod config;
mod connection;
mod counts;
mod error;
mod relay;
mod servers;
mod subjects;
mod tls;

pub use config::{Config, DEFAULT_PREFIX};
pub use error::NatsError;
pub use relay::NatsRelay;
