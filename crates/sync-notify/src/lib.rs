//! Who is listening: a [`Hub`] that tells the connections of this node when there is something new to see, and the
//! [`Relay`] by which nodes tell each other.
//!
//! A notice is a hint. It says that there is something to read, never what; whoever listens reads it from the store, from
//! its own cursor. So a notice may be merged with others, come twice, or come without need. One that is lost costs time:
//! each node also looks at the log itself (`semantics.md`, Time and failure).
//!
//! ```text
//! commit -> Hub::announce -> mailboxes of this node's listeners -> sockets and streams
//!      \--> Relay::publish -> Outbox -> (other nodes) -> Hub::hear -> mailboxes there
//! log --> look, every 2 s ------------------------------> Hub::find -> what no notice has told
//! ```
//!
//! The crate knows no SQL, no HTTP and no tokens.

mod heard;
mod hub;
mod listener;
mod mailbox;
mod notice;
mod outbox;
mod relay;
mod wire;

pub use hub::{Crowded, Figures, Hub};
pub use listener::Listener;
pub use mailbox::{Interest, MAX_TABLES, Waiting};
pub use notice::{News, Notice, Writer};
pub use outbox::Outbox;
pub use relay::{Relay, RelayFigures};
pub use wire::{MAX_NOTICE_BYTES, decode, encode};
