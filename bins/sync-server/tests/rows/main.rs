//! What rows clients rely on, over HTTP: the 60 cases of the dialect, each a test by its number, against a server of the real
//! parts on SQLite and on PostgreSQL.
//!
//! What is written into business tables (cases 57 to 60) has its own server, of PostgreSQL alone.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

/// One test for each store.
macro_rules! on_both {
    ($($name:ident,)*) => {
        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { Box::pin(super::$name(crate::world::Place::Sqlite)).await; })*
        }

        mod on_postgresql {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { Box::pin(super::$name(crate::world::Place::Postgres)).await; })*
        }
    };
}

mod basics;
mod batches;
mod change;
mod device;
mod downloads;
mod faults;
mod held;
mod identity;
mod materialised;
mod replays;
mod replica;
mod tables;
mod validation;
mod world;
