//! The only way to the tables. SQLite has no row-level security, so the wall is this module: the texts of the queries
//! are private to it, and whoever wants rows of the log or records of a user or space has to show the
//! [`Scope`](sync_store::Scope) that it asks for. What looks across scopes is `maintenance`, whose answers
//! never leave the server, and for the operator alone `export` and `erase`.

pub(crate) mod clock;
pub(crate) mod erase;
pub(crate) mod export;
pub(crate) mod grants;
pub(crate) mod import;
pub(crate) mod log;
pub(crate) mod maintenance;
pub(crate) mod parked;
mod queries;
pub(crate) mod records;
pub(crate) mod rows;
pub(crate) mod uploads;
pub(crate) mod window;
