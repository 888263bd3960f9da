//! The production store: the log, the winning versions and the grants in PostgreSQL 13 or later.
//!
//! ```text
//! one push, at most four waits for any number of changes
//!
//!   1  begin · settings · lock the personal scope · read the grants
//!   2  reach · lock the other scopes in key order · load · where the log stands      (then decide, without the database)
//!   3  draw positions, on a connection of its own, together with others that wait
//!   4  append · bury · keep · park · read the page · commit
//! ```
//!
//! What is sent together is sent in the order of the list, as statements of their own: rows are read by a later statement
//! than the locks, so its snapshot is younger than they are (`semantics.md`, Isolation level).
//!
//! Beside the store, on connections of their own: the relay that carries notices between nodes, and the look at the log for
//! what no notice has told.
//!
//! The crate knows no HTTP, no tokens and no merge rule. Who may see what is decided by `Scope`, and enforced again by
//! row-level security (`migrations/0003_walls.sql`).

mod check;
mod config;
mod draw;
mod endpoint;
mod erase;
mod exchange;
mod export;
mod failure;
mod grants;
mod import;
mod instant;
mod lookout;
mod materialise;
mod migrations;
mod page;
mod pool;
mod queries;
mod relay;
mod replaced;
mod retry;
mod rows;
mod session;
mod standing;
mod store;
mod sweep;
mod uuid;
mod write;

pub use check::check;
pub use config::{BeforeCommit, CodeWall, Config, Fate, POOL_SIZE};
pub use lookout::Lookout;
pub use materialise::{BusinessConnection, Handler, HandlerError, HandlerWork};
pub use migrations::migrate;
pub use relay::PostgresRelay;
pub use replaced::{Overview, ReplacedTable};
pub use store::PostgresStore;
