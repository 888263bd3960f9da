//! What is counted, for Prometheus. No label holds anything that a client chooses.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use sync_access::{Billing, Figures, Memberships};
use sync_notify::Relay;
use sync_protocol::{Answer, WarningCode};
use sync_store::{Pushed, Stats, Store, StoreError, Swept};
use tokio::time::timeout;

use crate::exposition;
use crate::families::{
    ByCall, ByClose, ByCode, ByError, ByLimit, ByOutcome, ByRequest, ByRoute, Exchange, KeyFigures,
    Live, OldGauges, Requests, StoreFigures, Sweeps,
};
use crate::rates::Whose;
use crate::upstream_figures::UpstreamFigures;

/// How old the figures of the store may be: however often metrics are asked for, the store is not asked more often.
const STATS_AGE: Duration = Duration::from_secs(5);
/// How long the store may take to give them.
const STATS_TIME: Duration = Duration::from_secs(2);

/// The counters of a server. Clones count together.
#[derive(Clone)]
pub struct Metrics(Arc<Counted>);

/// What is asked of a store.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Call {
    Push,
    Pull,
    Stream,
    Upload,
    Download,
    Failures,
    Retry,
}

impl Call {
    fn name(self) -> &'static str {
        match self {
            Self::Push => "push",
            Self::Pull => "pull",
            Self::Stream => "stream",
            Self::Upload => "upload",
            Self::Download => "download",
            Self::Failures => "failures",
            Self::Retry => "retry",
        }
    }
}

struct Counted {
    registry: Registry,
    old: OldGauges,
    requests: Requests,
    exchange: Exchange,
    store: StoreFigures,
    keys: KeyFigures,
    sweeps: Sweeps,
    live: Live,
    upstream: UpstreamFigures,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Counters that stand at nothing.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::default();
        let (old, requests) = (OldGauges::default(), Requests::default());
        old.register(&mut registry);
        requests.register(&mut registry);
        let (exchange, store) = (Exchange::default(), StoreFigures::default());
        exchange.register(&mut registry);
        store.register(&mut registry);
        let (keys, sweeps) = (KeyFigures::default(), Sweeps::default());
        keys.register(&mut registry);
        sweeps.register(&mut registry);
        let live = Live::default();
        live.register(&mut registry);
        let upstream = UpstreamFigures::default();
        upstream.register(&mut registry);
        Self(Arc::new(Counted {
            registry,
            old,
            requests,
            exchange,
            store,
            keys,
            sweeps,
            live,
            upstream,
        }))
    }

    /// A sweep removed this.
    pub fn swept(&self, swept: &Swept) {
        self.0.sweeps.rows.inc_by(count(swept.rows));
        self.0.sweeps.records.inc_by(count(swept.records));
    }

    /// A sweep failed.
    pub fn sweep_failed(&self) {
        self.0.sweeps.failures.inc();
    }

    /// A socket was closed with this code.
    pub(crate) fn closed(&self, code: u16) {
        self.0.live.closes.get_or_create(&ByClose { code }).inc();
    }

    /// A connection, for as long as what is returned lives.
    pub(crate) fn connected(&self) -> Connected {
        self.0.requests.connections.inc();
        Connected(self.0.requests.connections.clone())
    }

    /// A connection was refused, since its address had as many as one may have.
    pub(crate) fn refused(&self) {
        self.0.requests.refused.inc();
    }

    /// A request was refused, since it came too soon after others.
    pub(crate) fn limited(&self, whose: Whose) {
        let limit = whose.name();
        let limited = &self.0.requests.limited;
        limited.get_or_create(&ByLimit { limit }).inc();
    }

    pub(crate) fn began(&self) {
        self.0.requests.in_flight.inc();
    }

    pub(crate) fn ended(&self, method: &'static str, route: &str, status: u16, took: Duration) {
        let requests = &self.0.requests;
        let route = route.to_owned();
        requests.in_flight.dec();
        let by_route = ByRoute {
            route: route.clone(),
            method,
        };
        let seconds = requests.seconds.get_or_create(&by_route);
        seconds.observe(took.as_secs_f64());
        let by_request = ByRequest {
            route,
            method,
            status,
        };
        requests.total.get_or_create(&by_request).inc();
    }

    /// How long a call of the store took, and whether it failed.
    pub(crate) fn waited(&self, call: Call, took: Duration, error: Option<&StoreError>) {
        let (store, call) = (&self.0.store, call.name());
        let wait = store.wait.get_or_create(&ByCall { call });
        wait.observe(took.as_secs_f64());
        let error = match error {
            None => return,
            Some(StoreError::Unavailable(_)) => "unavailable",
            Some(StoreError::TooLarge(_)) => "too_large",
            Some(StoreError::Fault(_)) => "fault",
        };
        store.errors.get_or_create(&ByError { call, error }).inc();
    }

    /// A push of so many changes was taken.
    pub(crate) fn pushed(&self, changes: usize, pushed: &Pushed) {
        let exchange = &self.0.exchange;
        exchange.changes.inc_by(count(changes));
        exchange.appended.inc_by(count(pushed.appended));
        exchange
            .conflicts
            .inc_by(count(pushed.answer.conflicts.len()));
        for warning in &pushed.answer.warnings {
            let code = code(warning.code);
            exchange.warnings.get_or_create(&ByCode { code }).inc();
        }
        self.answered(&pushed.answer);
    }

    /// An upload of so many changes was taken.
    pub(crate) fn uploaded(&self, changes: usize) {
        self.0.exchange.changes.inc_by(count(changes));
    }

    /// A page of so many rows was downloaded.
    pub(crate) fn downloaded(&self, rows: usize) {
        self.0.exchange.pages.inc();
        self.0.exchange.rows.inc_by(count(rows));
    }

    /// A page was answered.
    pub(crate) fn answered(&self, answer: &Answer) {
        self.0.exchange.pages.inc();
        self.0
            .exchange
            .rows
            .inc_by(count(answer.server_changes.len()));
    }

    /// Asks the store for its figures, unless they are fresh or somebody else is asking.
    pub(crate) async fn look_at_store(&self, store: &dyn Store) {
        let figures = &self.0.store;
        let Ok(mut asked) = figures.asked.try_lock() else {
            return;
        };
        if asked.is_some_and(|asked| asked.elapsed() < STATS_AGE) {
            return;
        }
        *asked = Some(Instant::now());
        match timeout(STATS_TIME, store.stats()).await {
            Ok(Ok(stats)) => set(figures, &stats),
            Ok(Err(error)) => tracing::warn!(%error, "the store gave no figures"),
            Err(_) => tracing::warn!("the store gave no figures in time"),
        }
    }

    pub(crate) fn look_at_keys(&self, figures: &Figures) {
        let keys = &self.0.keys;
        keys.held.set(gauged(figures.keys_held));
        keys.remembered.set(gauged(figures.tokens_remembered));
        if let Some(fetched) = figures.last_fetch {
            keys.last_fetch.set(fetched.0 as f64 / 1000.0);
        }
        for (outcome, total) in [
            ("success", figures.successful_fetches),
            ("failure", figures.failed_fetches),
            ("suppressed", figures.suppressed_fetches),
        ] {
            stand(&keys.fetches, outcome, total);
        }
        stand(&keys.tokens, "remembered", figures.cache_hits);
        stand(&keys.tokens, "verified", figures.cache_misses);
    }

    pub(crate) fn look_at_upstream(
        &self,
        billing: Option<&Billing>,
        memberships: Option<&Memberships>,
    ) {
        self.0.upstream.look_at(billing, memberships);
    }

    pub(crate) fn look_at_hub(&self, hub: &sync_notify::Figures, relay: Option<&dyn Relay>) {
        let (old, live) = (&self.0.old, &self.0.live);
        old.connections.set(gauged(hub.connections));
        old.users.set(gauged(hub.users));
        stand(&live.notices, "woken", hub.woken);
        stand(&live.notices, "merged", hub.merged);
        stand(&live.looks, "success", hub.looks);
        stand(&live.looks, "failure", hub.failed_looks);
        live.found.inner().store(hub.found, Ordering::Relaxed);
        let Some(relay) = relay.map(Relay::figures) else {
            return;
        };
        live.relay_up.set(i64::from(relay.is_up));
        stand(&live.relayed, "sent", relay.sent);
        stand(&live.relayed, "received", relay.received);
        stand(&live.relayed, "lost", relay.lost);
        let failures = live.relay_failures.inner();
        failures.store(relay.failures, Ordering::Relaxed);
    }

    /// All figures as text.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.0.registry).expect("a text takes whatever is written to it");
        exposition::from_open_metrics(&text)
    }
}

/// Lets a counter stand at what somebody else has counted.
fn stand(counters: &Family<ByOutcome, Counter>, outcome: &'static str, total: u64) {
    let counter = counters.get_or_create(&ByOutcome { outcome });
    counter.inner().store(total, Ordering::Relaxed);
}

fn set(figures: &StoreFigures, stats: &Stats) {
    figures.pool_size.set(gauged(stats.pool_size));
    figures.pool_available.set(gauged(stats.pool_available));
    figures.pool_waiting.set(gauged(stats.pool_waiting));
    figures.dead_rows.set(gauged(stats.dead_rows));
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

fn gauged(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

fn code(code: WarningCode) -> &'static str {
    match code {
        WarningCode::ClockAhead => "clock_ahead",
        WarningCode::SpaceWriteDenied => "space_write_denied",
        WarningCode::Parked => "parked",
    }
}

/// A connection that is counted.
pub(crate) struct Connected(Gauge);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.dec();
    }
}
