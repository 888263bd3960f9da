//! The HTTP face of the sync server: push, pull, streams and sockets, health, readiness and metrics, and the only place
//! that knows a status code.
//!
//! The crate knows no SQL and does not judge tokens itself. It reads no settings and no clock: a [`Service`] is made of
//! parts that are passed in, [`router`] puts the routes and the layers around it, and [`serve`] gives it a socket.
//!
//! ```text
//! socket -> stack (routes.rs says why each layer is where it is) -> push.rs: admit -> parse -> store -> announce -> reply
//! ```

mod activity;
mod admit;
mod announce;
mod body;
mod budget;
mod catch;
mod connection;
mod conversation;
mod cors;
mod crowd;
mod erase;
mod error;
mod event;
mod export;
mod exposition;
mod families;
mod farewell;
mod grants;
mod health;
mod internal;
mod key_set;
mod limits;
mod log_line;
mod member;
mod members;
mod membership_changed;
mod metered;
mod metrics;
mod metrics_page;
mod ndjson;
mod observe;
mod places;
mod pull;
mod push;
mod random;
mod rate;
mod rates;
mod reader;
mod ready;
mod reply;
mod request_id;
mod routes;
mod rows;
mod serve;
mod service;
mod service_push;
mod sign_in;
mod socket;
mod source;
mod spoken;
mod stream;
mod task;
mod turns;
mod unpack;
mod upstream_figures;
mod websocket;

pub use cors::{OriginError, Origins};
pub use limits::{Limits, Loopback};
pub use members::Members;
pub use metrics::Metrics;
pub use ndjson::export;
pub use routes::router;
pub use serve::{Drained, serve};
pub use service::Service;
pub use source::{Proxies, ProxyError};
