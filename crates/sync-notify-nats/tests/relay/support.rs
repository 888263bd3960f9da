//! Two nodes and what they tell each other.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use sync_notify::{Hub, Interest, Listener, News, Notice, Relay, RelayFigures, Waiting};
use sync_notify_nats::{Config, NatsRelay};
use sync_protocol::{AppId, Audience, TableName, Tables, UserId};
use test_nats::Server;
use tokio::time::{Instant, sleep, timeout};

/// How long anything may take that must happen.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// A node: its hub, its relay, and a listener of the user `ann`.
pub(crate) struct Node {
    pub(crate) hub: Arc<Hub>,
    pub(crate) relay: NatsRelay,
    pub(crate) ann: Listener,
}

impl Node {
    pub(crate) fn new(config: Config) -> Self {
        let hub = Hub::new(10);
        let ann = hub.listen(Interest {
            user: user("ann"),
            client: None,
            app: None,
            tables: Tables::All,
        });
        let relay = NatsRelay::start(config, Arc::clone(&hub)).unwrap();
        Self {
            hub,
            relay,
            ann: ann.unwrap(),
        }
    }

    pub(crate) fn at(server: &Server) -> Self {
        Self::new(Config::new(server.url()))
    }

    pub(crate) fn figures(&self) -> RelayFigures {
        self.relay.figures()
    }

    pub(crate) async fn is_up(&self) {
        until("the relay is up", || self.figures().is_up).await;
    }

    pub(crate) async fn is_down(&self) {
        until("the relay is down", || !self.figures().is_up).await;
    }

    /// Until it has failed so often.
    pub(crate) async fn has_failed(&self, times: u64) {
        until("the relay has failed", || self.figures().failures >= times).await;
    }

    /// What ann is told next.
    pub(crate) async fn hears(&self) -> Waiting {
        let waiting = timeout(LIMIT, self.ann.waiting()).await;
        waiting.expect("ann is told in time")
    }

    /// Tells the other node of a table until ann hears it there: the way is open then. When a server begins to deliver
    /// after a connect, nobody says.
    pub(crate) async fn reaches(&self, other: &Self, table: &str) {
        let started = Instant::now();
        for position in 1.. {
            self.relay.publish(changes("ann", table, position));
            let told = timeout(Duration::from_millis(20), other.ann.waiting()).await;
            if told.is_ok_and(|told| names(&told).contains(table)) {
                return;
            }
            assert!(started.elapsed() < LIMIT, "{table} is not heard");
        }
    }
}

/// Two nodes that hear each other.
pub(crate) async fn two_nodes(config: impl Fn() -> Config) -> (Node, Node) {
    let (here, there) = (Node::new(config()), Node::new(config()));
    here.reaches(&there, "hello").await;
    there.reaches(&here, "hello").await;
    (here, there)
}

/// Waits for a condition.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < LIMIT, "not in time: {what}");
        sleep(Duration::from_millis(2)).await;
    }
}

pub(crate) fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

/// A change of a table that a user may see.
pub(crate) fn changes(name: &str, table: &str, position: i64) -> News {
    News::Changes(Notice {
        audience: Audience::User(user(name)),
        app: AppId::new("app").unwrap(),
        tables: BTreeSet::from([TableName::new(table).unwrap()]),
        writer: None,
        position,
    })
}

/// The tables that were told.
pub(crate) fn names(told: &Waiting) -> BTreeSet<String> {
    let tables = told.tables.values().flatten();
    tables.map(ToString::to_string).collect()
}

/// Sends messages as any program could, and returns when the server has them.
pub(crate) fn send_raw(server: &Server, subject: &str, messages: &[&[u8]]) {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream
        .write_all(b"CONNECT {\"verbose\":false}\r\n")
        .unwrap();
    let mut text = Vec::new();
    for message in messages {
        text.extend(format!("PUB {subject} {}\r\n", message.len()).bytes());
        text.extend(*message);
        text.extend(b"\r\n");
    }
    text.extend(b"PING\r\n");
    stream.write_all(&text).unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"PONG\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        answer.push(byte[0]);
    }
}
