//! The hub, its listeners, and what travels between nodes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod busy;
mod crowds;
mod hub;
mod looks;
mod outbox;
mod support;
mod wire;
