//! The embedded store: one SQLite file, one thread that writes and commits waiting pushes together, and a few that read
//! beside it.
//!
//! ```text
//! push ─┐                    ┌ savepoint: push 1 ┐
//! push ─┼─ bounded queue ─ BEGIN IMMEDIATE …       … COMMIT ─ all answers
//! push ─┘   (one writer)     └ savepoint: push n ┘
//! pull ─── bounded queue ─ BEGIN DEFERRED: grants, horizon, rows ─ answer
//!            (readers)
//! ```
//!
//! A runtime thread never waits for a file: methods send a job and await its answer. The crate knows no HTTP and no
//! tokens, and decides nothing: which write wins and what is answered is `sync-store`'s.

mod check;
mod connection;
mod erase;
mod exchange;
mod failure;
mod import;
mod job;
mod migrations;
mod queue;
mod readers;
mod rows;
mod store;
mod sweep;
mod tables;
mod writer;

pub use check::check;
pub use migrations::migrate;
pub use readers::READERS;
pub use store::SqliteStore;
