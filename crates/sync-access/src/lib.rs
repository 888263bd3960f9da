//! Who calls, and what may they reach? Tokens and keys, billing, memberships.
//!
//! - [`Verifier`] turns a bearer token into an [`Identity`] or a [`TokenError`].
//! - [`ServiceKeys`] tells which other service presents a key.
//! - [`Billing`] says whether a user's sync is paid for.
//! - [`Memberships`] asks which spaces a user is in, and has the answer taken by whoever keeps
//!   grants.
//!
//! It knows nothing of routes, status codes or stores, reads neither the environment nor the time
//! of day (a [`Clock`] is passed in), and asks nobody but the configured key hosts and services.
//!
//! # What a token must be
//!
//! A compact JWS of at most [`MAX_TOKEN_BYTES`], signed with EdDSA (Ed25519), ES256 or RS256. The
//! key is the one that the configured key sets hold under the token's `kid`, and that key alone
//! says which algorithm counts; keys that a token brings along or points at (`jwk`, `jku`, `x5c`,
//! `x5u`) are not looked at, and critical extensions (`crit`) are refused. `typ` must be absent,
//! `JWT` or `at+jwt`. Where an issuer does not mark ID tokens by their `typ`, only a configured
//! audience keeps them out. `exp` is required, `nbf` is honoured, `iss` and `aud` are compared when
//! configured.
//!
//! Clients of the rows dialect may bring tokens that are signed with a secret (HS256), if one of at
//! least [`MIN_SECRET_BYTES`] is set; these count for [`Verifier::verify_rows`] alone and need no
//! `kid`. A key of a key set never checks such a signature, and the secret checks no other.
//!
//! # Keys
//!
//! ```text
//!  age of the keys   0 ───── 5 min ──────────── 10 min ──────────────── 60 min ────────
//!  a call            uses    uses them, and     waits for the fetch,    is refused if
//!                    them    has them fetched   if nobody has tried     there was no
//!                            behind it          since, then uses        success since
//!                                               what there is
//! ```
//!
//! A fetch that fails, in whatever way, changes none of the keys held and is tried again after 30
//! s. An unknown `kid` causes a fetch too, at most one in [`UNKNOWN_KEY_COOL_DOWN`]; that is the
//! whole negative cache. There is never more than one fetch on its way, and no lock is held while
//! it is.
//!
//! Key sets come over https from public addresses; from this machine also over http. Whoever can
//! change the answer on its way makes tokens for any user, so plain http to another machine is for
//! the operator to allow by name, with [`KeyHosts::Anywhere`]. So is any address in a private
//! network, whether it is written in the address or is what the name resolves to at the time of the
//! fetch: a server must not be made to call its neighbours. Redirects are never followed, and no
//! proxy is used.
//!
//! # Other services
//!
//! Billing and memberships are asked one question about one user:
//!
//! ```text
//!  remembered? ── one call at a time about a user ── at most 64 at a time ── breaker ── 5 s, 1 MiB
//!  at once        others wait for it                 others wait             5 failures in a row:
//!                                                    their turn              alone for 10 s
//! ```
//!
//! The user is one segment of the path whatever the name (`.` and `..` cannot be, and are not asked
//! about). Redirects are never followed, no proxy is used, and whatever is no well-formed 200 is a
//! failure. What is done about one is written in the first line of the module and counted: billing
//! fails open ([`BillingFigures::failed_open`]); memberships fail to the grants as they are
//! ([`NotSettled`]).
//!
//! | | remembered | not asked again after a failure |
//! |---|---|---|
//! | billing | for [`KEEP_STATUS`] | for [`KEEP_FAILURE`] |
//! | memberships | as long as [`Take`] says | unless the breaker is open |
//!
//! An announcement that a user's memberships have changed ([`Memberships::announced`]) ends what
//! was remembered, and no answer that was asked for earlier takes its place. Users are remembered in
//! bounded space; of a user who was forgotten, an announcement that is not yet followed by an answer
//! is forgotten too.
//!
//! # Service keys
//!
//! A service that calls this one presents a key. Several count at a time, so that one can be
//! replaced without a gap ([`ServiceKeys::replace`]). Only their digests are kept; a presented key is
//! compared with all of them in constant time. There are no default keys, and those that stand in
//! examples are refused unless a development server asks for them.

mod authorization;
mod base64url;
mod billing;
mod breaker;
mod claims;
mod development;
mod error;
mod figures;
mod flights;
mod hosts;
mod key;
mod membership_answer;
mod memberships;
mod remembered;
mod ring;
mod secret;
mod service_keys;
mod source;
mod token;
mod upstream;
mod verifier;

pub use authorization::bearer_token;
pub use billing::{Billing, KEEP_FAILURE, KEEP_STATUS};
pub use breaker::{FAILURES_IN_A_ROW, LEFT_ALONE};
pub use claims::Identity;
pub use development::DevelopmentIssuer;
pub use error::{NotSettled, SetupError, TokenError, UpstreamError};
pub use figures::{BillingFigures, Calls, Figures, MembershipFigures};
pub use hosts::KeyHosts;
pub use key::{IgnoredKey, MAX_KEYS};
pub use membership_answer::MAX_MEMBERSHIPS;
pub use memberships::{
    ASK_ANEW_COOL_DOWN, Membership, Memberships, Outcome, Settled, Take, Taking,
};
pub use ring::{
    KEEP_KEYS, KeysFound, REFRESH_KEYS, RETRY_FETCH, SourceReport, UNATTENDED_KEYS,
    UNKNOWN_KEY_COOL_DOWN,
};
pub use secret::MIN_SECRET_BYTES;
pub use service_keys::{
    DevelopmentKeys, MAX_SERVICE_KEYS, ServiceKeys, ServiceName, is_known_to_everybody,
};
pub use source::{FETCH_TIME_LIMIT, MAX_DOCUMENT_BYTES};
pub use token::MAX_TOKEN_BYTES;
pub use upstream::{
    CALL_TIME_LIMIT, MAX_ANSWER_BYTES, MAX_CALLS_AT_ONCE, REMEMBERED_USERS, UpstreamSettings,
};
pub use verifier::{DEFAULT_LEEWAY, MAX_REMEMBERED, Verifier, VerifierSettings};

use sync_protocol::Millis;

/// Gives the time of day.
pub type Clock = std::sync::Arc<dyn Fn() -> Millis + Send + Sync>;

/// A span in the unit of [`Millis`].
fn milliseconds(span: std::time::Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

/// Whether `span` has gone by since `then`. A clock that was set back counts by how far: nothing
/// may last because of it.
fn is_past(then: Millis, now: Millis, span: std::time::Duration) -> bool {
    i128::from(now.0.abs_diff(then.0)) >= i128::from(milliseconds(span))
}
