//! A typed client of the changes dialect for Rust programs: push, pull to the head, and retries that are free because
//! a server stores the same push once; a stream of changes and a socket of notices that go on through everything that
//! passes.
//!
//! It knows the wire, not the insides of a server, and keeps no data: pending changes are its caller's, and so are cursors
//! from one run to the next.

mod change;
mod client;
mod live;
mod notices;
mod progress;
mod retry;
mod socket;
mod sse;
mod stream;

pub use change::{NewChange, NewField};
pub use client::{Client, ClientError, Options, SignedIn, sign_in};
pub use retry::Retry;
pub use socket::{NoticeSocket, SocketEvent};
pub use stream::{ChangeStream, StreamEvent, TableChanges};
pub use sync_protocol::{Answer, Conflict, ServerChange, Warning, WarningCode};
