//! Retrying a row that could not be written into its business table: one transaction, with the row as it is now.

use sync_protocol::rows::{RetryAnswer, RowOp};
use sync_protocol::{AppId, RecordId, TableName, UserId};
use sync_store::{Loaded, RecordKey, Retried, Retry, RowAfter, personal};
use tokio::time::Instant;
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;

use crate::exchange::{enter, read_loaded, records};
use crate::failure::Failure;
use crate::materialise::{Group, Unwritten, attempt};
use crate::page::unreadable;
use crate::queries::{self, business as sql};
use crate::session::{ANSWER_LIMIT, After, Mode, Session, answered};
use crate::store::PostgresStore;

/// What a device is told of a failure whose row is not there any more.
const STALE: &str = "failure was stale; removed";

/// A failure that is held for this transaction.
struct Held {
    app: AppId,
    key: RecordKey,
    version: i64,
    is_delete: bool,
}

impl Held {
    /// The delete that failed, to be tried again.
    fn delete(&self) -> RowAfter {
        RowAfter {
            app: self.app.clone(),
            table: self.key.table.clone(),
            record: self.key.record.clone(),
            version: self.version,
            op: RowOp::Delete,
            payload: None,
        }
    }
}

impl PostgresStore {
    /// Tries once to retry a failure.
    pub(crate) async fn try_retry(&self, retry: &Retry) -> Result<Retried, Failure> {
        let session = Session::take(self.pool()).await?;
        let outcome = self.retry_within(&session, retry).await;
        let ended = match outcome {
            Ok(Retried::Done(_)) => session.commit().await.and(outcome),
            Ok(_) => session.roll_back().await.and(outcome),
            Err(_) => outcome,
        };
        session.close(ended).await
    }

    async fn retry_within(&self, session: &Session, retry: &Retry) -> Result<Retried, Failure> {
        let reach = session
            .begin(&retry.user, Mode::ToRead, After::Nothing)
            .await?;
        answered(enter(session, &reach, Vec::new())).await?;
        let held = match lock_failure(session, retry).await? {
            Ok(held) => held,
            Err(instead) => return Ok(instead),
        };
        let Some(handler) = self.handlers().of(&held.app, &held.key.table) else {
            return Ok(Retried::NoHandler(held.app, held.key.table));
        };
        let row = match row_now(session, &held).await? {
            Some(row) => row,
            // The record has moved into a space, and its business row is still there.
            None if held.is_delete => held.delete(),
            None => {
                execute(session, sql::FORGET_FAILURE, &[&retry.id]).await?;
                return Ok(done("applied", held.version, Some(STALE.to_owned())));
            }
        };
        let version = row.version;
        let rows = vec![row];
        let groups = [Group { handler, rows }];
        let until = Instant::now() + ANSWER_LIMIT;
        // What is written loses its failure there.
        match attempt(session, &retry.user, &groups, until).await? {
            Ok(()) => Ok(done("applied", version, None)),
            Err(Unwritten { error, .. }) => {
                execute(session, sql::FAILED_AGAIN, &[&retry.id, &error]).await?;
                Ok(done("materialize_error", version, Some(error)))
            }
        }
    }
}

fn done(status: &str, version: i64, message: Option<String>) -> Retried {
    Retried::Done(RetryAnswer {
        source_change_id: 0,
        status: status.to_owned(),
        new_server_version: version,
        message,
    })
}

/// Holds a failure for this transaction; or what there is to say instead.
async fn lock_failure(session: &Session, retry: &Retry) -> Result<Result<Held, Retried>, Failure> {
    let [statement] = session.statements([sql::LOCK_FAILURE]).await?;
    let connection = session.connection();
    let query = async {
        let user = retry.user.as_str();
        match connection.query(&statement, &[&retry.id, &user]).await {
            Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => Ok(None),
            rows => rows.map(Some),
        }
    };
    Ok(match answered(query).await?.as_deref() {
        None => Err(Retried::Busy),
        Some([row]) => Ok(read(row, &retry.user)?),
        Some(_) => Err(Retried::Unknown),
    })
}

fn read(row: &Row, user: &UserId) -> Result<Held, Failure> {
    let key = RecordKey {
        scope: personal(user),
        table: TableName::new(row.get(1)).map_err(unreadable)?,
        record: RecordId::new(row.get(2)).map_err(unreadable)?,
    };
    Ok(Held {
        app: AppId::new(row.get(0)).map_err(unreadable)?,
        key,
        version: row.get(3),
        is_delete: row.get::<_, &str>(4) == RowOp::Delete.as_str(),
    })
}

/// The row as it is now.
async fn row_now(session: &Session, held: &Held) -> Result<Option<RowAfter>, Failure> {
    let [load] = session.statements([queries::LOAD]).await?;
    let wanted = [held.key.clone()];
    let rows = answered(records(session.connection(), &load, &held.app, &wanted)).await?;
    let loaded: Loaded = read_loaded(&rows, &[], &wanted)?;
    Ok(loaded.row_now(&held.app, &held.key)?)
}

async fn execute(
    session: &Session,
    sql: &str,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<(), Failure> {
    let [statement] = session.statements([sql]).await?;
    answered(session.connection().execute(&statement, parameters))
        .await
        .map(|_| ())
}
