//! One connection for one unit of work: a transaction that ends with the function that began it.

use std::time::Duration;

use deadpool_postgres::{Object, Pool};
use futures_util::future::{try_join, try_join4};
use sync_protocol::{SpaceId, UserId};
use sync_store::{Grant, Position, Reach, Role, StoreError, personal};
use tokio_postgres::{Row, Statement};

use crate::failure::Failure;
use crate::instant::millis;
use crate::queries::{self, upkeep};

/// How long a transaction waits for one lock, in PostgreSQL's words.
const LOCK_LIMIT: &str = "5s";
/// How long one statement may take, in PostgreSQL's words.
const STATEMENT_LIMIT: &str = "15s";
/// How long a transaction may lie idle, in PostgreSQL's words: one of a server that froze must not keep its locks.
const IDLE_LIMIT: &str = "30s";
/// How long one wait on the database may take: longer than it allows itself, so that only a database that has gone silent
/// meets it.
pub(crate) const ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// The role of a transaction, which decides what row-level security lets it see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Acting {
    /// For one user.
    ForUser,
    /// For the server itself.
    Maintenance,
}

impl Acting {
    pub(crate) fn role(self) -> &'static str {
        match self {
            Self::ForUser => "sync_app",
            Self::Maintenance => "sync_maintenance",
        }
    }
}

/// In which mode the personal scope is locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Beside others who read.
    ToRead,
    /// Alone.
    ToWrite,
}

/// What a transaction comes after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// Nothing.
    Nothing,
    /// An attempt that is given up: it is rolled back on the way.
    Attempt,
}

/// A connection at work. Unless [`Session::close`] finds it clean, it is taken out of the pool and closed when this value
/// goes: an abandoned request, too, leaves no transaction and no lock behind.
pub(crate) struct Session {
    connection: Option<Object>,
}

impl Session {
    /// Takes a connection out of the pool, waiting for one if need be.
    pub(crate) async fn take(pool: &Pool) -> Result<Self, Failure> {
        let connection = Some(pool.get().await?);
        Ok(Self { connection })
    }

    /// The connection.
    pub(crate) fn connection(&self) -> &Object {
        self.connection
            .as_ref()
            .expect("only closing takes the connection, and it takes the session, too")
    }

    /// Prepared statements; without a wait, since the pool has prepared them.
    pub(crate) async fn statements<const N: usize>(
        &self,
        sql: [&str; N],
    ) -> Result<[Statement; N], Failure> {
        let mut statements = Vec::with_capacity(N);
        for text in sql {
            statements.push(self.connection().prepare_cached(text).await?);
        }
        Ok(statements
            .try_into()
            .expect("there are as many statements as texts"))
    }

    /// Begins a transaction for a user, locks the personal scope and reads the grants: one wait.
    pub(crate) async fn begin(
        &self,
        user: &UserId,
        mode: Mode,
        after: After,
    ) -> Result<Reach, Failure> {
        let lock = match mode {
            Mode::ToRead => queries::LOCK_TO_READ,
            Mode::ToWrite => queries::LOCK_TO_WRITE,
        };
        let [rollback, lock, grants] = self
            .statements([queries::ROLLBACK, lock, queries::own::GRANTS])
            .await?;
        let key = personal(user).lock_key();
        let connection = self.connection();
        let rolled_back = async {
            match after {
                After::Nothing => Ok(0),
                After::Attempt => connection.execute(&rollback, &[]).await,
            }
        };
        let (_, _, _, rows) = answered(try_join4(
            rolled_back,
            self.open(Acting::ForUser, user.as_str()),
            connection.execute(&lock, &[&key]),
            connection.query(&grants, &[&user.as_str()]),
        ))
        .await?;
        Ok(Reach::new(user, &read_grants(&rows)?))
    }

    /// Begins a transaction in a role, with no scope in reach.
    pub(crate) async fn open(
        &self,
        acting: Acting,
        user: &str,
    ) -> Result<(), tokio_postgres::Error> {
        let connection = self.connection();
        let (begin, open) = (
            connection.prepare_cached(queries::BEGIN).await?,
            connection.prepare_cached(queries::OPEN).await?,
        );
        let role = acting.role();
        try_join(
            connection.execute(&begin, &[]),
            connection.execute(
                &open,
                &[&user, &LOCK_LIMIT, &STATEMENT_LIMIT, &IDLE_LIMIT, &role],
            ),
        )
        .await
        .map(|_| ())
    }

    /// Whether an import is under way: then nothing but it changes the log. If not, none begins before this transaction ends.
    pub(crate) async fn is_importing(&self) -> Result<bool, Failure> {
        let [hold, ask] = self
            .statements([upkeep::HOLD_LOG, upkeep::IS_IMPORTING])
            .await?;
        let connection = self.connection();
        answered(connection.execute(&hold, &[])).await?;
        Ok(answered(connection.query_one(&ask, &[])).await?.get(0))
    }

    /// Commits what a transaction did.
    pub(crate) async fn commit(&self) -> Result<(), Failure> {
        let [commit] = self.statements([queries::COMMIT]).await?;
        answered(self.connection().execute(&commit, &[]))
            .await
            .map(|_| ())
    }

    /// Ends the unit of work. One that succeeded has committed; of one that failed the rest is rolled back here.
    pub(crate) async fn close<T>(mut self, outcome: Result<T, Failure>) -> Result<T, Failure> {
        let is_clean = match &outcome {
            Ok(_) => true,
            Err(Failure::Broken(_)) => false,
            Err(Failure::Repeat(_) | Failure::ScopesMissing(_) | Failure::Refused(_)) => {
                self.roll_back().await.is_ok()
            }
        };
        if is_clean {
            drop(self.connection.take());
        }
        outcome
    }

    /// Takes back what a transaction did.
    pub(crate) async fn roll_back(&self) -> Result<(), Failure> {
        let [rollback] = self.statements([queries::ROLLBACK]).await?;
        answered(self.connection().execute(&rollback, &[]))
            .await
            .map(|_| ())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            drop(Object::take(connection));
        }
    }
}

/// One wait on the database, with its time limit.
pub(crate) async fn answered<T>(
    wait: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, Failure> {
    match tokio::time::timeout(ANSWER_LIMIT, wait).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(silent()),
    }
}

/// What a wait fails with that meets its time limit.
pub(crate) fn silent() -> Failure {
    Failure::Broken(StoreError::unavailable("PostgreSQL did not answer in time"))
}

/// Reads the rows of [`queries::own::GRANTS`].
pub(crate) fn read_grants(rows: &[Row]) -> Result<Vec<Grant>, StoreError> {
    rows.iter().map(read_grant).collect()
}

/// Reads one of them.
pub(crate) fn read_grant(row: &Row) -> Result<Grant, StoreError> {
    let unreadable = || StoreError::fault("a grant cannot be read");
    let (space, role): (&str, Option<&str>) = (row.get(0), row.get(1));
    let role = role.map(|role| Role::parse(role).ok_or_else(unreadable));
    Ok(Grant {
        space: SpaceId::new(space).map_err(|_| unreadable())?,
        role: role.transpose()?,
        position: Position(row.get(2)),
        asked: millis(row.get(3)),
        doubted: row.get::<_, Option<_>>(4).map(millis),
    })
}
