//! Who was told of what, and how long it took.

use std::collections::HashMap;

use tokio::time::{Duration, Instant, sleep};

use super::load::{Acknowledged, USERS, Written};
use super::replica::Replica;
use super::witness::{Heard, SocketWitness, Witnesses};
use crate::cluster::Cluster;
use crate::waiting::{PROMISED, table};

/// What a busy machine adds.
const MARGIN: Duration = Duration::from_secs(3);

/// How often it is looked whether the last notices have come.
const PAUSE: Duration = Duration::from_millis(100);

/// From when to when the database was away: nobody can look at it then.
pub(crate) type Outage = (Instant, Instant);

/// How one socket came to know of one push.
enum Told {
    /// By a notice, so long after it could be expected at the earliest.
    ByNotice(Duration),
    /// It connected after the push was sent, and its client looks at everything.
    ByConnecting,
    /// Not at all.
    Never,
}

/// Each socket was told of each push in time.
pub(crate) async fn every_socket_was_told(
    witnesses: &Witnesses,
    written: &[Written],
    outages: &[Outage],
) {
    let last = written.iter().flat_map(|one| &one.acknowledged);
    let last = last.map(|push| push.at).max().unwrap();
    // After the last outage: the load went on after it.
    let deadline = last + PROMISED + MARGIN;
    let mut verdict = Verdict::of(witnesses, written, outages);
    while verdict.never > 0 && Instant::now() < deadline {
        sleep(PAUSE).await;
        verdict = Verdict::of(witnesses, written, outages);
    }
    let title = "From the answer to a push until a socket is told by notice";
    table(title, &[("all sockets", verdict.waits)]);
    let Verdict { connected, bad, .. } = verdict;
    println!("told by a new connection instead: {connected}");
    assert!(bad.is_empty(), "{} late:\n{}", bad.len(), bad.join("\n"));
}

#[derive(Default)]
struct Verdict {
    waits: Vec<Duration>,
    connected: usize,
    never: usize,
    bad: Vec<String>,
}

impl Verdict {
    fn of(witnesses: &Witnesses, written: &[Written], outages: &[Outage]) -> Self {
        let mut verdict = Self::default();
        for socket in &witnesses.sockets {
            let heard = Known::of(&socket.heard());
            for push in &written[socket.user].acknowledged {
                verdict.add(socket, push, &heard.told(push, outages));
            }
        }
        verdict
    }

    fn add(&mut self, socket: &SocketWitness, push: &Acknowledged, told: &Told) {
        let wait = match told {
            Told::ByConnecting => {
                self.connected += 1;
                return;
            }
            Told::ByNotice(wait) => {
                self.waits.push(*wait);
                if *wait <= PROMISED + MARGIN {
                    return;
                }
                format!("{wait:?}")
            }
            Told::Never => {
                self.never += 1;
                "never".to_owned()
            }
        };
        let (user, node) = (USERS[socket.user], socket.node);
        let complaint = format!("{user} on node {node}: {} {wait}", push.table);
        self.bad.push(complaint);
    }
}

/// Each stream brought what its user has written, and nothing else.
pub(crate) async fn every_stream_has_everything(
    cluster: &Cluster,
    witnesses: &Witnesses,
    written: &[Written],
) {
    const SHARED: [&str; 3] = ["hot", "brief", "last"];
    for (user, name) in USERS.iter().enumerate() {
        let client = cluster.client(0, name, "auditor");
        let pulled = Replica::pulled(&client).await.settled();
        let by_table = Replica::pulled_by_table(&client, &SHARED).await;
        let differences = by_table
            .settled()
            .differences(&pulled.clone().only(&SHARED));
        assert!(differences.is_empty(), "of two pulls: {differences:?}");
        for push in &written[user].acknowledged {
            assert!(pulled.has(&push.table), "{name} has lost {}", push.table);
        }
        for stream in witnesses
            .streams
            .iter()
            .filter(|stream| stream.user == user)
        {
            let differences = stream.replica().settled().differences(&pulled);
            let node = stream.node;
            assert!(
                differences.is_empty(),
                "{name} on node {node}: {differences:?}"
            );
        }
    }
}

/// What one socket has heard, in the order in which it did.
struct Known {
    connected: Vec<Instant>,
    /// The first notice of each table.
    told: HashMap<String, Instant>,
}

impl Known {
    fn of(heard: &[Heard]) -> Self {
        let (mut connected, mut told) = (Vec::new(), HashMap::new());
        for heard in heard {
            let Some(tables) = &heard.tables else {
                connected.push(heard.at);
                continue;
            };
            for table in tables {
                told.entry(table.clone()).or_insert(heard.at);
            }
        }
        Self { connected, told }
    }

    /// Whatever came first counts.
    fn told(&self, push: &Acknowledged, outages: &[Outage]) -> Told {
        let connected = self.connected.iter().find(|at| **at >= push.sent);
        match (connected, self.told.get(&push.table)) {
            (None, None) => Told::Never,
            (Some(connected), Some(told)) if connected < told => Told::ByConnecting,
            (_, Some(told)) => {
                let due = due(push.at, *told, outages);
                Told::ByNotice(told.saturating_duration_since(due))
            }
            (Some(_), None) => Told::ByConnecting,
        }
    }
}

/// From when on the time counts of what was told at last: the answer, or the end of an outage that came before it was told
/// and before it had to be.
fn due(answered: Instant, told: Instant, outages: &[Outage]) -> Instant {
    outages.iter().fold(answered, |due, (from, to)| {
        if *from < told.min(due + PROMISED) {
            due.max(*to)
        } else {
            due
        }
    })
}
