//! The store against a real PostgreSQL.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod contract;
mod erase;
mod exchange;
mod failure;
mod heavy;
mod live;
mod materialise;
mod migrations;
mod replaced;
mod support;
mod sweep;
mod tls;
mod waits;
mod walls;
mod wire;
