//! The relay: a task that holds one connection at a time, and makes the next one when it is lost.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_nats::ServerAddr;
use sync_notify::{Hub, News, Outbox, Relay, RelayFigures};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};

use crate::backoff;
use crate::connection::{Connection, Failure, Shared};
use crate::counts::Counts;
use crate::servers::Servers;
use crate::subjects::Subjects;
use crate::{Config, NatsError, tls};

/// A connection that held this long was a good one: the next one is made without waiting long.
const STEADY: Duration = Duration::from_secs(10);

/// Carries news between nodes over NATS. It ends, with all its tasks and its connection, when it is dropped.
pub struct NatsRelay {
    shared: Arc<Shared>,
    task: AbortHandle,
}

impl NatsRelay {
    /// Starts a relay that hands to the hub what other nodes tell. It does not wait for NATS, and reconnects for ever;
    /// after every connect the hub is told that it may have missed something.
    ///
    /// It reads the certificates of this machine, which takes some milliseconds.
    ///
    /// # Errors
    ///
    /// Settings that cannot be used; never that NATS is away.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn start(config: Config, hub: Arc<Hub>) -> Result<Self, NatsError> {
        let Servers { addresses, login } = Servers::parse(&config.url)?;
        let shared = Arc::new(Shared {
            hub,
            outbox: Outbox::default(),
            counts: Counts::default(),
            subjects: Subjects::new(&config.prefix)?,
            login,
            tls: tls::client(config.authorities.as_deref())?,
        });
        let task = tokio::spawn(run(Arc::clone(&shared), addresses)).abort_handle();
        Ok(Self { shared, task })
    }
}

impl Relay for NatsRelay {
    fn publish(&self, news: News) {
        self.shared.outbox.put(news);
    }

    fn figures(&self) -> RelayFigures {
        let mut figures = self.shared.counts.figures();
        figures.lost += self.shared.outbox.lost();
        figures
    }
}

impl Drop for NatsRelay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for NatsRelay {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("NatsRelay")
            .field("figures", &self.figures())
            .finish_non_exhaustive()
    }
}

/// Goes round the servers, one connection after the other.
async fn run(shared: Arc<Shared>, servers: Vec<ServerAddr>) {
    let mut failures = 0;
    // Each reason is told once for each server, not at every attempt, until a connection has stood for a while.
    let mut told = BTreeSet::new();
    let mut is_steady = true;
    for server in servers.iter().cycle() {
        let made = tokio::select! {
            made = connect(&shared, server, failures) => made,
            never = lose(&shared) => match never {},
        };
        let since = Instant::now();
        let server = server.as_url_str();
        match made {
            Ok(connection) => {
                shared.counts.came();
                shared.hub.may_have_missed();
                if is_steady {
                    tracing::info!(server, "NATS is connected");
                }
                connection.serve().await;
                is_steady = since.elapsed() >= STEADY;
                if is_steady {
                    told.clear();
                }
                if told.insert((server.to_owned(), String::new())) {
                    tracing::warn!(server, "NATS is lost; it is tried again and again");
                }
            }
            Err(error) => {
                let reason = error.to_string();
                is_steady = true;
                if told.insert((server.to_owned(), reason.clone())) {
                    tracing::warn!(server, reason, "NATS is away; it is tried again and again");
                }
            }
        }
        shared.counts.went();
        failures = if since.elapsed() < STEADY {
            failures.saturating_add(1)
        } else {
            1
        };
    }
}

/// Waits as long as it must after so many failures in a row, and connects.
async fn connect(
    shared: &Arc<Shared>,
    server: &ServerAddr,
    failures: u32,
) -> Result<Connection, Failure> {
    if failures > 0 {
        sleep(backoff::delay(failures)).await;
    }
    Connection::make(shared, server).await
}

/// Lets go of what is to be sent while nobody would get it.
async fn lose(shared: &Shared) -> Infallible {
    loop {
        let news = shared.outbox.take().await;
        shared.counts.lost(news.len());
    }
}
