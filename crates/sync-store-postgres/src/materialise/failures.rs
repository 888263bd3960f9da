//! The rows that could not be written: kept, cleared, listed.

use sync_protocol::rows::ListedFailure;
use sync_protocol::{AppId, Millis, RecordId, TableName, UserId, Value};
use sync_store::{FailureList, Failures, RowAfter, StoreError};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::order::Group;
use crate::failure::Failure;
use crate::instant::{instant, millis};
use crate::page::{number, unreadable};
use crate::queries::business as sql;
use crate::session::{Acting, Session, answered};
use crate::store::PostgresStore;
use crate::write::column;

/// How many bytes of payloads one list has at the most.
const LISTED_BYTES: i64 = 16 * 1024 * 1024;

/// A row that could not be written, and why.
pub(crate) struct Refused {
    pub(crate) row: RowAfter,
    pub(crate) error: String,
}

/// Keeps failures.
pub(super) async fn keep(
    session: &Session,
    user: &UserId,
    now: Millis,
    refused: &[Refused],
) -> Result<(), Failure> {
    if refused.is_empty() {
        return Ok(());
    }
    let [statement] = session.statements([sql::KEEP_FAILURES]).await?;
    let parameters: [&(dyn ToSql + Sync); 9] = [
        &user.as_str(),
        &instant(now),
        &column(refused, |one| one.row.app.as_str()),
        &column(refused, |one| one.row.table.as_str()),
        &column(refused, |one| one.row.record.as_str()),
        &column(refused, |one| one.row.version),
        &column(refused, |one| one.row.op.as_str()),
        &column(refused, |one| payload(&one.row)),
        &column(refused, |one| one.error.as_str()),
    ];
    answered(session.connection().execute(&statement, &parameters))
        .await
        .map(|_| ())
}

/// Forgets the failures of rows that are written.
pub(super) async fn clear(
    session: &Session,
    user: &UserId,
    groups: &[Group<'_>],
) -> Result<(), tokio_postgres::Error> {
    let connection = session.connection();
    let statement = connection.prepare_cached(sql::CLEAR_FAILURES).await?;
    let rows: Vec<&RowAfter> = groups.iter().flat_map(|group| &group.rows).collect();
    let parameters: [&(dyn ToSql + Sync); 4] = [
        &user.as_str(),
        &column(&rows, |row| row.app.as_str()),
        &column(&rows, |row| row.table.as_str()),
        &column(&rows, |row| row.record.as_str()),
    ];
    connection
        .execute(&statement, &parameters)
        .await
        .map(|_| ())
}

impl PostgresStore {
    /// Tries once to list failures.
    pub(crate) async fn try_failures(&self, list: &FailureList) -> Result<Failures, Failure> {
        let mut names = [&list.app, &list.table].into_iter().flatten();
        if names.any(|name| name.contains('\0')) {
            return Ok(Failures::new());
        }
        let session = Session::take(self.pool()).await?;
        let outcome = async {
            answered(session.open(Acting::ForUser, list.user.as_str())).await?;
            let [statement] = session.statements([sql::FAILURES]).await?;
            let (user, most) = (list.user.as_str(), number(list.limit));
            let parameters: [&(dyn ToSql + Sync); 5] =
                [&user, &list.app, &list.table, &most, &LISTED_BYTES];
            let rows = answered(session.connection().query(&statement, &parameters)).await?;
            session.commit().await?;
            let failures = rows.iter().map(|row| read(row, &list.user));
            Ok(failures.collect::<Result<_, _>>()?)
        };
        let outcome = outcome.await;
        session.close(outcome).await
    }
}

fn read(row: &Row, user: &UserId) -> Result<ListedFailure, StoreError> {
    let payload: Option<&str> = row.get(6);
    let payload = payload.map(Value::parse).transpose();
    Ok(ListedFailure {
        id: row.get(0),
        user_id: user.clone(),
        schema: AppId::new(row.get(1)).map_err(unreadable)?,
        table: TableName::new(row.get(2)).map_err(unreadable)?,
        pk: RecordId::new(row.get(3)).map_err(unreadable)?,
        attempted_version: row.get(4),
        op: row.get(5),
        payload: payload.map_err(unreadable)?,
        error: row.get(7),
        first_seen: millis(row.get(8)).to_string(),
        retry_count: row.get(9),
    })
}

/// The payload as text.
fn payload(row: &RowAfter) -> Option<String> {
    let members = row.payload.iter().flat_map(|payload| &payload.0);
    let members = members.map(|(name, value)| {
        let name = Value::string(name.as_str());
        format!("{}:{}", name.as_str(), value.as_str())
    });
    let members: Vec<String> = members.collect();
    row.payload.as_ref()?;
    Some(format!("{{{}}}", members.join(",")))
}
