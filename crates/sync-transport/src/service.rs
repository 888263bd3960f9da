//! What the routes work with, handed in by the binary.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use sync_access::{Clock, DevelopmentIssuer, Verifier};
use sync_notify::{Hub, Relay};
use sync_protocol::Millis;
use sync_store::Store;
use tokio::time::Instant;

use crate::budget::Budget;
use crate::turns::Turns;
use crate::{Limits, Metrics, Origins};

/// Longer than any process lives: what is later is as good as never.
const FOR_EVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// The parts that requests are answered with. It is made once and shared.
pub struct Service {
    /// Where changes are kept.
    pub store: Arc<dyn Store>,
    /// Who says which user a token stands for.
    pub verifier: Arc<Verifier>,
    /// The time of day.
    pub clock: Clock,
    /// The web pages that may call with credentials.
    pub origins: Origins,
    /// Signs in whoever asks, and shows its key set. Only for development; without it both routes are 404.
    pub development_issuer: Option<DevelopmentIssuer>,
    /// The sockets and streams of this node.
    pub hub: Arc<Hub>,
    /// Carries news to other nodes, if there are any.
    pub relay: Option<Arc<dyn Relay>>,
    /// What is counted; the binary's own tasks count here, too.
    pub metrics: Metrics,
    /// How long and how much.
    pub limits: Limits,
}

impl Service {
    pub(crate) fn now(&self) -> Millis {
        (self.clock)()
    }

    /// The moment at which the clock will show this, or a long time from now.
    pub(crate) fn instant(&self, at: Millis) -> Instant {
        let left = u64::try_from(at.0.saturating_sub(self.now().0)).unwrap_or(0);
        Instant::now() + Duration::from_millis(left).min(FOR_EVER)
    }
}

/// What handlers get: the service, and what a router shares among its requests. Clones share.
#[derive(Clone)]
pub(crate) struct Shared {
    service: Arc<Service>,
    /// What bodies may take.
    pub(crate) budget: Budget,
    /// Leave to read for a stream or a socket.
    pub(crate) turns: Arc<Turns>,
}

impl Shared {
    pub(crate) fn new(service: Arc<Service>) -> Self {
        let limits = &service.limits;
        Self {
            budget: Budget::new(limits),
            turns: Turns::new(limits.stream_reads),
            service,
        }
    }
}

impl Deref for Shared {
    type Target = Service;

    fn deref(&self) -> &Service {
        &self.service
    }
}
