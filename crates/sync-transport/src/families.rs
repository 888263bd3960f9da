//! The families of metrics, in groups, with their labels, names and help texts.

use std::sync::atomic::AtomicU64;
use std::time::Instant;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry};
use tokio::sync::Mutex;

/// The upper bounds of the classes of all durations, in seconds.
const CLASSES: [f64; 13] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0,
];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ByRequest {
    pub(crate) route: String,
    pub(crate) method: &'static str,
    pub(crate) status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ByRoute {
    pub(crate) route: String,
    pub(crate) method: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ByCall {
    pub(crate) call: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ByError {
    pub(crate) call: &'static str,
    pub(crate) error: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ByCode {
    pub(crate) code: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ByClose {
    pub(crate) code: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ByLimit {
    pub(crate) limit: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ByOutcome {
    pub(crate) outcome: &'static str,
}

pub(crate) type Durations<L> = Family<L, Histogram, fn() -> Histogram>;

/// The gauges that dashboards of the replaced service know.
#[derive(Default)]
pub(crate) struct OldGauges {
    pub(crate) connections: Gauge,
    pub(crate) users: Gauge,
}

pub(crate) struct Requests {
    pub(crate) total: Family<ByRequest, Counter>,
    pub(crate) seconds: Durations<ByRoute>,
    pub(crate) in_flight: Gauge,
    pub(crate) connections: Gauge,
    pub(crate) refused: Counter,
    pub(crate) limited: Family<ByLimit, Counter>,
}

#[derive(Default)]
pub(crate) struct Exchange {
    pub(crate) changes: Counter,
    pub(crate) appended: Counter,
    pub(crate) conflicts: Counter,
    pub(crate) warnings: Family<ByCode, Counter>,
    pub(crate) pages: Counter,
    pub(crate) rows: Counter,
}

pub(crate) struct StoreFigures {
    pub(crate) wait: Durations<ByCall>,
    pub(crate) errors: Family<ByError, Counter>,
    pub(crate) pool_size: Gauge,
    pub(crate) pool_available: Gauge,
    pub(crate) pool_waiting: Gauge,
    pub(crate) dead_rows: Gauge,
    pub(crate) asked: Mutex<Option<Instant>>,
}

#[derive(Default)]
pub(crate) struct KeyFigures {
    pub(crate) held: Gauge,
    pub(crate) last_fetch: Gauge<f64, AtomicU64>,
    pub(crate) fetches: Family<ByOutcome, Counter>,
    pub(crate) tokens: Family<ByOutcome, Counter>,
    pub(crate) remembered: Gauge,
}

#[derive(Default)]
pub(crate) struct Sweeps {
    pub(crate) rows: Counter,
    pub(crate) records: Counter,
    pub(crate) failures: Counter,
}

/// What is counted of streams, sockets and nodes.
#[derive(Default)]
pub(crate) struct Live {
    pub(crate) closes: Family<ByClose, Counter>,
    pub(crate) notices: Family<ByOutcome, Counter>,
    pub(crate) looks: Family<ByOutcome, Counter>,
    pub(crate) found: Counter,
    pub(crate) relay_up: Gauge,
    pub(crate) relayed: Family<ByOutcome, Counter>,
    pub(crate) relay_failures: Counter,
}

fn durations() -> Histogram {
    Histogram::new(CLASSES)
}

/// Adds metrics, each with its name and help text.
macro_rules! add {
    ($registry:ident, $($name:literal $help:literal $metric:expr),* $(,)?) => {
        $(add($registry, $name, $help, &$metric);)*
    };
}

fn add(registry: &mut Registry, name: &str, help: &str, metric: &(impl Metric + Clone)) {
    registry.register(name, help, metric.clone());
}

impl OldGauges {
    pub(crate) fn register(&self, registry: &mut Registry) {
        add!(registry,
            "mana_sync_connections_total" "Streams, and sockets that are signed in" self.connections,
            "mana_sync_users_connected" "Users that have one or more of them" self.users,
        );
    }
}

impl Default for Requests {
    fn default() -> Self {
        Self {
            total: Family::default(),
            seconds: Family::new_with_constructor(durations),
            in_flight: Gauge::default(),
            connections: Gauge::default(),
            refused: Counter::default(),
            limited: Family::default(),
        }
    }
}

impl Requests {
    pub(crate) fn register(&self, registry: &mut Registry) {
        add!(registry,
            "sync_http_requests" "Requests, by route template" self.total,
            "sync_http_request_seconds" "Time from the head of a request to the last byte of its answer, of a stream to its head" self.seconds,
            "sync_http_requests_in_flight" "Requests that are not over yet, without streams" self.in_flight,
            "sync_http_connections" "Connections" self.connections,
            "sync_connections_refused" "Connections refused, since their address had as many as one may have" self.refused,
            "sync_rate_limited" "Requests and sign-ins refused, since their user or their address asks too often" self.limited,
        );
    }
}

impl Exchange {
    pub(crate) fn register(&self, registry: &mut Registry) {
        add!(registry,
            "sync_changes_pushed" "Changes in the pushes and uploads that were taken" self.changes,
            "sync_rows_appended" "Rows that pushes appended to the log" self.appended,
            "sync_conflicts" "Pushed fields that lost against another value" self.conflicts,
            "sync_warnings" "Changes that were not taken as they came, by reason" self.warnings,
            "sync_pages" "Pages answered, of pushes, pulls and downloads" self.pages,
            "sync_rows_answered" "Changes and rows in those pages, corrections among them" self.rows,
        );
    }
}

impl Default for StoreFigures {
    fn default() -> Self {
        Self {
            wait: Family::new_with_constructor(durations),
            errors: Family::default(),
            pool_size: Gauge::default(),
            pool_available: Gauge::default(),
            pool_waiting: Gauge::default(),
            dead_rows: Gauge::default(),
            asked: Mutex::default(),
        }
    }
}

impl StoreFigures {
    pub(crate) fn register(&self, registry: &mut Registry) {
        add!(registry,
            "sync_store_wait_seconds" "Time that the store took" self.wait,
            "sync_store_errors" "Calls of the store that failed" self.errors,
            "sync_store_pool_size" "Connections to the database" self.pool_size,
            "sync_store_pool_available" "Connections to the database that are free" self.pool_available,
            "sync_store_pool_waiting" "Requests that wait for a connection to the database" self.pool_waiting,
            "sync_store_dead_rows" "Rows of the log that are dead and not yet removed" self.dead_rows,
        );
    }
}

impl KeyFigures {
    pub(crate) fn register(&self, registry: &mut Registry) {
        add!(registry,
            "sync_token_keys" "Keys that verify tokens; with none nobody is let in" self.held,
            "sync_token_keys_fetched_timestamp_seconds" "When the keys were last fetched" self.last_fetch,
            "sync_token_key_fetches" "Fetches of keys, by outcome" self.fetches,
            "sync_tokens" "Tokens, remembered from before or looked at" self.tokens,
            "sync_tokens_remembered" "Tokens that are remembered" self.remembered,
        );
    }
}

impl Sweeps {
    pub(crate) fn register(&self, registry: &mut Registry) {
        add!(registry,
            "sync_swept_rows" "Dead rows removed" self.rows,
            "sync_swept_records" "Deleted records of which the tombstone is left" self.records,
            "sync_sweep_failures" "Sweeps that failed" self.failures,
        );
    }
}

impl Live {
    pub(crate) fn register(&self, registry: &mut Registry) {
        add!(registry,
            "sync_socket_closes" "Sockets that the server closed, by code" self.closes,
            "sync_notices" "Streams and sockets that were told of something, idle ones and those that were busy" self.notices,
            "sync_looks" "Looks at the log for changes that no notice has told" self.looks,
            "sync_looks_found" "Notices that such a look made good" self.found,
            "sync_relay_up" "Whether the relay between nodes is connected; without it notices come with the next look" self.relay_up,
            "sync_relay_messages" "Messages of the relay, by what became of them" self.relayed,
            "sync_relay_failures" "How often the relay was lost or could not be reached" self.relay_failures,
        );
    }
}
