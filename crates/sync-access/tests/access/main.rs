//! What a verifier promises, against real signatures and a host for keys on this machine.

mod development;
mod down;
mod fetching;
mod keys;
mod support;
mod times;
mod tokens;
