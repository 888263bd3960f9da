//! Writers that push without a pause, each push on some node, until it is acknowledged.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use sync_client::{Answer, Client, ClientError, NewChange};
use sync_protocol::{FieldTime, Value};
use tokio::task::JoinHandle;
use tokio::time::{Duration, Instant, sleep};

use crate::cluster::Cluster;
use crate::keys::now;
use crate::waiting::until;

/// Who writes, and who listens: each user's changes are its own.
pub(crate) const USERS: [&str; 2] = ["ann", "ben"];
/// The table of the last push.
pub(crate) const LAST: &str = "last";
/// The pause between two pushes of a writer: nodes and listeners are to have their turns, too.
const BREATH: Duration = Duration::from_millis(15);
/// How many characters each new record has: a slow stream falls behind by a megabyte, and most breaks are inside of one.
const LENGTH: usize = 8_000;

/// A push that was acknowledged.
#[derive(Clone, Debug)]
pub(crate) struct Acknowledged {
    /// A table that only this push has written to, by which notices tell it from all others.
    pub(crate) table: String,
    /// When it was first sent.
    pub(crate) sent: Instant,
    /// When it was acknowledged.
    pub(crate) at: Instant,
}

/// Two writers at work.
pub(crate) struct Load {
    counts: Arc<[AtomicUsize; USERS.len()]>,
    /// Whether it is time for the last push.
    is_over: Arc<AtomicBool>,
    writers: Vec<JoinHandle<Written>>,
}

/// What one writer has done.
pub(crate) struct Written {
    /// Everything, in order.
    pub(crate) acknowledged: Vec<Acknowledged>,
    /// Up to where everything that it wrote can be read.
    pub(crate) cursor: String,
    /// How many tries came to nothing.
    pub(crate) failures: usize,
}

impl Load {
    /// Begins.
    pub(crate) fn start(cluster: &Cluster) -> Self {
        let counts = Arc::new([const { AtomicUsize::new(0) }; USERS.len()]);
        let is_over = Arc::new(AtomicBool::new(false));
        let writers = USERS.iter().enumerate().map(|(user, name)| {
            let client = |node| cluster.client(node, name, "writer");
            let writer = Writer {
                user,
                clients: (0..cluster.nodes.len()).map(client).collect(),
                written: Written {
                    acknowledged: Vec::new(),
                    cursor: String::new(),
                    failures: 0,
                },
                turn: user,
            };
            tokio::spawn(writer.run(counts.clone(), is_over.clone()))
        });
        Self {
            writers: writers.collect(),
            counts,
            is_over,
        }
    }

    /// Until each writer has had so many more pushes acknowledged.
    pub(crate) async fn goes_on(&self, pushes: usize) {
        let now = || {
            self.counts
                .each_ref()
                .map(|count| count.load(Ordering::Relaxed))
        };
        let before = now();
        until("pushes are acknowledged", async || {
            let mut pairs = before.iter().zip(now());
            pairs.all(|(before, now)| now >= before + pushes)
        })
        .await;
    }

    /// The last pushes, and then all that was done.
    pub(crate) async fn end(self) -> Vec<Written> {
        self.is_over.store(true, Ordering::Relaxed);
        let mut written = Vec::new();
        for writer in self.writers {
            written.push(writer.await.unwrap());
        }
        written
    }
}

struct Writer {
    user: usize,
    clients: Vec<Client>,
    written: Written,
    turn: usize,
}

impl Writer {
    async fn run(
        mut self,
        counts: Arc<[AtomicUsize; USERS.len()]>,
        is_over: Arc<AtomicBool>,
    ) -> Written {
        for number in 0.. {
            if is_over.load(Ordering::Relaxed) {
                break;
            }
            let table = format!("push-{number}");
            let changes = changes(&table, number);
            self.push(table, &changes).await;
            counts[self.user].fetch_add(1, Ordering::Relaxed);
            sleep(BREATH).await;
        }
        let change = NewChange::insert(LAST, "a").with("updatedAt", time());
        self.push(LAST.to_owned(), &[change]).await;
        self.written
    }

    /// Asks one node after the other until one has stored it.
    async fn push(&mut self, table: String, changes: &[NewChange]) {
        let sent = Instant::now();
        let answer = loop {
            match self.try_to_push(changes).await {
                Ok(answer) => break answer,
                Err(ClientError::Unavailable(_)) => self.written.failures += 1,
                Err(error) => panic!("{error}"),
            }
        };
        assert!(answer.warnings.is_empty(), "{:?}", answer.warnings);
        self.written.acknowledged.push(Acknowledged {
            table,
            sent,
            at: Instant::now(),
        });
        self.written.cursor = answer.synced_until;
    }

    async fn try_to_push(&mut self, changes: &[NewChange]) -> Result<Answer, ClientError> {
        // Some node, and another one after each failure.
        self.turn = self.turn * 5 + 3 + self.written.acknowledged.len() % 2;
        self.turn %= 1009;
        let client = &self.clients[self.turn % self.clients.len()];
        client.push(&self.written.cursor, changes).await
    }
}

/// A record of its own, a field of one that is always written to, and one that is deleted again soon.
fn changes(table: &str, number: usize) -> Vec<NewChange> {
    let text = Value::string(&"x".repeat(LENGTH));
    let now = FieldTime::from(now());
    let mut changes = vec![
        NewChange::insert(table, "a")
            .with("text", text)
            .with("updatedAt", time()),
        NewChange::update("hot", "a").set(
            &format!("field-{}", number % 7),
            Value::string(&number.to_string()),
            now,
        ),
    ];
    if number.is_multiple_of(4) {
        let brief = format!("brief-{number}");
        changes.push(NewChange::insert("brief", &brief).with("updatedAt", time()));
        if let Some(before) = number.checked_sub(4) {
            changes.push(NewChange::delete("brief", &format!("brief-{before}"), now));
        }
    }
    changes
}

fn time() -> Value {
    Value::string(&now().to_string())
}
