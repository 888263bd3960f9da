//! Clients that listen, and say what they hear and when.

use std::collections::{BTreeMap, BTreeSet};

use sync_client::{Client, SocketEvent, StreamEvent};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::waiting::PATIENCE;

/// What a socket hears when it is connected, as if it were a table.
pub(crate) const CONNECTED: &str = "(connected)";

/// Who has heard of a table, and when.
#[derive(Debug)]
struct Heard {
    who: usize,
    table: String,
    at: Instant,
}

/// Some sockets and streams; they end with this value.
pub(crate) struct Listening {
    tasks: JoinSet<()>,
    count: usize,
    sender: mpsc::UnboundedSender<Heard>,
    receiver: mpsc::UnboundedReceiver<Heard>,
    /// The first time that each table was heard of, for each who listens.
    heard: Vec<BTreeMap<String, Instant>>,
}

impl Listening {
    /// Nobody yet.
    pub(crate) fn new() -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        Self {
            tasks: JoinSet::new(),
            count: 0,
            sender,
            receiver,
            heard: Vec::new(),
        }
    }

    /// A socket of this client listens, too: its place among those who do.
    pub(crate) fn socket(&mut self, client: &Client) -> usize {
        let mut socket = client.socket();
        let (who, sender) = self.place();
        self.tasks.spawn(async move {
            loop {
                let tables = match socket.next().await.unwrap() {
                    SocketEvent::Connected => vec![CONNECTED.to_owned()],
                    SocketEvent::Available { tables, .. } => tables,
                };
                tables
                    .into_iter()
                    .for_each(|table| tell(&sender, who, table));
            }
        });
        who
    }

    /// A stream of all tables of this client listens, too: its place among those who do.
    pub(crate) fn stream(&mut self, client: &Client) -> usize {
        let mut stream = client.stream(&[], "");
        let (who, sender) = self.place();
        self.tasks.spawn(async move {
            loop {
                if let StreamEvent::Changes(page) = stream.next().await.unwrap() {
                    tell(&sender, who, page.table);
                }
            }
        });
        who
    }

    /// Until all of these have heard of a table, by a deadline: when each did.
    pub(crate) async fn all_hear(
        &mut self,
        who: &[usize],
        table: &str,
        deadline: Instant,
    ) -> Vec<Instant> {
        while !who.iter().all(|who| self.heard[*who].contains_key(table)) {
            let heard = timeout_at(deadline, self.receiver.recv()).await;
            let Ok(Some(heard)) = heard else {
                let when: Vec<_> = who.iter().map(|who| self.heard[*who].get(table)).collect();
                panic!("not all have heard of {table}: {when:?}");
            };
            let own = &mut self.heard[heard.who];
            own.entry(heard.table).or_insert(heard.at);
        }
        who.iter().map(|who| self.heard[*who][table]).collect()
    }

    /// The same, however long it takes.
    pub(crate) async fn all_hear_at_last(&mut self, who: &[usize], table: &str) {
        self.all_hear(who, table, Instant::now() + PATIENCE).await;
    }

    /// All that one has heard of.
    pub(crate) fn heard_by(&self, who: usize) -> BTreeSet<&str> {
        self.heard[who].keys().map(String::as_str).collect()
    }

    fn place(&mut self) -> (usize, mpsc::UnboundedSender<Heard>) {
        let who = self.count;
        self.count += 1;
        self.heard.push(BTreeMap::new());
        (who, self.sender.clone())
    }
}

/// Nobody takes it any more at the end.
fn tell(sender: &mpsc::UnboundedSender<Heard>, who: usize, table: String) {
    let at = Instant::now();
    let _ = sender.send(Heard { who, table, at });
}
