//! Several nodes on one database, each a process of its own: what is pushed on one is told on all, whatever fails between
//! them. With `--no-capture` the tests print what they measured.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod absent;
mod cluster;
mod gate;
mod heavy;
mod keys;
mod line;
mod listening;
mod node;
mod quiet;
mod raw;
mod told;
mod waiting;
