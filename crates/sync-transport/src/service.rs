//! What the routes work with, handed in by the binary.

use std::ops::Deref;
use std::sync::Arc;

use sync_access::{Clock, DevelopmentIssuer, Verifier};
use sync_protocol::Millis;
use sync_store::Store;

use crate::budget::Budget;
use crate::{Limits, Metrics, Origins};

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
    /// What is counted; the binary's own tasks count here, too.
    pub metrics: Metrics,
    /// How long and how much.
    pub limits: Limits,
}

impl Service {
    pub(crate) fn now(&self) -> Millis {
        (self.clock)()
    }
}

/// What handlers get: the service, and what a router shares among its requests. Clones share.
#[derive(Clone)]
pub(crate) struct Shared {
    service: Arc<Service>,
    /// What bodies may take.
    pub(crate) budget: Budget,
}

impl Shared {
    pub(crate) fn new(service: Arc<Service>) -> Self {
        let budget = Budget::new(&service.limits);
        Self { service, budget }
    }
}

impl Deref for Shared {
    type Target = Service;

    fn deref(&self) -> &Service {
        &self.service
    }
}
