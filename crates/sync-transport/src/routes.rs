//! The routes, and the layers around all of them, also around the answers to unknown paths and wrong methods.
//!
//! ```text
//! observe      first in, last out: it gives the id, and sees every answer as it leaves, whoever made it
//!  cors        answers preflights before anybody asks for a token, and lets pages read errors, too
//!   compress   packs what the routes say; outside of whatever may replace their answer
//!    catch     makes a 500 of a panic; around the time limit, so that its answer is not cut off
//!     limit    the time of the whole request: admission, body, store
//!      routes
//! ```
//!
//! The limit of a body is no layer: it stands in `body.rs`, behind admission, where both of its ends are seen.

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{any, get, post};
use tower::ServiceBuilder;
use tower_http::CompressionLevel;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::SizeAbove;

use crate::admit::RESERVED_APP_IDS;
use crate::catch::{panicked, time_limit};
use crate::cors::cors;
use crate::error::Refusal;
use crate::health::health;
use crate::key_set::key_set;
use crate::metrics_page::metrics_page;
use crate::observe::observe;
use crate::pull::pull;
use crate::push::push;
use crate::ready::ready;
use crate::service::{Service, Shared};
use crate::sign_in::sign_in;

/// Answers that are not longer are not packed: it would save nothing.
const PACK_ABOVE_BYTES: u64 = 1024;

/// The routes of a service, with all layers around them.
pub fn router(service: Arc<Service>) -> Router {
    let layers = ServiceBuilder::new()
        .layer(from_fn_with_state(Arc::clone(&service), observe))
        .layer(from_fn_with_state(Arc::clone(&service), cors))
        .layer(
            CompressionLayer::new()
                .quality(CompressionLevel::Fastest)
                .compress_when(SizeAbove::new(PACK_ABOVE_BYTES)),
        )
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(Arc::clone(&service), time_limit));
    let routes = reserved(development(changes(), &service));
    routes
        .route("/health", get(health))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics_page))
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(layers)
        .with_state(service)
}

fn changes() -> Router<Shared> {
    Router::new()
        .route("/sync/{app_id}", post(push))
        .route("/sync/{app_id}/pull", get(pull))
}

fn development(router: Router<Shared>, service: &Service) -> Router<Shared> {
    if service.development_issuer.is_none() {
        return router;
    }
    router
        .route("/dummy-signin", post(sign_in))
        .route("/.well-known/jwks.json", get(key_set))
}

/// Keeps the methods of `/sync/{app_id}` away from paths that are no app's.
fn reserved(router: Router<Shared>) -> Router<Shared> {
    RESERVED_APP_IDS.iter().fold(router, |router, segment| {
        router.route(&format!("/sync/{segment}"), any(unknown_path))
    })
}

async fn unknown_path() -> Refusal {
    Refusal::UnknownPath
}

async fn wrong_method() -> Refusal {
    Refusal::WrongMethod
}
