//! Who writes rows into business tables: the trait, what it is given, and how it fails.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use deadpool_postgres::Object;
use sync_protocol::{AppId, TableName, UserId};
use sync_store::{RowAfter, StoreError};
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};

use crate::failure::{Failure, describe, without_code};

/// The longest text of a failure that is kept, in characters.
const MAX_TEXT: usize = 2000;

/// The classes of errors that are none of the row: connection lost, transaction to be repeated, resources short, operator
/// intervened.
const PASSING_CLASSES: [&str; 4] = ["08", "40", "53", "57"];
/// Among them one that is: the time limit of a statement. What is always slow must not come back for ever.
const TIME_IS_UP: SqlState = SqlState::QUERY_CANCELED;
/// Further ones: what a lock, a standby and a frozen server lead to.
const PASSING_CODES: [SqlState; 3] = [
    SqlState::LOCK_NOT_AVAILABLE,
    SqlState::READ_ONLY_SQL_TRANSACTION,
    SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
];

/// The work of a [`Handler`], to be awaited.
pub type HandlerWork<'a> = Pin<Box<dyn Future<Output = Result<(), HandlerError>> + Send + 'a>>;

/// Writes rows of users into tables of the business: for programs that embed this crate. The tables of `SYNC_TABLES` have
/// one of their own.
///
/// It works within the transaction of the upload, as role `sync_app`, with the setting `sync.user` naming the user and a
/// planner that is told to use indexes. Whatever it does is kept if the upload is, and only then. It must leave the
/// transaction alone (no `commit`, no `rollback`), and do the same when it is called once more with the same rows: an
/// attempt may be taken back and made again, with other rows or with one alone. What it refuses, or panics at, costs the
/// rows it was given and nothing else: they are kept as failures.
pub trait Handler: Send + Sync {
    /// Whether it writes the rows of this table.
    fn takes(&self, app: &AppId, table: &TableName) -> bool;

    /// Writes rows of one user and one table, each at most once: either all of them are to be there (`payload` is there), or
    /// all of them are deleted. Rows without the user are a hole: the `pk` alone says nothing of whose row it is.
    ///
    /// # Errors
    ///
    /// [`HandlerError`]: then none of these rows is written.
    fn write<'a>(
        &'a self,
        connection: &'a BusinessConnection<'a>,
        user: &'a UserId,
        rows: &'a [RowAfter],
    ) -> HandlerWork<'a>;
}

/// The connection of a transaction, for a [`Handler`].
pub struct BusinessConnection<'a> {
    connection: &'a Object,
}

impl<'a> BusinessConnection<'a> {
    pub(crate) fn new(connection: &'a Object) -> Self {
        Self { connection }
    }

    /// Runs a statement, and returns how many rows it was about.
    ///
    /// # Errors
    ///
    /// [`HandlerError`], which keeps what PostgreSQL has said.
    pub async fn execute(
        &self,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<u64, HandlerError> {
        Ok(self.connection.execute(sql, parameters).await?)
    }

    /// Runs a statement, and returns its rows.
    ///
    /// # Errors
    ///
    /// [`HandlerError`], which keeps what PostgreSQL has said.
    pub async fn query(
        &self,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, HandlerError> {
        Ok(self.connection.query(sql, parameters).await?)
    }

    /// Runs a statement with texts as its parameters: one wait, and nothing is left prepared.
    pub(crate) async fn execute_with_texts(
        &self,
        sql: &str,
        [first, second]: [&str; 2],
    ) -> Result<u64, HandlerError> {
        let parameters: [(&(dyn ToSql + Sync), Type); 2] =
            [(&first, Type::TEXT), (&second, Type::TEXT)];
        Ok(self.connection.execute_typed(sql, &parameters).await?)
    }
}

impl fmt::Debug for BusinessConnection<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("BusinessConnection")
            .finish_non_exhaustive()
    }
}

/// Why a [`Handler`] has not written its rows. The text is kept with them, for the user and the operator.
#[derive(Debug)]
pub struct HandlerError {
    text: String,
    cause: Option<tokio_postgres::Error>,
}

impl HandlerError {
    /// The rows cannot be written, for this reason.
    pub fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            cause: None,
        }
    }

    /// What PostgreSQL has said, if it was that.
    pub(crate) fn code(&self) -> Option<&SqlState> {
        self.cause.as_ref()?.code()
    }

    /// Why the rows fail, and whether their time was up; or why the whole request does, where it is not for the rows.
    pub(crate) fn judged(self) -> Result<(String, Pace), Failure> {
        let pace = match self.code() {
            Some(code) if *code == TIME_IS_UP => Pace::TooSlow,
            _ => Pace::InTime,
        };
        match self.cause {
            Some(cause) if is_passing(&cause) => Err(cause.into()),
            _ => Ok((presentable(&self.text), pace)),
        }
    }
}

impl From<tokio_postgres::Error> for HandlerError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self {
            text: describe(&error),
            cause: Some(error),
        }
    }
}

impl fmt::Display for HandlerError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

impl std::error::Error for HandlerError {}

/// Whether rows failed for the time that they took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// They failed for another reason.
    InTime,
    /// Their time was up.
    TooSlow,
}

/// Whether an error says nothing of the rows. One without a code comes from the connection, or from a parameter that cannot be
/// sent.
fn is_passing(error: &tokio_postgres::Error) -> bool {
    match error.code() {
        Some(code) if *code == TIME_IS_UP => false,
        Some(code) => {
            let class = code.code().get(..2);
            PASSING_CODES.contains(code)
                || class.is_some_and(|class| PASSING_CLASSES.contains(&class))
        }
        None => matches!(without_code(error), StoreError::Unavailable(_)),
    }
}

/// A text as PostgreSQL can keep it, and people read it.
pub(crate) fn presentable(text: &str) -> String {
    let kept = text.chars().take(MAX_TEXT);
    kept.map(|letter| if letter == '\0' { '\u{fffd}' } else { letter })
        .collect()
}
