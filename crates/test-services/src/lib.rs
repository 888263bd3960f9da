//! The two services beside the sync server, played for tests: real HTTP/1.1, on loopback, told what to say while they run.
//!
//! ```text
//! GET /api/v1/internal/sync/status/{userId}        -> {"active":true}
//! GET /api/v1/internal/users/{userId}/memberships  -> {"userId","memberships":[{"organizationId","role"}]}
//! ```
//!
//! Unless told otherwise every user is active and in no space. A [`Mood`] makes one of them slow, silent, wrong or down,
//! for everybody or for one user. What arrives is written down as it was sent: [`Services::requests`].
//!
//! Knows nothing of the sync server, keeps no time but that of a [`Mood::Slow`], and writes nothing anywhere.

mod connection;
mod mood;
mod request;
mod script;
mod services;
mod stage;

pub use mood::{Mood, Service};
pub use request::Request;
pub use script::{Cue, Script, ScriptError};
pub use services::Services;
pub use stage::MAX_RECORDED;
