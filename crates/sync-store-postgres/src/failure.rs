//! Why a statement failed, and what to do about it: repeat it, tell the caller to come back, or give up.

use std::collections::BTreeSet;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use deadpool_postgres::{HookError, PoolError};
use sync_store::{Scope, StoreError};
use tokio_postgres::error::SqlState;

/// How often a unit of work is tried that the database asks to repeat.
const TRIES: u32 = 6;
/// The longest pause before the second try; it doubles with each.
const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// The classes of errors that pass: connection lost, password changed before we were told, database gone for a restore,
/// resources short, operator intervened or shutdown.
const PASSING_CLASSES: [&str; 5] = ["08", "28", "3D", "53", "57"];
/// Further errors that pass: a lock was not to be had in time, and the database takes no writes for the moment.
const PASSING_CODES: [SqlState; 3] = [
    SqlState::LOCK_NOT_AVAILABLE,
    SqlState::READ_ONLY_SQL_TRANSACTION,
    SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
];

/// How a unit of work ended that did not succeed. Nothing of it is stored.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The database asks for it to be repeated: it met another one.
    Repeat(StoreError),
    /// Scopes must be locked for writing: start over with them.
    ScopesMissing(BTreeSet<Scope>),
    /// The caller's answer. The connection is as good as before.
    Refused(StoreError),
    /// The caller's answer. Nothing more is to be expected of the connection.
    Broken(StoreError),
}

impl Failure {
    /// The caller's answer.
    pub(crate) fn into_error(self) -> StoreError {
        match self {
            Self::Repeat(error) | Self::Refused(error) | Self::Broken(error) => error,
            // Not which: their keys name users.
            Self::ScopesMissing(scopes) => {
                let count = scopes.len();
                StoreError::fault(format!("{count} scopes are not locked for writing"))
            }
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Refused(error)
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(code) = error.code() else {
            return Self::Broken(without_code(&error));
        };
        let text = describe(&error);
        match code {
            &SqlState::T_R_SERIALIZATION_FAILURE | &SqlState::T_R_DEADLOCK_DETECTED => {
                Self::Repeat(StoreError::unavailable(text))
            }
            &SqlState::LOCK_NOT_AVAILABLE | &SqlState::QUERY_CANCELED => {
                Self::Refused(StoreError::unavailable(text))
            }
            code if passes(code) => Self::Broken(StoreError::unavailable(text)),
            _ => Self::Broken(StoreError::fault(text)),
        }
    }
}

impl From<PoolError> for Failure {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)) => {
                error.into()
            }
            other => Self::Broken(StoreError::unavailable(other.to_string())),
        }
    }
}

/// The error of a database that is talked to outside of a unit of work.
pub(crate) fn store_error(error: tokio_postgres::Error) -> StoreError {
    Failure::from(error).into_error()
}

fn passes(code: &SqlState) -> bool {
    PASSING_CODES.contains(code)
        || PASSING_CLASSES
            .iter()
            .any(|class| code.code().starts_with(class))
}

/// An error that does not come from the server: the connection went or was not to be had, or we have sent what cannot be
/// sent. Whatever keeps tokio-postgres from connecting has an error of input or output as its cause, a name that is not
/// resolved, too.
pub(crate) fn without_code(error: &tokio_postgres::Error) -> StoreError {
    let mut cause = std::error::Error::source(error);
    let mut is_input_or_output = error.is_closed();
    while let Some(inner) = cause {
        is_input_or_output |= inner.is::<std::io::Error>();
        cause = inner.source();
    }
    let text = describe(error);
    if is_input_or_output {
        StoreError::unavailable(text)
    } else {
        StoreError::fault(text)
    }
}

/// The error for the log: its code and its message, but not its detail, which may quote a row.
pub(crate) fn describe(error: &tokio_postgres::Error) -> String {
    if let Some(told) = error.as_db_error() {
        return format!("PostgreSQL says {}: {}", told.code().code(), told.message());
    }
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    text
}

/// The pauses between the tries of one unit of work.
#[derive(Debug, Default)]
pub(crate) struct Tries {
    done: u32,
}

impl Tries {
    /// Waits for a random time before the next try.
    ///
    /// # Errors
    ///
    /// The error itself, once there were tries enough.
    pub(crate) async fn pause(&mut self, error: StoreError) -> Result<(), StoreError> {
        self.done += 1;
        if self.done >= TRIES {
            return Err(error);
        }
        let longest = FIRST_PAUSE * 2_u32.pow(self.done - 1);
        tracing::debug!(%error, tries = self.done, "a unit of work is repeated");
        tokio::time::sleep(longest.mul_f64(random_share())).await;
        Ok(())
    }
}

/// A random number from 0 to 1.
fn random_share() -> f64 {
    let bits = RandomState::new().build_hasher().finish();
    let upper = u32::try_from(bits >> 32).unwrap_or(0);
    f64::from(upper) / f64::from(u32::MAX)
}
