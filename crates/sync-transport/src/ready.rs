//! `GET /ready`: whether requests can be served here and now.
//!
//! Out: 200 `{"status":"ready"}`, or 503 with the parts that are not: the store, the keys.

use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use serde_json::json;
use sync_access::Verifier;
use sync_store::Store;
use tokio::time::timeout;

use crate::error::Refusal;
use crate::reply;
use crate::service::Shared;

/// How long each part may take to say that it is ready.
const TIME_LIMIT: Duration = Duration::from_secs(2);

pub(crate) async fn ready(State(service): State<Shared>) -> Result<Response, Refusal> {
    let (store, keys) = tokio::join!(
        store_fault(service.store.as_ref()),
        keys_fault(&service.verifier)
    );
    let faults: Vec<_> = [store, keys].into_iter().flatten().collect();
    if faults.is_empty() {
        Ok(reply::ok(&json!({"status": "ready"})))
    } else {
        Err(Refusal::NotReady(faults.join(", ")))
    }
}

async fn store_fault(store: &dyn Store) -> Option<&'static str> {
    match timeout(TIME_LIMIT, store.ready()).await {
        Ok(Ok(())) => None,
        Ok(Err(error)) => {
            tracing::warn!(%error, "the store is not ready");
            Some("the store does not serve")
        }
        Err(_) => Some("the store does not answer"),
    }
}

/// Before the first request nobody has asked for keys, and while nobody is let in nobody ever would: this does. How
/// often the key hosts are really asked is the verifier's business.
async fn keys_fault(verifier: &Verifier) -> Option<&'static str> {
    if verifier.figures().keys_held == 0 {
        let _ = timeout(TIME_LIMIT, verifier.verify("")).await;
    }
    (verifier.figures().keys_held == 0).then_some("there are no keys to verify tokens with")
}
