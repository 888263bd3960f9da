//! What a verifier promises, against real signatures and a host for keys on this machine.

#![expect(
    clippy::unwrap_used,
    reason = "what tests share may panic as the tests do"
)]

mod development;
mod down;
mod fetching;
mod keys;
mod logs;
mod support;
mod times;
mod tokens;
