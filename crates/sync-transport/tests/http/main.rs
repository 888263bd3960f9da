//! The HTTP face over real sockets: the real accept loop, real tokens, the store in memory.

#![expect(
    clippy::unwrap_used,
    reason = "what tests share may panic as the tests do"
)]

mod ambiguous;
mod bodies;
mod browsers;
mod coding;
mod connections;
mod enduring;
mod erasing;
mod exchange;
mod exporting;
mod failing;
mod following;
mod hostile;
mod internal;
mod live;
mod logs;
mod notices;
mod operators;
mod rates;
mod routes;
mod rows;
mod schedules;
mod sockets;
mod spaces;
mod stage;
mod streams;
mod subscriptions;
mod support;
mod tokens;
mod unread;
