//! One connection to NATS, from its making to its loss.
//!
//! async-nats can reconnect by itself, but then keeps what was published meanwhile and sends it late, and goes on trying
//! when its client is long gone. So each connection is a client of its own, and what it held goes with it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::rustls::ClientConfig;
use async_nats::{Client, ConnectOptions, Event, Message, ReconnectToServer, ServerAddr};
use async_nats::{Error, Subscriber};
use futures_util::StreamExt;
use sync_notify::{Hub, MAX_NOTICE_BYTES, News, Outbox, decode, encode};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::counts::Counts;
use crate::servers::Login;
use crate::subjects::{Subjects, part_of};

/// How long making a connection may take, with the name's address, TLS and login.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How often a silent server is asked whether it is there. The third question without an answer ends the connection.
const PING_EVERY: Duration = Duration::from_secs(5);
/// The largest message. Larger ones save nothing, and the server has a limit of its own (1 MiB by default).
const MAX_MESSAGE_BYTES: usize = 32 * 1024;
/// How many messages that came may wait to be read; those beyond are lost.
const MAX_MESSAGES_IN: usize = 2_048;
/// How many messages may wait to be written, before the outbox keeps and merges what comes.
const MAX_MESSAGES_OUT: usize = 128;

/// What all connections of a relay share.
pub(crate) struct Shared {
    pub(crate) hub: Arc<Hub>,
    pub(crate) outbox: Outbox,
    pub(crate) counts: Counts,
    pub(crate) subjects: Subjects,
    pub(crate) login: Login,
    pub(crate) tls: ClientConfig,
}

/// A connection that listens.
pub(crate) struct Connection {
    shared: Arc<Shared>,
    client: Client,
    subscriber: Subscriber,
    /// The largest message that it takes, in bytes.
    limit: usize,
    lost: Arc<Lost>,
}

/// Why a connection could not be made.
#[derive(Debug)]
pub(crate) enum Failure {
    TooSlow,
    /// The server takes only messages that are too small for one notice.
    SmallMessages,
    Other(Error),
}

/// Where the client's own tasks say that a connection is over.
#[derive(Debug, Default)]
struct Lost {
    was_made: AtomicBool,
    happened: Notify,
}

impl Connection {
    /// Connects, and listens.
    pub(crate) async fn make(shared: &Arc<Shared>, server: &ServerAddr) -> Result<Self, Failure> {
        let making = Self::make_without_limit(shared, server);
        timeout(CONNECT_LIMIT, making)
            .await
            .unwrap_or(Err(Failure::TooSlow))
    }

    async fn make_without_limit(
        shared: &Arc<Shared>,
        server: &ServerAddr,
    ) -> Result<Self, Failure> {
        let lost = Arc::new(Lost::default());
        let options = options(shared, &lost);
        let client = options.connect(server.clone()).await?;
        let limit = client.max_payload().min(MAX_MESSAGE_BYTES);
        if limit < MAX_NOTICE_BYTES {
            return Err(Failure::SmallMessages);
        }
        let subscriber = client.subscribe(shared.subjects.all()).await?;
        // Out of this node. When the server reads it is not known; what it misses until then, the next look finds.
        client.flush().await?;
        Ok(Self {
            shared: Arc::clone(shared),
            client,
            subscriber,
            limit,
            lost,
        })
    }

    /// Carries news both ways until the connection is lost.
    pub(crate) async fn serve(mut self) {
        tokio::select! {
            () = self.lost.happened.notified() => {}
            () = receive(&self.shared, &mut self.subscriber) => {}
            error = publish(&self.shared, &self.client, self.limit) => {
                tracing::debug!(%error, "NATS takes no message");
            }
        }
    }
}

/// Reads messages until there are no more.
async fn receive(shared: &Shared, messages: &mut Subscriber) {
    while let Some(message) = messages.next().await {
        shared.counts.received();
        match read(&message) {
            Some(news) => news.into_iter().for_each(|news| shared.hub.hear(news)),
            None => shared.counts.lost(1),
        }
    }
}

fn read(message: &Message) -> Option<Vec<News>> {
    let text = std::str::from_utf8(&message.payload).ok()?;
    decode(text).ok()
}

/// Writes what the outbox holds, until it cannot.
async fn publish(shared: &Shared, client: &Client, limit: usize) -> Error {
    loop {
        let news = shared.outbox.take().await;
        let in_hand = shared.counts.in_hand(news.len());
        match send(&shared.subjects, client, news, limit).await {
            Ok(messages) => in_hand.sent(messages),
            Err(error) => return error,
        }
    }
}

/// Sends news to the subjects of their audiences, and waits until all of it has left this node; says in how many messages.
async fn send(
    subjects: &Subjects,
    client: &Client,
    news: Vec<News>,
    limit: usize,
) -> Result<usize, Error> {
    let mut parts: BTreeMap<u64, Vec<News>> = BTreeMap::new();
    for news in news {
        parts.entry(part_of(&news)).or_default().push(news);
    }
    let mut messages = 0;
    for (part, news) in parts {
        for text in encode(&news, limit) {
            client.publish(subjects.part(part), text.into()).await?;
            messages += 1;
        }
    }
    client.flush().await?;
    Ok(messages)
}

fn options(shared: &Arc<Shared>, lost: &Arc<Lost>) -> ConnectOptions {
    let events = (Arc::clone(shared), Arc::clone(lost));
    let reconnects = Arc::clone(lost);
    let options = ConnectOptions::new()
        .name("sync-server")
        .no_echo()
        // Used where the URL says `tls`, and where the server asks for TLS.
        .tls_client_config(shared.tls.clone())
        .connection_timeout(CONNECT_LIMIT)
        .ping_interval(PING_EVERY)
        .subscription_capacity(MAX_MESSAGES_IN)
        .client_capacity(MAX_MESSAGES_OUT)
        // The list of the operator is what counts; what servers tell of each other grows with every one that ever was.
        .ignore_discovered_servers()
        // The client tries once to get a lost connection back, which nobody uses any more, and then ends.
        .max_reconnects(1)
        .reconnect_to_server_callback(move |servers, _| {
            reconnects.connecting();
            let server = servers.into_iter().next();
            let delay = Some(Duration::ZERO);
            std::future::ready(server.map(|server| {
                let addr = server.addr;
                ReconnectToServer { addr, delay }
            }))
        })
        .event_callback(move |event| {
            let (shared, lost) = &events;
            hear_event(shared, lost, &event);
            std::future::ready(())
        });
    match &shared.login {
        Login::None => options,
        Login::Token(token) => options.token(token.clone()),
        Login::User { name, password } => options.user_and_password(name.clone(), password.clone()),
    }
}

fn hear_event(shared: &Shared, lost: &Lost, event: &Event) {
    match event {
        // A message came that there was no room for.
        Event::SlowConsumer(_) => {
            shared.counts.lost(1);
            shared.hub.may_have_missed();
        }
        // For instance: it may not subscribe. A relay that cannot hear is not up.
        Event::ServerError(error) => {
            tracing::warn!(%error, "NATS refuses");
            lost.happened.notify_one();
        }
        Event::Disconnected | Event::Closed => lost.happened.notify_one(),
        _ => {}
    }
}

impl Lost {
    /// The client connects: at first it makes the connection, and from then on it has lost it.
    fn connecting(&self) {
        if self.was_made.swap(true, Ordering::Relaxed) {
            self.happened.notify_one();
        }
    }
}

impl<E: Into<Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Other(error.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooSlow => write!(out, "no connection within {} s", CONNECT_LIMIT.as_secs()),
            Self::SmallMessages => write!(
                out,
                "its max_payload is below the {MAX_NOTICE_BYTES} bytes of a notice"
            ),
            Self::Other(error) => error.fmt(out),
        }
    }
}
