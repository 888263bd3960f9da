//! The routes, and the layers around all of them, also around the answers to unknown paths and wrong methods.
//!
//! ```text
//! observe      first in, last out: it gives the id, and sees every answer as it leaves, whoever made it
//!  cors        answers preflights before anybody asks for a token, and lets pages read errors, too
//!   plain      lets every client have its answer unpacked: who forbids that would be refused when all is done
//!    compress  packs what the routes say; outside of whatever may replace their answer
//!     catch     makes a 500 of a panic; around the time limit, so that its answer is not cut off
//!      limit   the time until the answer begins: admission, body, store
//!       routes
//!        rates   around all that is not the operator's; before anybody looks at a token. Who has the key of a service is
//!                let through
//! ```
//!
//! The limit of a body is no layer: it stands in `body.rs`, behind admission, where both of its ends are seen.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::HeaderValue;
use axum::http::header::ACCEPT_ENCODING;
use axum::middleware::from_fn_with_state;
use axum::routing::{delete, get, post};
use tower::ServiceBuilder;
use tower_http::CompressionLevel;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{NotForContentType, Predicate, SizeAbove};

use crate::catch::{panicked, time_limit};
use crate::cors::cors;
use crate::error::Refusal;
use crate::health::health;
use crate::key_set::key_set;
use crate::membership_changed::membership_changed;
use crate::metrics_page::metrics_page;
use crate::observe::observe;
use crate::pull::pull;
use crate::push::push;
use crate::rates::{limit_address, limit_strangers};
use crate::ready::ready;
use crate::reply::EVENT_STREAM;
use crate::service::{Service, Shared};
use crate::service_push::service_push;
use crate::sign_in::sign_in;
use crate::stream::stream;
use crate::{erase, export, rows, websocket};

/// Answers that are not longer are not packed: it would save nothing.
const PACK_ABOVE_BYTES: u64 = 1024;

/// What every client accepts in the end.
const PLAIN_AT_LAST: HeaderValue = HeaderValue::from_static("identity;q=0.001");

/// The routes of a service, with all layers around them.
pub fn router(service: Arc<Service>) -> Router {
    let service = Shared::new(service);
    let layers = ServiceBuilder::new()
        .layer(from_fn_with_state(service.clone(), observe))
        .layer(from_fn_with_state(service.clone(), cors))
        .map_request(plain_at_last)
        .layer(
            CompressionLayer::new()
                .quality(CompressionLevel::Fastest)
                .compress_when(
                    // A packed stream would be held back until there is enough to pack.
                    SizeAbove::new(PACK_ABOVE_BYTES)
                        .and(NotForContentType::const_new(EVENT_STREAM)),
                ),
        )
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(service.clone(), time_limit));
    let clients = development(changes().merge(rows::routes()), &service)
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(service.clone(), limit_address));
    let services = internal()
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(service.clone(), limit_strangers));
    let routes = clients.merge(services).merge(operators());
    routes.layer(layers).with_state(service)
}

/// For who watches over the server: whatever clients do, it is there.
fn operators() -> Router<Shared> {
    Router::new()
        .route("/health", get(health))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics_page))
        .method_not_allowed_fallback(wrong_method)
}

fn changes() -> Router<Shared> {
    Router::new()
        .route("/sync/{app_id}", post(push))
        .route("/sync/{app_id}/pull", get(pull))
        .route("/sync/{app_id}/stream", get(stream))
        .route("/ws", get(websocket::of_all_apps))
        .route("/ws/{app_id}", get(websocket::of_one_app))
}

fn internal() -> Router<Shared> {
    Router::new()
        .route("/internal/sync/{app_id}", post(service_push))
        .route(
            "/internal/memberships/{user_id}/changed",
            post(membership_changed),
        )
        .route("/internal/users/{user_id}/export", get(export::of_user))
        .route("/internal/spaces/{space_id}/export", get(export::of_space))
        .route("/internal/users/{user_id}", delete(erase::user))
        .route("/internal/spaces/{space_id}", delete(erase::space))
        .method_not_allowed_fallback(wrong_method)
}

fn development(router: Router<Shared>, service: &Service) -> Router<Shared> {
    if service.development_issuer.is_none() {
        return router;
    }
    router
        .route("/dummy-signin", post(sign_in))
        .route("/.well-known/jwks.json", get(key_set))
}

/// A server may pass over that a client forbids an answer as it is (RFC 9110, 12.5.3); the layer that packs would answer 406
/// instead, behind the routes' back.
fn plain_at_last(mut request: Request) -> Request {
    let headers = request.headers_mut();
    let own: Vec<_> = headers.get_all(ACCEPT_ENCODING).iter().cloned().collect();
    // Of two statements on a coding the first may count.
    headers.insert(ACCEPT_ENCODING, PLAIN_AT_LAST);
    for value in own {
        headers.append(ACCEPT_ENCODING, value);
    }
    request
}

async fn unknown_path() -> Refusal {
    Refusal::UnknownPath
}

async fn wrong_method() -> Refusal {
    Refusal::WrongMethod
}
