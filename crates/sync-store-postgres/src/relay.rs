//! Notices between nodes by LISTEN and NOTIFY, on one connection of its own.
//!
//! ```text
//! pushes -> outbox -(one statement for all that wait)-> PostgreSQL -> the other nodes -> hub
//!                                                            \--> back to us: the connection hears
//! ```
//!
//! No push waits for it, and nothing that a push does in its own transaction touches the queue of notices, which takes one
//! committer at a time. A node hears its own messages, too: that tells it that it hears at all, also behind a proxy that
//! swallows them.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::stream::{self, Stream, StreamExt};
use sync_notify::{Hub, News, Outbox, Relay, RelayFigures, decode, encode};
use sync_store::StoreError;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_postgres::{AsyncMessage, Client, Error, Notification};

use crate::config::Config;
use crate::endpoint::Endpoint;
use crate::failure::store_error;
use crate::pool::CREATE_LIMIT;
use crate::queries::live;

/// The longest message, in bytes: PostgreSQL takes less than 8,000.
const MESSAGE_BYTES: usize = 7_900;
/// How often it is tried whether messages arrive, and how long one may take.
const PROBE_EVERY: Duration = Duration::from_secs(5);
/// What a node tells itself; to others it says nothing.
const PROBE: &str = "[]";
/// How long a connection must have stood to count as good: the next loss begins with the shortest pause again.
const STEADY: Duration = Duration::from_secs(30);
/// How long one statement may take.
const TELL_LIMIT: Duration = Duration::from_secs(5);
/// The pause after a connection was lost; it doubles with each further failure.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The relay of a database that several nodes share. It ends when it is dropped.
#[derive(Debug)]
pub struct PostgresRelay {
    state: Arc<State>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct State {
    outbox: Outbox,
    is_up: AtomicBool,
    /// The number of the connection; 0 without one.
    own_number: AtomicI32,
    /// Whether a message of our own has come back since the last probe.
    hears: AtomicBool,
    sent: AtomicU64,
    received: AtomicU64,
    lost: AtomicU64,
    failures: AtomicU64,
}

impl PostgresRelay {
    /// Starts to connect, and goes on for as long as it lives: the database may be away.
    ///
    /// # Errors
    ///
    /// [`StoreError::Fault`] if the URL cannot be read.
    pub fn start(config: &Config, hub: Arc<Hub>) -> Result<Self, StoreError> {
        let endpoint = Endpoint::parse(&config.url)?;
        let state = Arc::new(State::default());
        let task = tokio::spawn(keep_up(endpoint, Arc::clone(&state), hub));
        Ok(Self { state, task })
    }
}

impl Relay for PostgresRelay {
    fn publish(&self, news: News) {
        if self.state.is_up.load(Ordering::Relaxed) {
            self.state.outbox.put(news);
        } else {
            self.state.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn figures(&self) -> RelayFigures {
        let state = &self.state;
        RelayFigures {
            is_up: state.is_up.load(Ordering::Relaxed),
            sent: state.sent.load(Ordering::Relaxed),
            received: state.received.load(Ordering::Relaxed),
            lost: state.lost.load(Ordering::Relaxed) + state.outbox.lost(),
            failures: state.failures.load(Ordering::Relaxed),
        }
    }
}

impl Drop for PostgresRelay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Connects again and again.
async fn keep_up(endpoint: Endpoint, state: Arc<State>, hub: Arc<Hub>) {
    let (mut pause, mut was_told) = (FIRST_PAUSE, false);
    loop {
        let began = Instant::now();
        let error = state.connect(&endpoint, &hub).await;
        if began.elapsed() >= STEADY {
            (pause, was_told) = (FIRST_PAUSE, false);
        }
        state.is_up.store(false, Ordering::Relaxed);
        state.failures.fetch_add(1, Ordering::Relaxed);
        if !was_told {
            tracing::warn!(%error, "the relay between nodes is away; notices come with the next look");
            was_told = true;
        }
        sleep(pause).await;
        pause = LONGEST_PAUSE.min(pause * 2);
    }
}

impl State {
    /// Works on one connection until it fails: why it did.
    async fn connect(&self, endpoint: &Endpoint, hub: &Hub) -> StoreError {
        let connecting = endpoint.config.connect(endpoint.tls.clone());
        let (client, mut connection) = match timeout(CREATE_LIMIT, connecting).await {
            Ok(Ok(connected)) => connected,
            Ok(Err(error)) => return store_error(error),
            Err(_) => return StoreError::unavailable("PostgreSQL did not let us in in time"),
        };
        let messages = stream::poll_fn(move |context| connection.poll_message(context));
        // What drives the connection goes on while anything is asked on it.
        let error = tokio::select! {
            error = self.hear(messages, hub) => error,
            error = self.tell(&client) => error,
        };
        self.own_number.store(0, Ordering::Relaxed);
        error
    }

    /// Hands on what arrives, until the connection fails.
    async fn hear(
        &self,
        mut messages: impl Stream<Item = Result<AsyncMessage, Error>> + Unpin,
        hub: &Hub,
    ) -> StoreError {
        while let Some(message) = messages.next().await {
            match message {
                Ok(AsyncMessage::Notification(told)) => self.take_in(&told, hub),
                Ok(_) => {}
                Err(error) => return store_error(error),
            }
        }
        StoreError::unavailable("PostgreSQL closed the connection")
    }

    fn take_in(&self, told: &Notification, hub: &Hub) {
        if told.process_id() == self.own_number.load(Ordering::Relaxed) {
            self.hears.store(true, Ordering::Relaxed);
            if !self.is_up.swap(true, Ordering::Relaxed) {
                // What was committed while nobody listened has told nobody here.
                hub.may_have_missed();
            }
            return;
        }
        self.received.fetch_add(1, Ordering::Relaxed);
        match decode(told.payload()) {
            Ok(news) => news.into_iter().for_each(|news| hub.hear(news)),
            Err(error) => {
                self.lost.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(%error, "a message of another node cannot be read");
            }
        }
    }

    /// Sends what there is to tell, until that fails or nothing is heard.
    async fn tell(&self, client: &Client) -> StoreError {
        match self.try_to_tell(client).await {
            Ok(never) => match never {},
            Err(error) => error,
        }
    }

    async fn try_to_tell(&self, client: &Client) -> Result<Infallible, StoreError> {
        let row = in_time(client.query_one(live::WHO_LISTENS, &[])).await?;
        self.own_number.store(row.get(0), Ordering::Relaxed);
        // Two systems may share a database, each in a schema of its own.
        let channel = format!("sync_notices_{}", row.get::<_, i64>(1));
        in_time(client.batch_execute(&live::listen(&channel))).await?;
        let tell = in_time(client.prepare(live::TELL)).await?;
        let mut probe_at = Instant::now();
        self.hears.store(true, Ordering::Relaxed);
        loop {
            let messages = tokio::select! {
                news = self.outbox.take() => encode(&news, MESSAGE_BYTES),
                () = sleep_until(probe_at) => {
                    if !self.hears.swap(false, Ordering::Relaxed) {
                        let text = "notices do not come back: is there a proxy between that does not keep sessions?";
                        return Err(StoreError::unavailable(text));
                    }
                    probe_at = Instant::now() + PROBE_EVERY;
                    vec![PROBE.to_owned()]
                }
            };
            in_time(client.execute(&tell, &[&channel, &messages])).await?;
            let count = u64::try_from(messages.len()).unwrap_or(u64::MAX);
            self.sent.fetch_add(count, Ordering::Relaxed);
        }
    }
}

async fn in_time<T>(asked: impl Future<Output = Result<T, Error>>) -> Result<T, StoreError> {
    match timeout(TELL_LIMIT, asked).await {
        Ok(answer) => answer.map_err(store_error),
        Err(_) => Err(StoreError::unavailable("PostgreSQL did not answer in time")),
    }
}
