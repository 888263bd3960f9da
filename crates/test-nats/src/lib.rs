//! A throwaway NATS server for tests: real, on loopback, gone afterwards.
//!
//! [`Server::start`] gives one of one's own on a free port. It can be killed, and comes back on the same port.
//!
//! Knows nothing of the sync server, speaks no NATS beyond the server's first word, and installs nothing.

mod error;
mod server;

pub use error::Error;
pub use server::Server;
