//! What the routes work with, handed in by the binary.

use std::collections::BTreeSet;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use sync_access::{Billing, Clock, DevelopmentIssuer, Memberships, ServiceKeys, Verifier};
use sync_notify::{Hub, Relay};
use sync_protocol::{AppId, Millis, UserId};
use sync_store::{RowTables, Store};
use tokio::sync::{Mutex, Semaphore};
use tokio::time::Instant;

use crate::budget::Budget;
use crate::export::EXPORTS;
use crate::rates::Rates;
use crate::turns::Turns;
use crate::{Limits, Metrics, Origins, Proxies};

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
    /// The proxies that are believed where a request comes from.
    pub proxies: Proxies,
    /// Signs in whoever asks, and shows its key set. Only for development; without it both routes are 404.
    pub development_issuer: Option<DevelopmentIssuer>,
    /// The sockets and streams of this node.
    pub hub: Arc<Hub>,
    /// Carries news to other nodes, if there are any.
    pub relay: Option<Arc<dyn Relay>>,
    /// Says whose subscription is active; without it everybody's is.
    pub billing: Option<Billing>,
    /// The apps that need no subscription.
    pub exempt_apps: BTreeSet<AppId>,
    /// Asks who is in which space; without it the grants stand as they are.
    pub memberships: Option<Memberships>,
    /// The keys by which other services call.
    pub service_keys: ServiceKeys,
    /// What is known of the tables of rows clients.
    pub rows: Arc<RowTables>,
    /// What rows clients are told that the version of their tables is.
    pub schema_version: i64,
    /// What is counted; the binary's own tasks count here, too.
    pub metrics: Metrics,
    /// How long and how much.
    pub limits: Limits,
}

impl Service {
    pub(crate) fn now(&self) -> Millis {
        (self.clock)()
    }

    /// Whether a user may sync in an app, or in all of them, as far as a subscription goes.
    pub(crate) async fn is_active(&self, user: &UserId, app: Option<&AppId>) -> bool {
        match &self.billing {
            Some(billing) if !app.is_some_and(|app| self.is_exempt(app)) => {
                billing.is_active(user).await
            }
            _ => true,
        }
    }

    /// Whether an app needs no subscription.
    pub(crate) fn is_exempt(&self, app: &AppId) -> bool {
        self.exempt_apps.contains(app)
    }

    /// Whether an app needs no subscription, or one of all if none is named.
    pub(crate) fn has_exempt_app(&self, app: Option<&AppId>) -> bool {
        app.map_or(!self.exempt_apps.is_empty(), |app| self.is_exempt(app))
    }

    /// Has the grants of a user be as the membership service says, if it says so: else they stand.
    pub(crate) async fn settle(&self, user: &UserId) {
        if let Some(memberships) = &self.memberships {
            // Why it is not settled stands in the log and the metrics.
            let _ = memberships.settle(user).await;
        }
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
    /// How often everybody has asked.
    pub(crate) rates: Arc<Rates>,
    /// Leave to export.
    pub(crate) exports: Arc<Semaphore>,
    /// Held by whoever erases.
    pub(crate) erasing: Arc<Mutex<()>>,
}

impl Shared {
    pub(crate) fn new(service: Arc<Service>) -> Self {
        let limits = &service.limits;
        Self {
            budget: Budget::new(limits),
            turns: Turns::new(limits.stream_reads),
            rates: Arc::new(Rates::new(limits, &service.metrics)),
            exports: Arc::new(Semaphore::new(EXPORTS)),
            erasing: Arc::default(),
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
