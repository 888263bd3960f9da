//! Sockets and streams that note all they are told: two users on each of three nodes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use sync_client::{ChangeStream, NoticeSocket, SocketEvent, StreamEvent};
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant, sleep};

use super::load::{LAST, USERS, Written};
use super::replica::Replica;
use crate::cluster::Cluster;
use crate::line::BrokenLine;
use crate::waiting::until;

/// How long a slow stream takes for each event.
const SLOWNESS: Duration = Duration::from_millis(40);
/// Which stream is slow.
const SLOW: usize = 0;
/// Which stream has a line that breaks again and again.
const BROKEN: usize = 3;

/// What a socket said, and when.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    pub(crate) at: Instant,
    /// `None` when it was connected.
    pub(crate) tables: Option<Vec<String>>,
}

/// A socket's whole story.
#[derive(Default)]
pub(crate) struct SocketWitness {
    pub(crate) user: usize,
    pub(crate) node: usize,
    heard: Mutex<Vec<Heard>>,
}

/// What a stream has brought.
#[derive(Default)]
pub(crate) struct StreamWitness {
    pub(crate) user: usize,
    pub(crate) node: usize,
    read: Mutex<Read>,
}

#[derive(Default)]
struct Read {
    replica: Replica,
    cursor: String,
}

/// All of them.
pub(crate) struct Witnesses {
    pub(crate) sockets: Vec<Arc<SocketWitness>>,
    pub(crate) streams: Vec<Arc<StreamWitness>>,
    hurry: Arc<AtomicBool>,
    _line: BrokenLine,
    _tasks: JoinSet<()>,
}

impl SocketWitness {
    /// All it has heard so far.
    pub(crate) fn heard(&self) -> Vec<Heard> {
        self.heard.lock().unwrap().clone()
    }

    async fn listen(self: Arc<Self>, mut socket: NoticeSocket) {
        loop {
            let event = socket.next().await.unwrap();
            let at = Instant::now();
            let tables = match event {
                SocketEvent::Connected => None,
                SocketEvent::Available { tables, .. } => Some(tables),
            };
            self.heard.lock().unwrap().push(Heard { at, tables });
        }
    }
}

impl StreamWitness {
    /// What its client holds.
    pub(crate) fn replica(&self) -> Replica {
        self.read.lock().unwrap().replica.clone()
    }

    fn has_all(&self, written: &Written) -> bool {
        let read = self.read.lock().unwrap();
        // Cursors sort as text.
        read.cursor >= written.cursor && read.replica.has(LAST)
    }

    async fn listen(self: Arc<Self>, mut stream: ChangeStream, pace: Option<Arc<AtomicBool>>) {
        loop {
            let event = stream.next().await.unwrap();
            if let StreamEvent::Changes(page) = event {
                let mut read = self.read.lock().unwrap();
                read.replica.apply(&page.changes);
                read.cursor = stream.cursor().to_owned();
            }
            let hurry = pace
                .as_ref()
                .is_none_or(|hurry| hurry.load(Ordering::Relaxed));
            if !hurry {
                sleep(SLOWNESS).await;
            }
        }
    }
}

impl Witnesses {
    /// A socket and a stream of each user on each node; one stream is slow, and one has a
    /// line that breaks.
    pub(crate) async fn listen(cluster: &Cluster) -> Self {
        let mut tasks = JoinSet::new();
        let (mut sockets, mut streams) = (Vec::new(), Vec::new());
        let hurry = Arc::new(AtomicBool::new(false));
        let line = BrokenLine::to(cluster.nodes[BROKEN / USERS.len()].address()).await;
        for node in 0..cluster.nodes.len() {
            for (user, name) in USERS.iter().enumerate() {
                let client_id = format!("witness-{node}");
                let client = cluster.client(node, name, &client_id);
                let socket = Arc::new(SocketWitness {
                    user,
                    node,
                    ..SocketWitness::default()
                });
                tasks.spawn(Arc::clone(&socket).listen(client.socket()));
                sockets.push(socket);
                let stream = Arc::new(StreamWitness {
                    user,
                    node,
                    ..StreamWitness::default()
                });
                let pace = (streams.len() == SLOW).then(|| Arc::clone(&hurry));
                let client = if streams.len() == BROKEN {
                    cluster.client_at(&line.url, name, &client_id)
                } else {
                    client
                };
                tasks.spawn(Arc::clone(&stream).listen(client.stream(&[], ""), pace));
                streams.push(stream);
            }
        }
        let witnesses = Self {
            sockets,
            streams,
            hurry,
            _line: line,
            _tasks: tasks,
        };
        witnesses.are_there(cluster).await;
        witnesses
    }

    /// Until all are connected with their nodes.
    pub(crate) async fn are_there(&self, cluster: &Cluster) {
        let each = u64::try_from(2 * USERS.len()).unwrap();
        until("everybody listens", async || {
            let counts = cluster.figures("mana_sync_connections_total").await;
            counts.iter().all(|count| *count >= each)
        })
        .await;
    }

    /// How many pushes the slow stream has not brought yet.
    pub(crate) fn behind(&self, written: &[Written]) -> usize {
        let slow = &self.streams[SLOW];
        let (replica, written) = (slow.replica(), &written[slow.user].acknowledged);
        let missing = written.iter().filter(|push| !replica.has(&push.table));
        missing.count()
    }

    /// Until each stream has brought all that its user has written.
    pub(crate) async fn have_read(&self, written: &[Written]) {
        self.hurry.store(true, Ordering::Relaxed);
        until("every stream has brought everything", async || {
            let mut streams = self.streams.iter();
            streams.all(|stream| stream.has_all(&written[stream.user]))
        })
        .await;
    }
}
