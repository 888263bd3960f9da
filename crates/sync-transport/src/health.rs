//! `GET /health`: the process lives. It asks nobody, so that a database that is away restarts no server.
//!
//! Out: 200 `{"status":"ok","service","timestamp","connections","users"}`; the counts are those of
//! streams and of sockets that are signed in.

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use sync_notify::Figures;
use sync_protocol::SERVICE_NAME;

use crate::reply;
use crate::service::Shared;

#[derive(Serialize)]
struct Health {
    status: &'static str,
    service: &'static str,
    timestamp: String,
    connections: usize,
    users: usize,
}

pub(crate) async fn health(State(service): State<Shared>) -> Response {
    let Figures {
        connections, users, ..
    } = service.hub.figures();
    reply::ok(&Health {
        status: "ok",
        service: SERVICE_NAME,
        timestamp: service.now().to_string(),
        connections,
        users,
    })
}
