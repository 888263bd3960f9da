//! Looks at the log for what was committed and nobody has told: the node that should have told it is gone, or the relay is.
//!
//! Positions are drawn before their rows can be seen, so a row may turn up behind others that a look has seen already. A
//! look therefore begins again at the *floor*: everything up to it is settled.
//!
//! ```text
//! a look:  1 clock (the mark)   2 who writes now   3 rows behind the floor
//!          whoever drew up to the mark had its locks then: it is among 2, or its rows are in 3
//! later:   when none of those of 2 writes any more, and the rows were read once more, the mark is the new floor
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::Pool;
use futures_util::future::try_join;
use sync_notify::{Hub, News, Notice, Writer};
use sync_protocol::{AppId, ClientId, TableName, UserId};
use sync_store::{Scope, StoreError};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_postgres::Row;

use crate::config::Config;
use crate::endpoint::Endpoint;
use crate::failure::Failure;
use crate::page::unreadable;
use crate::pool::pool;
use crate::queries::{self, live};
use crate::session::{Acting, Session, answered};

/// How often it looks (`wire.md`: a notice comes at the latest after 2 s, whatever was lost between nodes). A look takes its
/// time, too.
const EVERY: Duration = Duration::from_millis(1_500);
/// The pause after each look, however often one is asked for.
const BREATH: Duration = Duration::from_millis(200);
/// How many rows one statement looks at.
const ROWS: i64 = 20_000;
/// Longer than any push takes from its locks to its first row: whoever holds a lock for so long and has written nothing to
/// the log is another program. Whoever has written may still commit, however long that takes.
const LONGEST_PUSH: Duration = Duration::from_secs(120);
/// Before the first look everything older than this is settled, in nanoseconds: twice as long as a push takes.
const FIRST_LOOK_BACK: i64 = 240_000_000_000;
/// One look at a time.
const CONNECTIONS: usize = 1;

const STATEMENTS: &[&str] = &[
    queries::BEGIN,
    queries::OPEN,
    live::CLOCK,
    live::WRITING,
    live::COMMITTED,
    live::REGRANTED,
    queries::COMMIT,
    queries::ROLLBACK,
];

/// A task that looks at the log for a node. It ends when it is dropped.
#[derive(Debug)]
pub struct Lookout {
    task: JoinHandle<()>,
}

impl Lookout {
    /// Starts to look, and goes on for as long as it lives: the database may be away.
    ///
    /// # Errors
    ///
    /// [`StoreError::Fault`] if the URL cannot be read.
    pub fn start(config: &Config, hub: Arc<Hub>) -> Result<Self, StoreError> {
        let endpoint = Endpoint::parse(&config.url)?;
        let pool = pool(&endpoint, CONNECTIONS, STATEMENTS)?;
        hub.will_look();
        let task = tokio::spawn(keep_looking(pool, hub));
        Ok(Self { task })
    }
}

impl Drop for Lookout {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn keep_looking(pool: Pool, hub: Arc<Hub>) {
    let mut eyes = Eyes::default();
    let mut was_well = true;
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = hub.look_wanted() => {}
        }
        let looked = eyes.look(&pool, &hub).await;
        let is_well = looked.is_ok();
        if let Err(failure) = looked {
            hub.look_failed();
            if was_well {
                let error = failure.into_error();
                tracing::warn!(%error, "a look at the log failed; it is tried again, and notices may be late");
            }
        }
        was_well = is_well;
        sleep(BREATH).await;
    }
}

/// How far the log is settled.
#[derive(Debug, Default)]
struct Eyes {
    floor: Option<i64>,
    mark: Option<Mark>,
    /// The users whose grants have changed behind the floor, with the position up to which they were told.
    regranted: BTreeMap<String, i64>,
    /// Transactions of other programs.
    strangers: BTreeSet<String>,
}

/// What will be settled once nobody writes any more who did.
#[derive(Debug)]
struct Mark {
    position: i64,
    writing: BTreeSet<String>,
    set: Instant,
}

/// Transactions that may be writing, and whether they have written.
type Writing = BTreeMap<String, bool>;

impl Eyes {
    async fn look(&mut self, pool: &Pool, hub: &Hub) -> Result<(), Failure> {
        let session = Session::take(pool).await?;
        let outcome = self.look_within(&session, hub).await;
        session.close(outcome).await
    }

    async fn look_within(&mut self, session: &Session, hub: &Hub) -> Result<(), Failure> {
        answered(session.open(Acting::Maintenance, "")).await?;
        let [clock, writing, committed, regranted] = session
            .statements([live::CLOCK, live::WRITING, live::COMMITTED, live::REGRANTED])
            .await?;
        let connection = session.connection();
        let asked = try_join(
            connection.query_one(&clock, &[]),
            connection.query(&writing, &[]),
        );
        let (clock, writing) = answered(asked).await?;
        let (clock, wall): (i64, i64) = (clock.get(0), clock.get(1));
        // What a commit that hangs has drawn may be older than anything else.
        let hanging = writing.iter().filter(|row| row.get(1));
        let oldest = hanging.filter_map(|row| row.get(2)).min();
        let writing = writing.iter().map(|row| (row.get(0), row.get(1))).collect();
        let mut after = self.floor(clock, oldest);
        let rows = answered(connection.query(&regranted, &[&after])).await?;
        for user in self.regranted(&rows) {
            hub.hear(News::Access(user));
        }
        loop {
            let rows = answered(connection.query(&committed, &[&after, &ROWS])).await?;
            let found = Found::read(&rows);
            after = found.last.unwrap_or(after);
            hub.find(found.notices);
            if found.rows < ROWS {
                break;
            }
        }
        session.commit().await?;
        hub.looked(self.settle(clock, &writing), clock.max(wall));
        Ok(())
    }

    /// The users whose grants have changed since they were told.
    fn regranted(&mut self, rows: &[Row]) -> Vec<UserId> {
        let known = std::mem::take(&mut self.regranted);
        let found = rows.iter().map(|row| (row.get(0), row.get(1)));
        self.regranted = found.collect();
        let is_new = |(user, at): &(&String, &i64)| known.get(*user).is_none_or(|told| told < *at);
        let users = self.regranted.iter().filter(is_new);
        users
            .filter_map(|(user, _)| UserId::new(user).ok())
            .collect()
    }

    /// Where to begin: at first well before whatever may still become visible. A clock that stands lower than before is another
    /// one: the database was restored.
    fn floor(&mut self, clock: i64, oldest: Option<i64>) -> i64 {
        let mark = self.mark.as_ref().map(|mark| mark.position);
        if self.floor.max(mark).is_some_and(|known| known > clock) {
            *self = Self::default();
        }
        *self.floor.get_or_insert_with(|| {
            let oldest = oldest.unwrap_or(clock).min(clock);
            oldest.saturating_sub(FIRST_LOOK_BACK)
        })
    }

    /// Moves the floor if it may, after the rows were read; where it is then.
    fn settle(&mut self, clock: i64, writing: &Writing) -> i64 {
        let floor = self.floor.unwrap_or(i64::MIN);
        self.strangers.retain(|one| writing.contains_key(one));
        if let Some(mark) = &mut self.mark {
            let is_old = mark.set.elapsed() >= LONGEST_PUSH;
            mark.writing.retain(|one| match writing.get(one) {
                None => false,
                Some(true) => true,
                Some(false) if is_old => {
                    self.strangers.insert(one.clone());
                    false
                }
                Some(false) => true,
            });
            if !mark.writing.is_empty() {
                return floor;
            }
            self.floor = Some(mark.position);
        }
        let is_ours =
            |(one, has_written): &(&String, &bool)| **has_written || !self.strangers.contains(*one);
        let writing = writing.iter().filter(is_ours);
        self.mark = Some(Mark {
            position: clock,
            writing: writing.map(|(one, _)| one.clone()).collect(),
            set: Instant::now(),
        });
        self.floor.unwrap_or(floor)
    }
}

/// What a statement has found.
struct Found {
    notices: Vec<Notice>,
    /// How many rows it looked at.
    rows: i64,
    /// The position of the last of them.
    last: Option<i64>,
}

impl Found {
    /// Reads the rows of [`live::COMMITTED`]: one notice for each table, with the position of that table.
    /// A row of a version that this one does not understand is left to nodes that do.
    fn read(rows: &[Row]) -> Self {
        let mut found = Self {
            notices: Vec::with_capacity(rows.len()),
            rows: 0,
            last: None,
        };
        for row in rows {
            let position: i64 = row.get(5);
            found.rows += row.get::<_, i64>(6);
            found.last = found.last.max(Some(position));
            match notice(row, position) {
                Ok(notice) => found.notices.push(notice),
                Err(error) => tracing::debug!(%error, "a row of the log is not told"),
            }
        }
        found
    }
}

fn notice(row: &Row, position: i64) -> Result<Notice, StoreError> {
    let scope = Scope::from_key(row.get(0)).ok_or_else(|| unreadable("a scope"))?;
    let writer = match (row.get(3), row.get::<_, Option<&str>>(4)) {
        (Some(user), Some(client)) if !client.is_empty() => Some(Writer {
            user: UserId::new(user).map_err(unreadable)?,
            client: ClientId::new(client).map_err(unreadable)?,
        }),
        _ => None,
    };
    let table = TableName::new(row.get(2)).map_err(unreadable)?;
    Ok(Notice {
        audience: scope.audience().clone(),
        app: AppId::new(row.get(1)).map_err(unreadable)?,
        tables: BTreeSet::from([table]),
        writer,
        position,
    })
}
