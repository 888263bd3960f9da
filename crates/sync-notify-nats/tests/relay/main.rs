//! The relay against a real nats-server: there, away, killed, back, and behind TLS.

mod absence;
mod certificates;
mod hearing;
mod login;
mod support;
mod tls;
