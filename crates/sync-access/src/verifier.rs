//! The way of a token: known from before, or taken apart, verified, judged and remembered.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use sync_protocol::Millis;

use crate::claims::{Demands, Identity};
use crate::error::{SetupError, TokenError, invalid};
use crate::figures::{Counter, Figures};
use crate::hosts::{KeyHosts, SystemNames};
use crate::key::{Key, KeySet, shown};
use crate::remembered::Remembered;
use crate::ring::{Ring, SourceReport};
use crate::secret::Secret;
use crate::source::{Source, client};
use crate::token::{self, Signing, Unverified};
use crate::{Clock, milliseconds};

/// By how much clocks may differ, unless it is set otherwise.
pub const DEFAULT_LEEWAY: Duration = Duration::from_secs(60);

/// The most tokens remembered at a time.
pub const MAX_REMEMBERED: usize = 10_000;

/// The SHA-256 of a token; the tokens themselves are not kept.
type Digest = [u8; 32];

/// What was found out about a token, and with which key: it holds only as long as that key does.
#[derive(Debug, Clone)]
struct Verified {
    key: Arc<Key>,
    identity: Identity,
}

/// What a verifier works by. The default has no keys at all and lets nobody in. `Debug` does not show
/// the addresses: a query may hold a secret.
#[derive(Clone)]
pub struct VerifierSettings {
    /// Addresses of key sets. If two hold the same `kid`, the earlier address counts.
    pub key_addresses: Vec<String>,
    /// Which hosts key sets may come from.
    pub key_hosts: KeyHosts,
    /// The text of a key set that never changes. It comes before all addresses.
    pub fixed_keys: Option<String>,
    /// The secret of tokens of rows clients (HS256), at least
    /// [`MIN_SECRET_BYTES`](crate::MIN_SECRET_BYTES) long; without it no such token is good.
    pub rows_secret: Option<String>,
    /// What `iss` must be.
    pub issuer: Option<String>,
    /// What `aud` must be, or hold.
    pub audience: Option<String>,
    /// By how much clocks may differ.
    pub leeway: Duration,
}

impl fmt::Debug for VerifierSettings {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("VerifierSettings")
            .field("key_hosts", &self.key_hosts)
            .field("issuer", &self.issuer)
            .field("audience", &self.audience)
            .field("leeway", &self.leeway)
            .finish_non_exhaustive()
    }
}

/// Verifies tokens. It is made once and shared, and needs a Tokio runtime (with time and IO)
/// wherever it is called.
pub struct Verifier {
    ring: Arc<Ring>,
    secret: Option<Secret>,
    demands: Demands,
    remembered: Remembered<Digest, Verified>,
    clock: Clock,
    hits: Counter,
    misses: Counter,
}

impl Default for VerifierSettings {
    fn default() -> Self {
        Self {
            key_addresses: Vec::new(),
            key_hosts: KeyHosts::default(),
            fixed_keys: None,
            rows_secret: None,
            issuer: None,
            audience: None,
            leeway: DEFAULT_LEEWAY,
        }
    }
}

impl Verifier {
    /// A verifier that has not asked anybody for keys yet.
    ///
    /// # Errors
    ///
    /// [`SetupError`] for an address that may not be used, and for fixed keys that cannot be read
    /// or of which one is ignored, and for a secret that is too short.
    pub fn new(settings: VerifierSettings, clock: Clock) -> Result<Self, SetupError> {
        let address = |address: &String| Source::new(address, settings.key_hosts);
        let sources: Result<Vec<_>, _> = settings.key_addresses.iter().map(address).collect();
        let fixed = settings
            .fixed_keys
            .as_deref()
            .map_or_else(|| Ok(KeySet::default()), fixed_keys)?;
        let secret = settings.rows_secret.as_deref().map(Secret::new);
        let client = client(settings.key_hosts, Arc::new(SystemNames))?;
        Ok(Self {
            ring: Arc::new(Ring::new(fixed, sources?, client, Arc::clone(&clock))),
            secret: secret.transpose()?,
            demands: Demands {
                issuer: settings.issuer,
                audience: settings.audience,
                leeway: milliseconds(settings.leeway),
            },
            remembered: Remembered::at_most(MAX_REMEMBERED),
            clock,
            hits: Counter::default(),
            misses: Counter::default(),
        })
    }

    /// Who the bearer of this token is. Tokens that are signed with a secret do not count here.
    ///
    /// Waits for a key host only before the first keys are had, after a quiet time, and for an
    /// unknown `kid`: at most [`FETCH_TIME_LIMIT`](crate::FETCH_TIME_LIMIT) each time. Dropping the
    /// future at any point is harmless.
    ///
    /// # Errors
    ///
    /// One [`TokenError`] per reaction; never [`TokenError::Missing`], which is for the header.
    pub async fn verify(&self, bearer_token: &str) -> Result<Identity, TokenError> {
        token::bound(bearer_token)?;
        self.ring.attend().await;
        let digest = openssl::sha::sha256(bearer_token.as_bytes());
        if let Some(identity) = self.recall(&digest) {
            self.hits.count();
            return Ok(identity);
        }
        self.misses.count();
        let verified = self.judge(bearer_token).await?;
        let identity = verified.identity.clone();
        self.remembered.remember(digest, verified);
        Ok(identity)
    }

    /// Who the bearer of this token is, for routes of rows clients: a token that is signed with the
    /// secret counts, and any that counts elsewhere. One of the first kind is verified each time and
    /// not remembered, so that nobody finds it where it does not count; no key is waited for.
    ///
    /// # Errors
    ///
    /// As of [`Verifier::verify`].
    pub async fn verify_rows(&self, bearer_token: &str) -> Result<Identity, TokenError> {
        token::bound(bearer_token)?;
        let Some(secret) = &self.secret else {
            return self.verify(bearer_token).await;
        };
        match token::parse(bearer_token) {
            Ok(token) if token.signing == Signing::Secret => {
                self.misses.count();
                self.judge_by_secret(&token, secret)
            }
            _ => self.verify(bearer_token).await,
        }
    }

    /// Until when a connection that was let in with this identity may go on: to the expiry of its token; or, if only the
    /// leeway has let it in, to the end of the leeway.
    pub fn counts_until(&self, identity: &Identity, now: Millis) -> Millis {
        let expires = identity.expires;
        if expires > now {
            return expires;
        }
        Millis(expires.0.saturating_add(self.demands.leeway))
    }

    /// Asks every key host now and says what each holds; the keys count from now on. With no host
    /// configured it is empty.
    pub async fn check(&self) -> Vec<SourceReport> {
        self.ring.check().await
    }

    /// What to watch this verifier by.
    pub fn figures(&self) -> Figures {
        Figures {
            keys_held: self.ring.keys_held(),
            last_fetch: self.ring.last_fetch(),
            successful_fetches: self.ring.successful.total(),
            failed_fetches: self.ring.failed.total(),
            suppressed_fetches: self.ring.suppressed.total(),
            cache_hits: self.hits.total(),
            cache_misses: self.misses.total(),
            tokens_remembered: self.remembered.count(),
        }
    }

    /// What is remembered of a token, if its key still counts and it has not expired.
    fn recall(&self, digest: &Digest) -> Option<Identity> {
        let verified = self.remembered.recall(digest)?;
        let expires = verified.identity.expires;
        if self.ring.holds(&verified.key) && !self.demands.is_over(expires, (self.clock)()) {
            return Some(verified.identity);
        }
        self.remembered.forget(digest);
        None
    }

    async fn judge(&self, bearer_token: &str) -> Result<Verified, TokenError> {
        let token = token::parse(bearer_token)?;
        let Signing::Key { algorithm, kid } = &token.signing else {
            return Err(token::wrong_algorithm());
        };
        let key = self.ring.find(kid).await?;
        let refuse = |reason| {
            tracing::debug!(kid = shown(kid), reason, "a token was refused");
            Err(invalid(reason))
        };
        if *algorithm != key.algorithm {
            return refuse("the token's algorithm is not that of its key");
        }
        if !key.has_signed(token.signed, &token.signature) {
            return refuse("the token's signature is wrong");
        }
        let identity = self.demands.judge(&token.payload, (self.clock)())?;
        Ok(Verified { key, identity })
    }

    fn judge_by_secret(
        &self,
        token: &Unverified<'_>,
        secret: &Secret,
    ) -> Result<Identity, TokenError> {
        if !secret.has_signed(token.signed, &token.signature) {
            let reason = "the token's signature is wrong";
            tracing::debug!(reason, "a token of a rows client was refused");
            return Err(invalid(reason));
        }
        self.demands.judge(&token.payload, (self.clock)())
    }
}

/// Fixed keys are the operator's own, so that one which is ignored is a mistake to be told about.
fn fixed_keys(text: &str) -> Result<KeySet, SetupError> {
    let set =
        KeySet::parse(text.as_bytes()).map_err(|why| SetupError(format!("fixed keys: {why}")))?;
    match set.ignored.first() {
        None => Ok(set),
        Some(ignored) => Err(SetupError(format!("fixed keys: {ignored}"))),
    }
}
