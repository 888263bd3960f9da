//! The relay against a real nats-server: there, away, killed, back, and behind TLS.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod absence;
mod certificates;
mod hearing;
mod login;
mod support;
mod tls;
