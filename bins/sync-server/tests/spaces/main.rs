//! People, their spaces and subscriptions, told over real sockets by real nodes: the binary as a process of its own, on a
//! file, on PostgreSQL, and as two nodes of one PostgreSQL, where everybody reads on another node than they write.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

/// One test for each place.
macro_rules! everywhere {
    ($($name:ident,)*) => {
        mod on_a_file {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { Box::pin(super::$name(crate::world::Place::File)).await; })*
        }

        mod on_postgresql {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { Box::pin(super::$name(crate::world::Place::Postgres)).await; })*
        }

        mod on_two_nodes {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { Box::pin(super::$name(crate::world::Place::TwoNodes)).await; })*
        }
    };
}

mod announced;
mod asleep;
mod billing;
mod calls;
mod database;
mod device;
mod doubted;
mod down;
mod ear;
mod held;
#[path = "../nodes/keys.rs"]
mod keys;
#[path = "../nodes/node.rs"]
#[expect(dead_code, reason = "shared with tests that ask more of a node")]
mod node;
mod promoted;
#[path = "../nodes/raw.rs"]
#[expect(dead_code, reason = "shared with tests that open more than sockets")]
mod raw;
mod roles;
mod story;
#[path = "../nodes/waiting.rs"]
#[expect(dead_code, reason = "shared with tests that measure")]
mod waiting;
mod world;
