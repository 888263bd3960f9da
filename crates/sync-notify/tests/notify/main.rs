//! The hub, its listeners, and what travels between nodes.

mod busy;
mod crowds;
mod hub;
mod looks;
mod outbox;
mod support;
mod wire;
