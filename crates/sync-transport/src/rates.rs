//! How often each user and each address may ask, on this node.
//!
//! An address is looked at before anything else is, so that bad tokens count, too; a user as soon as its token is verified.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{Extensions, HeaderMap};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sync_protocol::UserId;
use tokio::time::Instant;

use crate::body;
use crate::crowd::Crowd;
use crate::error::Refusal;
use crate::internal;
use crate::rate::Pace;
use crate::service::Shared;
use crate::source::{Peer, Proxies, Source};
use crate::{Limits, Loopback, Metrics};

/// What an operator has likely forgotten when an address asks too often.
const UNTOLD_PROXY: &str = "it says where it comes from (X-Forwarded-For), and SYNC_TRUSTED_PROXIES does not name who brought it: if that is a proxy, all its clients count as one address";

/// The rates of a node.
pub(crate) struct Rates {
    users: Option<Side>,
    addresses: Option<Side>,
    loopback: Loopback,
    metrics: Metrics,
}

/// Those of one kind, under one limit.
struct Side {
    whose: Whose,
    limit: NonZeroU32,
    crowd: Crowd,
}

/// Whose limit it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    User,
    Address,
}

impl Whose {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Address => "address",
        }
    }
}

/// Somebody asks more often than one may. `Display` is the text for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooOften {
    pub(crate) whose: Whose,
    limit: NonZeroU32,
    wait: Duration,
}

impl TooOften {
    /// After how many seconds the next request is let through, rounded up: never none.
    pub(crate) fn seconds(&self) -> u64 {
        let begun = u64::from(self.wait.subsec_nanos() > 0);
        (self.wait.as_secs() + begun).max(1)
    }
}

impl fmt::Display for TooOften {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whose, limit, seconds) = (self.whose.name(), self.limit, self.seconds());
        write!(
            out,
            "more than {limit} requests a minute of this {whose}: try again in {seconds} s"
        )
    }
}

impl Rates {
    pub(crate) fn new(limits: &Limits, metrics: &Metrics) -> Self {
        let side = |whose, limit: Option<NonZeroU32>| {
            limit.map(|limit| Side {
                whose,
                limit,
                crowd: Crowd::new(Pace::per_minute(limit)),
            })
        };
        Self {
            users: side(Whose::User, limits.user_rate),
            addresses: side(Whose::Address, limits.address_rate),
            loopback: limits.loopback,
            metrics: metrics.clone(),
        }
    }

    /// Whether a request is not counted, since it comes from this machine and from nobody behind a proxy.
    pub(crate) fn spare(
        &self,
        proxies: &Proxies,
        extensions: &Extensions,
        headers: &HeaderMap,
    ) -> bool {
        self.loopback == Loopback::Spared && proxies.is_from_here(extensions, headers)
    }

    /// Counts a request of a user, or a sign-in.
    ///
    /// # Errors
    ///
    /// [`TooOften`], and it is not counted.
    pub(crate) fn of_user(&self, user: &UserId) -> Result<(), TooOften> {
        let asked = self.users.as_ref().map_or(Ok(()), |side| side.take(user));
        asked.inspect_err(|over| self.metrics.limited(over.whose))
    }

    fn of_address(&self, source: Source) -> Result<(), TooOften> {
        let side = self.addresses.as_ref();
        let asked = side.map_or(Ok(()), |side| side.take(&source));
        asked.inspect_err(|over| self.metrics.limited(over.whose))
    }
}

impl Side {
    fn take(&self, who: &impl std::hash::Hash) -> Result<(), TooOften> {
        let taken = self.crowd.take(who, Instant::now());
        taken.map_err(|wait| TooOften {
            whose: self.whose,
            limit: self.limit,
            wait,
        })
    }
}

/// Lets a request through, unless its address asks too often. One that came on no connection has none.
pub(crate) async fn limit_address(
    State(service): State<Shared>,
    request: Request,
    next: Next,
) -> Response {
    let Some(peer) = Peer::of(request.extensions()) else {
        return next.run(request).await;
    };
    if service
        .rates
        .spare(&service.proxies, request.extensions(), request.headers())
    {
        return next.run(request).await;
    }
    let source = service.proxies.source(peer, request.headers());
    let Err(over) = service.rates.of_address(source) else {
        return next.run(request).await;
    };
    let (parts, body) = request.into_parts();
    let is_untold = service.proxies.distrust(peer, &parts.headers);
    let hint = is_untold.then_some(UNTOLD_PROXY);
    body::drain(&parts.headers, body).await;
    Refusal::TooOften(over, hint).into_response()
}

/// Lets a request through that has the key of a service, as often as it likes; others count as those of clients do, so that
/// whoever tries keys is slowed down like whoever tries tokens.
pub(crate) async fn limit_strangers(
    state: State<Shared>,
    request: Request,
    next: Next,
) -> Response {
    if internal::caller(&state, request.headers()).is_ok() {
        return next.run(request).await;
    }
    limit_address(state, request, next).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_is_told_in_whole_seconds_and_is_never_none() {
        for (millis, seconds) in [(1, 1), (1000, 1), (1001, 2), (15_000, 15)] {
            let over = TooOften {
                whose: Whose::User,
                limit: NonZeroU32::MIN,
                wait: Duration::from_millis(millis),
            };
            assert_eq!(
                over.to_string(),
                format!("more than 1 requests a minute of this user: try again in {seconds} s")
            );
        }
    }

    #[test]
    fn without_a_limit_nobody_asks_too_often() {
        let rates = Rates::new(&Limits::default(), &Metrics::new());
        let user = UserId::new("anna").unwrap();
        assert!((0..10_000).all(|_| rates.of_user(&user).is_ok()));
    }
}
