//! A typed client of the changes dialect for Rust programs: push, pull to the head, and retries that are free because
//! a server stores the same push once.
//!
//! It knows the wire, not the insides of a server, and keeps no data: cursors and pending changes are its caller's.

mod change;
mod client;
mod retry;

pub use change::{NewChange, NewField};
pub use client::{Client, ClientError, Options, SignedIn, sign_in};
pub use retry::Retry;
pub use sync_protocol::{Answer, Conflict, ServerChange, Warning, WarningCode};
