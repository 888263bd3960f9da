//! What writers and readers share: the store, the clock, the counts, and who may see what.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use sync_protocol::Millis;
use sync_store::{Role, Rules};
use sync_store_postgres::{Config, Fate, PostgresStore, migrate};
use tokio_postgres::Client;

use super::{COMMITS, Shared, WRITERS};
use crate::support::{NOW, connect, grant, random};

/// How many users there are; each has two writers.
const USERS: usize = 8;
/// How many spaces there are; each has two users who write and one who reads.
const SPACES: usize = 8;
/// How far the clock steps back in mid-run.
const STEP: i64 = 3_600_000;
/// Of a hundred pushes, so many pause before they commit.
const PAUSES: u64 = 25;
/// The longest pause.
const LONGEST_PAUSE: u64 = 2;
/// Of a hundred pushes, so many roll back.
const ROLLBACKS: u64 = 4;

pub(super) struct World {
    pub(super) store: Arc<PostgresStore>,
    pub(super) commits: AtomicUsize,
    pub(super) rollbacks: Arc<AtomicUsize>,
    url: String,
    started: Instant,
    has_stepped_back: AtomicBool,
    writing: AtomicUsize,
}

/// A live row as it stands in the end.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) record: String,
    scope: String,
    table: String,
    client: String,
    created_at: Millis,
}

/// What one cursor has brought.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) user: usize,
    pub(super) client: String,
    pub(super) table: Option<&'static str>,
    pub(super) records: Vec<String>,
}

impl Seen {
    pub(super) fn may_see(&self, row: &Row) -> bool {
        scopes(self.user).contains(&row.scope) && self.table.is_none_or(|table| table == row.table)
    }

    pub(super) fn is_own(&self, row: &Row) -> bool {
        self.client == row.client
    }
}

impl World {
    pub(super) async fn new(url: &str) -> Shared {
        migrate(&Config::new(url)).await.unwrap();
        let rollbacks = Arc::new(AtomicUsize::new(0));
        let counted = rollbacks.clone();
        let config = Config {
            rules: Rules::default(),
            pool_size: 24,
            before_commit: Some(Arc::new(move || Box::pin(pause(counted.clone())))),
            ..Config::new(url)
        };
        let store = Arc::new(PostgresStore::connect(config).await.unwrap());
        for number in 0..USERS {
            for (offset, role) in [(0, Role::Writer), (1, Role::Writer), (2, Role::Reader)] {
                let space = space_name(number + offset);
                grant(&*store, &space, &[(&user_name(number), role)]).await;
            }
        }
        Arc::new(Self {
            store,
            commits: AtomicUsize::new(0),
            rollbacks,
            url: url.to_owned(),
            started: Instant::now(),
            has_stepped_back: AtomicBool::new(false),
            writing: AtomicUsize::new(WRITERS),
        })
    }

    /// The wall clock of the server.
    pub(super) fn now(&self) -> Millis {
        let steady = self.steady_now();
        let has_stepped_back = self.has_stepped_back.load(Ordering::SeqCst);
        Millis(steady.0 - if has_stepped_back { STEP } else { 0 })
    }

    /// A clock that does not step.
    pub(super) fn steady_now(&self) -> Millis {
        Millis(NOW.0 + i64::try_from(self.started.elapsed().as_millis()).unwrap())
    }

    pub(super) fn step_the_clock_back(&self) {
        self.has_stepped_back.store(true, Ordering::SeqCst);
    }

    /// Whether a row was received before the clock stepped back.
    pub(super) fn is_before_step(&self, row: &Row) -> bool {
        row.created_at >= NOW
    }

    pub(super) async fn commits_reach(&self, count: usize) {
        while self.commits.load(Ordering::SeqCst) < count {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    pub(super) fn wants_more(&self) -> bool {
        self.commits.load(Ordering::SeqCst) < COMMITS
    }

    /// One writer has nothing more to push.
    pub(super) fn writer_is_done(&self) {
        self.writing.fetch_sub(1, Ordering::SeqCst);
    }

    /// Whether all writers are done.
    pub(super) fn is_done(&self) -> bool {
        self.writing.load(Ordering::SeqCst) == 0
    }

    /// A connection past the store.
    pub(super) async fn raw(&self) -> Client {
        connect(&self.url).await
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// All live rows.
    pub(super) async fn rows(&self) -> Vec<Row> {
        let sql = "select record_id, scope, table_name, client_id, created_at from sync_changes where dead_since is null";
        let rows = self.raw().await.query(sql, &[]).await.unwrap();
        rows.iter()
            .map(|row| Row {
                record: row.get(0),
                scope: row.get(1),
                table: row.get(2),
                client: row.get(3),
                created_at: millis(row.get(4)),
            })
            .collect()
    }
}

/// What a push does between its writes and its commit.
async fn pause(rollbacks: Arc<AtomicUsize>) -> Fate {
    if random() % 100 < PAUSES {
        tokio::time::sleep(Duration::from_millis(random() % (LONGEST_PAUSE + 1))).await;
    }
    if random() % 100 < ROLLBACKS {
        rollbacks.fetch_add(1, Ordering::SeqCst);
        return Fate::RollBack;
    }
    Fate::Commit
}

pub(super) fn user_name(number: usize) -> String {
    format!("user{}", number % USERS)
}

fn space_name(number: usize) -> String {
    format!("space{}", number % SPACES)
}

/// The scopes that a user reads.
pub(super) fn scopes(number: usize) -> Vec<String> {
    let spaces = (0..3).map(|offset| format!("s:{}", space_name(number + offset)));
    std::iter::once(format!("u:{}", user_name(number)))
        .chain(spaces)
        .collect()
}

/// Where a user writes: a space, or the personal scope.
pub(super) fn writable(number: usize) -> [Option<String>; 3] {
    [None, Some(space_name(number)), Some(space_name(number + 1))]
}

fn millis(instant: std::time::SystemTime) -> Millis {
    let since_1970 = instant.duration_since(std::time::UNIX_EPOCH).unwrap();
    Millis(i64::try_from(since_1970.as_millis()).unwrap())
}
