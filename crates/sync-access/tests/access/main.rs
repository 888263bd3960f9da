//! What a verifier promises, against real signatures and a host for keys on this machine; and what is promised of other
//! services, against services that are played on this machine.

#![expect(
    clippy::unwrap_used,
    reason = "what tests share may panic as the tests do"
)]

mod billing;
mod development;
mod down;
mod fetching;
mod keys;
mod logs;
mod memberships;
mod neighbours;
mod secrets;
mod service_keys;
mod support;
mod times;
mod tokens;
mod upstream;
