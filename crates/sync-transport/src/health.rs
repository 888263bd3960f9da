//! `GET /health`: the process lives. It asks nobody, so that a database that is away restarts no server.
//!
//! Out: 200 `{"status":"ok","service","timestamp","connections","users"}`; the counts are those of sockets.

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use sync_protocol::SERVICE_NAME;

use crate::reply;
use crate::service::Shared;

#[derive(Serialize)]
struct Health {
    status: &'static str,
    service: &'static str,
    timestamp: String,
    connections: i64,
    users: i64,
}

pub(crate) async fn health(State(service): State<Shared>) -> Response {
    let (connections, users) = service.metrics.sockets();
    reply::ok(&Health {
        status: "ok",
        service: SERVICE_NAME,
        timestamp: service.now().to_string(),
        connections,
        users,
    })
}
