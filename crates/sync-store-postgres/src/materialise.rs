//! Materialising: writing rows into business tables, within the transaction that has changed them.
//!
//! ```text
//! all at once:  savepoint · upserts, parents first · deletes, children first · check what was deferred · forget old failures
//! if that fails, the same with each row alone, and once more with those that failed; what still fails is kept
//! ```
//!
//! Whatever one row does wrong is found here, and never at the commit.

mod business;
mod columns;
mod failures;
mod handler;
mod order;

use std::any::Any;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use futures_util::future::{join, try_join};
use sync_protocol::{Millis, UserId};
use sync_store::{RowAfter, StoreError};

pub use handler::{BusinessConnection, Handler, HandlerError, HandlerWork};

pub(crate) use columns::{Column, quoted};
pub(crate) use order::{Group, Handlers};

use crate::failure::Failure;
use crate::queries::business as sql;
use crate::session::{ANSWER_LIMIT, After, Mode, Session, answered, silent};
use crate::store::{PostgresStore, until_done};
use failures::Refused;
use handler::presentable;

/// How often rows are tried alone, those that failed again after the others, in turns from either end: what one needs may
/// come behind it.
const PASSES: usize = 3;

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
    if attempt(session, user, &groups).await?.is_ok() {
        return Ok(());
    }
    let refused = one_by_one(session, user, groups).await?;
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

/// Writes each row alone, and returns those that fail.
async fn one_by_one(
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
            if let Err(error) = attempt(session, user, std::slice::from_ref(&group)).await? {
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

/// Writes all rows of these groups and forgets their failures, or does nothing and says why not.
pub(crate) async fn attempt(
    session: &Session,
    user: &UserId,
    groups: &[Group<'_>],
) -> Result<Result<(), String>, Failure> {
    let connection = session.connection();
    let work = async {
        for group in groups {
            if let Err(error) = call(session, user, group).await? {
                return Ok(Err(error));
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

/// Has one handler write.
async fn call(
    session: &Session,
    user: &UserId,
    group: &Group<'_>,
) -> Result<Result<(), String>, Failure> {
    let connection = BusinessConnection::new(session.connection());
    let work = async { group.handler.write(&connection, user, &group.rows).await };
    let work = AssertUnwindSafe(work).catch_unwind();
    match tokio::time::timeout(ANSWER_LIMIT, work).await {
        Ok(Ok(Ok(()))) => Ok(Ok(())),
        Ok(Ok(Err(error))) => error.judged().map(Err),
        Ok(Err(panic)) => Ok(Err(told(&*panic))),
        Err(_) => Err(Failure::Broken(StoreError::unavailable(
            "a handler of business tables did not end in time",
        ))),
    }
}

/// Checks what was deferred, and forgets the failures of what is written.
async fn settle(
    session: &Session,
    user: &UserId,
    groups: &[Group<'_>],
) -> Result<Result<(), String>, Failure> {
    let work = try_join(
        session.connection().batch_execute(sql::SETTLE),
        failures::clear(session, user, groups),
    );
    match tokio::time::timeout(ANSWER_LIMIT, work).await {
        Ok(Ok(_)) => Ok(Ok(())),
        Ok(Err(error)) => HandlerError::from(error).judged().map(Err),
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
