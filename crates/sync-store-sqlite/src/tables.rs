//! The only way to the tables. SQLite has no row-level security, so the wall is this module: the texts of the queries
//! are private to it, and whoever wants rows of the log or records of a user or space has to show the
//! [`Scope`](sync_store::Scope) that it asks for. What looks across scopes is `maintenance`, and its answers never
//! leave the server.

pub(crate) mod clock;
pub(crate) mod grants;
pub(crate) mod log;
pub(crate) mod maintenance;
pub(crate) mod parked;
mod queries;
pub(crate) mod records;
pub(crate) mod window;
