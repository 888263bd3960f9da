//! The trait that every backend implements, and how it fails.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use sync_protocol::rows::DownloadPage;
use sync_protocol::{Answer, AppId, Millis, UserId, Value};

use crate::{
    Download, Erased, Erasure, Export, Exported, FailureList, Failures, Grant, Importer,
    Membership, Promoted, Promotion, Pull, Push, Pushed, Regranted, Retried, Retry, Upload,
    Uploaded,
};

/// A store's answer, to be awaited.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Keeps the log and the winning versions. Each method is one unit: it happens as a whole or not at all, and retries
/// what a database asks to retry.
pub trait Store: Send + Sync + 'static {
    /// Takes a push and answers with the delta (P1, P2, P5).
    ///
    /// # Errors
    ///
    /// [`StoreError`]; then nothing of the push is stored.
    fn push(&self, push: Push) -> Pending<'_, Pushed>;

    /// Reads a page of the delta (P3).
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn pull(&self, pull: Pull) -> Pending<'_, Answer>;

    /// Takes an upload of the rows dialect: each change is judged alone, by the version of its row, and what stands is kept
    /// (P1, P2, P5).
    ///
    /// # Errors
    ///
    /// [`StoreError`]; then nothing of the upload is stored.
    fn upload(&self, upload: Upload) -> Pending<'_, Uploaded>;

    /// Reads a page of rows of the user's personal scope as they are now (P3).
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn download(&self, download: Download) -> Pending<'_, DownloadPage>;

    /// The rows of a user that could not be written into their business tables; none in a store that has no such tables.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn failures(&self, list: FailureList) -> Pending<'_, Failures> {
        drop(list);
        Box::pin(std::future::ready(Ok(Failures::new())))
    }

    /// Tries once more to write a row into its business table, as it is now.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; then nothing has changed.
    fn retry(&self, retry: Retry) -> Pending<'_, Retried> {
        drop(retry);
        Box::pin(std::future::ready(Ok(Retried::Unknown)))
    }

    /// Takes over what was said of a user's spaces: one change of that user's grants, at a position of its own (P6).
    ///
    /// # Errors
    ///
    /// [`StoreError`]; then the grants are as they were.
    fn regrant(&self, membership: Membership, now: Millis) -> Pending<'_, Regranted>;

    /// The grants of a user, by space; also those that were taken away.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn grants(&self, user: UserId) -> Pending<'_, Vec<Grant>>;

    /// Moves one small batch of what was kept for its author alone into the spaces that it was meant for, where the author
    /// may write by now (P7).
    ///
    /// # Errors
    ///
    /// [`StoreError`]; then nothing of the batch has moved.
    fn promote(&self, promotion: Promotion) -> Pending<'_, Promoted>;

    /// What was kept aside for a user of an app, oldest first.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn parked(&self, user: UserId, app: AppId) -> Pending<'_, Vec<ParkedChange>>;

    /// Reads a page of everything that is kept of a user or a space.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn export(&self, export: Export) -> Pending<'_, Exported>;

    /// Removes one batch of a user or a space for good.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; then the batch is still there.
    fn erase(&self, erasure: Erasure) -> Pending<'_, Erased>;

    /// Removes one small batch of what is dead for longer than the history window (P8).
    ///
    /// # Errors
    ///
    /// [`StoreError`]; then the batch is still there.
    fn sweep(&self, now: Millis) -> Pending<'_, Swept>;

    /// Figures for operators.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn stats(&self) -> Pending<'_, Stats>;

    /// How this store takes over the table of a replaced service; `None` if it does not.
    fn importer(&self) -> Option<&dyn Importer> {
        None
    }

    /// Whether the store can serve.
    ///
    /// # Errors
    ///
    /// [`StoreError`] says why it cannot.
    fn ready(&self) -> Pending<'_, ()>;
}

/// A change that can never be a row, as it is kept for its author.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParkedChange {
    /// The change as it came.
    pub raw: Value,
    /// Why it cannot be stored.
    pub reason: String,
}

/// What a sweep removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Rows of the log.
    pub rows: usize,
    /// Deleted records of which only the tombstone is left.
    pub records: usize,
    /// Whether there may be more to remove at once.
    pub more: bool,
}

/// Figures for operators.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Rows of the log that are dead and not yet removed; a store may stop counting at 10,000.
    pub dead_rows: u64,
    /// Connections (or readers) that are there.
    pub pool_size: u64,
    /// Those of them that are free.
    pub pool_available: u64,
    /// Requests that wait for one.
    pub pool_waiting: u64,
}

/// One thing that a check of a database has found, for operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It is as it should be.
    Well(String),
    /// It is not, and what to do.
    Ill(String),
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Well(text) => write!(out, "ok: {text}"),
            Self::Ill(text) => write!(out, "fault: {text}"),
        }
    }
}

/// Why a store did not answer. The text is for the log, never for a client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// It is away or overloaded for the moment: the request is worth repeating.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// The request needs more than the store takes up for one; the text is for the client.
    #[error("{0}")]
    TooLarge(String),
    /// Something is broken that waiting does not mend.
    #[error("the store failed: {0}")]
    Fault(String),
}

impl StoreError {
    /// A fault with this text.
    pub fn fault(detail: impl Into<String>) -> Self {
        Self::Fault(detail.into())
    }

    /// A passing unavailability with this text.
    pub fn unavailable(detail: impl Into<String>) -> Self {
        Self::Unavailable(detail.into())
    }
}
