//! `GET /metrics`: figures in the text format of Prometheus.
//!
//! Out: 200 `text/plain; version=0.0.4`. It waits for the store now and then, but not for long, and goes on without it.

use axum::extract::State;
use axum::response::Response;

use crate::service::Shared;
use crate::{exposition, reply};

pub(crate) async fn metrics_page(State(service): State<Shared>) -> Response {
    service.metrics.look_at_store(service.store.as_ref()).await;
    service
        .metrics
        .look_at_hub(&service.hub.figures(), service.relay.as_deref());
    service.metrics.look_at_keys(&service.verifier.figures());
    service
        .metrics
        .look_at_upstream(service.billing.as_ref(), service.memberships.as_ref());
    reply::text(exposition::CONTENT_TYPE, service.metrics.text())
}
