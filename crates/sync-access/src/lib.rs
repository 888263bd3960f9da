//! Who calls: verification of bearer tokens against a set of public keys.
//!
//! [`Verifier`] turns a token into an [`Identity`] or a [`TokenError`]. It knows nothing of routes,
//! status codes or stores, reads neither the environment nor the time of day (a [`Clock`] is passed
//! in), and asks nobody but the configured key hosts.
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

mod authorization;
mod base64url;
mod claims;
mod development;
mod error;
mod figures;
mod hosts;
mod key;
mod remembered;
mod ring;
mod source;
mod token;
mod verifier;

pub use authorization::bearer_token;
pub use claims::Identity;
pub use development::DevelopmentIssuer;
pub use error::{SetupError, TokenError};
pub use figures::Figures;
pub use hosts::KeyHosts;
pub use key::{IgnoredKey, MAX_KEYS};
pub use remembered::MAX_REMEMBERED;
pub use ring::{
    KEEP_KEYS, KeysFound, REFRESH_KEYS, RETRY_FETCH, SourceReport, UNATTENDED_KEYS,
    UNKNOWN_KEY_COOL_DOWN,
};
pub use source::{FETCH_TIME_LIMIT, MAX_DOCUMENT_BYTES};
pub use token::MAX_TOKEN_BYTES;
pub use verifier::{DEFAULT_LEEWAY, Verifier, VerifierSettings};

use sync_protocol::Millis;

/// Gives the time of day.
pub type Clock = std::sync::Arc<dyn Fn() -> Millis + Send + Sync>;

/// A span in the unit of [`Millis`].
fn milliseconds(span: std::time::Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}
