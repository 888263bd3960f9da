//! The store against a real PostgreSQL.

mod exchange;
mod support;
