//! Materialising: writing rows into business tables, within the transaction that has changed them.
//!
//! ```text
//! all at once:  savepoint · upserts, parents first · deletes, children first · check what was deferred · forget old failures
//! if that fails, the same with each row alone, and once more with those that failed; what still fails is kept
//! ```
//!
//! Whatever one row does wrong is found here, and never at the commit. To take too long is wrong, too: the rest of such a group
//! is not tried, so that no upload comes back for ever.

mod business;
mod columns;
mod failures;
mod handler;
mod order;

use std::any::Any;
use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{join, try_join};
use sync_protocol::{Millis, UserId};
use sync_store::{RowAfter, StoreError};
use tokio::time::{Instant, timeout_at};

pub use handler::{BusinessConnection, Handler, HandlerError, HandlerWork};

pub(crate) use columns::{Column, quoted};
pub(crate) use order::{Group, Handlers};

use crate::failure::Failure;
use crate::queries::business as sql;
use crate::session::{ANSWER_LIMIT, After, Mode, Session, answered, silent};
use crate::store::{PostgresStore, until_done};
use failures::Refused;
use handler::{Pace, presentable};
use order::Kind;

/// How often rows are tried alone, those that failed again after the others, in turns from either end: what one needs may
/// come behind it.
const PASSES: usize = 3;
/// After so long no row of a request is tried any more: it holds locks that others wait for.
const PATIENCE: Duration = Duration::from_secs(30);
/// Why a row was not tried.
const NO_TIME_LEFT: &str = "other rows of the same request took all the time";

/// Writes rows of a user into business tables, and keeps those that fail. The session is in a transaction for this user; what
/// was changed before stays. Rows of tables that no handler takes mean nothing.
///
/// # Errors
///
/// [`Failure`], of the database as a whole; a row never causes one.
pub(crate) async fn materialise(
    session: &Session,
    handlers: &Handlers,
    user: &UserId,
    now: Millis,
    rows: &[RowAfter],
) -> Result<(), Failure> {
    let groups = handlers.groups(rows);
    if groups.is_empty() {
        return Ok(());
    }
    let began = Instant::now();
    let together = attempt(session, user, &groups, began + ANSWER_LIMIT).await?;
    let Err(unwritten) = together else {
        return Ok(());
    };
    let mut alone = Alone::after(unwritten, began + PATIENCE);
    let refused = alone.write(session, user, groups).await?;
    failures::keep(session, user, now, &refused).await
}

impl PostgresStore {
    /// Writes rows of a user into business tables once more, in a transaction of its own, and keeps those that fail. They must
    /// be as they are now: what an upload writes meanwhile is written over.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; then nothing is written. A row never causes one.
    pub async fn materialise(
        &self,
        user: &UserId,
        now: Millis,
        rows: &[RowAfter],
    ) -> Result<(), StoreError> {
        until_done(|| self.try_materialise(user, now, rows)).await
    }

    async fn try_materialise(
        &self,
        user: &UserId,
        now: Millis,
        rows: &[RowAfter],
    ) -> Result<(), Failure> {
        let session = Session::take(self.pool()).await?;
        let outcome = async {
            session.begin(user, Mode::ToWrite, After::Nothing).await?;
            materialise(&session, self.handlers(), user, now, rows).await?;
            session.commit().await
        };
        let outcome = outcome.await;
        session.close(outcome).await
    }
}

/// Why rows could not be written.
pub(crate) struct Unwritten {
    pub(crate) error: String,
    /// The group that took too long, where it was that and is known.
    slow: Option<Kind>,
}

/// Rows that are tried each alone.
struct Alone {
    /// The groups that took too long, and what was said.
    slow: HashMap<Kind, String>,
    until: Instant,
}

impl Alone {
    /// After rows could not be written together.
    fn after(together: Unwritten, until: Instant) -> Self {
        let Unwritten { error, slow } = together;
        let slow = slow.map(|kind| (kind, error));
        Self {
            slow: slow.into_iter().collect(),
            until,
        }
    }

    /// Writes each row, and returns those that fail.
    async fn write(
        &mut self,
        session: &Session,
        user: &UserId,
        groups: Vec<Group<'_>>,
    ) -> Result<Vec<Refused>, Failure> {
        let mut waiting: Vec<Group<'_>> = groups.into_iter().flat_map(Group::apart).collect();
        let mut refused = Vec::new();
        for _ in 0..PASSES {
            let tried = waiting.len();
            let mut failed = Vec::new();
            refused.clear();
            for group in waiting {
                if let Err(error) = self.attempt(session, user, &group).await? {
                    let rows = group.rows.iter().cloned();
                    refused.extend(rows.map(|row| Refused {
                        row,
                        error: error.clone(),
                    }));
                    failed.push(group);
                }
            }
            // Where nothing was written, nothing has changed for those that failed.
            if failed.is_empty() || failed.len() == tried {
                break;
            }
            failed.reverse();
            waiting = failed;
        }
        Ok(refused)
    }

    async fn attempt(
        &mut self,
        session: &Session,
        user: &UserId,
        group: &Group<'_>,
    ) -> Result<Result<(), String>, Failure> {
        if let Some(error) = self.slow.get(&group.kind()) {
            return Ok(Err(error.clone()));
        }
        if Instant::now() > self.until {
            return Ok(Err(NO_TIME_LEFT.to_owned()));
        }
        let groups = std::slice::from_ref(group);
        let outcome = attempt(session, user, groups, self.until).await?;
        Ok(outcome.map_err(|Unwritten { error, slow }| {
            self.slow.extend(slow.map(|kind| (kind, error.clone())));
            error
        }))
    }
}

/// Writes all rows of these groups and forgets their failures, or does nothing and says why not.
pub(crate) async fn attempt(
    session: &Session,
    user: &UserId,
    groups: &[Group<'_>],
    until: Instant,
) -> Result<Result<(), Unwritten>, Failure> {
    let connection = session.connection();
    let work = async {
        for group in groups {
            if let Err(unwritten) = call(session, user, group, until).await? {
                return Ok(Err(unwritten));
            }
        }
        Ok::<_, Failure>(Ok(()))
    };
    let (begun, worked) = join(answered(connection.batch_execute(sql::ATTEMPT)), work).await;
    begun?;
    let settled = match worked? {
        Ok(()) => settle(session, user, groups).await?,
        refused => refused,
    };
    if settled.is_err() {
        answered(connection.batch_execute(sql::GIVE_UP)).await?;
    }
    Ok(settled)
}

/// Has one handler write. What it has asked when its time is up ends by the time limit of a statement.
async fn call(
    session: &Session,
    user: &UserId,
    group: &Group<'_>,
    until: Instant,
) -> Result<Result<(), Unwritten>, Failure> {
    let connection = BusinessConnection::new(session.connection());
    let work = async { group.handler.write(&connection, user, &group.rows).await };
    let work = AssertUnwindSafe(work).catch_unwind();
    let until = until.min(Instant::now() + ANSWER_LIMIT);
    let (error, pace) = match timeout_at(until, work).await {
        Ok(Ok(Ok(()))) => return Ok(Ok(())),
        Ok(Ok(Err(error))) => error.judged()?,
        Ok(Err(panic)) => (told(&*panic), Pace::InTime),
        Err(_) => ("the handler did not end in time".to_owned(), Pace::TooSlow),
    };
    let slow = (pace == Pace::TooSlow).then(|| group.kind());
    Ok(Err(Unwritten { error, slow }))
}

/// Checks what was deferred, and forgets the failures of what is written.
async fn settle(
    session: &Session,
    user: &UserId,
    groups: &[Group<'_>],
) -> Result<Result<(), Unwritten>, Failure> {
    let work = try_join(
        session.connection().batch_execute(sql::SETTLE),
        failures::clear(session, user, groups),
    );
    match tokio::time::timeout(ANSWER_LIMIT, work).await {
        Ok(Ok(_)) => Ok(Ok(())),
        Ok(Err(error)) => {
            let (error, pace) = HandlerError::from(error).judged()?;
            // Of several groups nobody knows which it was.
            let slow = match (pace, groups) {
                (Pace::TooSlow, [group]) => Some(group.kind()),
                _ => None,
            };
            Ok(Err(Unwritten { error, slow }))
        }
        Err(_) => Err(silent()),
    }
}

fn told(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned());
    presentable(&match text {
        Some(text) => format!("the handler panicked: {text}"),
        None => "the handler panicked".to_owned(),
    })
}
