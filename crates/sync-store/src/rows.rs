//! The rows dialect on the engine: what an upload does to records by their versions, and how a download shows them.

mod download;
mod judge;
mod merged;
mod now;
mod order;
mod references;
mod tables;
mod upload;

pub use download::{DownloadBegun, FoundRow, Wanted};
pub use merged::Merged;
pub(crate) use now::Fate;
pub use tables::{BusinessTable, RowLimits, RowTable, RowTables, TableKey};
pub use upload::{Logged, UploadDecision, UploadIntake, UploadLoaded, UploadWrites};

use std::sync::Arc;

use sync_protocol::rows::{ListedFailure, RetryAnswer, RowChange, RowOp, UploadAnswer};
use sync_protocol::{
    AppId, EventIds, FieldName, Members, Millis, RecordId, TableName, UserId, Value,
};

use crate::{Caller, Touched};

/// An upload that was admitted and parsed.
#[derive(Clone, Debug)]
pub struct Upload {
    /// Who uploads; the client is the device that the token names.
    pub caller: Caller,
    /// What it uploads.
    pub changes: Vec<RowChange>,
    /// What is known of tables, and how much an upload may hold.
    pub tables: Arc<RowTables>,
    /// The time of receipt.
    pub now: Millis,
    /// Where new event ids come from.
    pub ids: EventIds,
}

impl Upload {
    /// Whether it has more changes than one may have.
    pub(crate) fn is_too_large(&self) -> bool {
        self.changes.len() > self.tables.limits.changes
    }
}

/// What became of an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uploaded {
    /// What the device is told.
    pub answer: UploadAnswer,
    /// The apps, and where in them rows were appended: what others are to be told of.
    pub touched: Vec<(AppId, Touched)>,
}

/// Whether a device gets what it has uploaded itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnRows {
    /// It does not.
    LeftOut,
    /// It does.
    Included,
}

/// A download that was admitted and parsed.
#[derive(Clone, Debug)]
pub struct Download {
    /// Who downloads; the client is the device that the token names.
    pub caller: Caller,
    /// Of which app; `None` for all.
    pub app: Option<AppId>,
    /// Behind which position.
    pub after: i64,
    /// Up to which position; 0 for all that there is.
    pub until: i64,
    /// The most rows, beside parents that they need.
    pub limit: usize,
    /// Whether the device's own rows are among them.
    pub own: OwnRows,
    /// What is known of tables.
    pub tables: Arc<RowTables>,
}

/// A row of a user's personal scope as it is after something was written to it: what a business table is to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowAfter {
    /// Its app.
    pub app: AppId,
    /// Its table.
    pub table: TableName,
    /// Its `pk`: a UUID in canonical text.
    pub record: RecordId,
    /// Its version.
    pub version: i64,
    /// What was done last.
    pub op: RowOp,
    /// The whole row; `None` if it is deleted.
    pub payload: Option<Members<FieldName, Value>>,
}

/// Which failures of a user are listed, the newest first.
#[derive(Clone, Debug)]
pub struct FailureList {
    /// The user.
    pub user: UserId,
    /// Of which app; `None` for all. What is no name finds nothing.
    pub app: Option<String>,
    /// Of which table; `None` for all. What is no name finds nothing.
    pub table: Option<String>,
    /// The most.
    pub limit: usize,
}

/// A failure to be retried.
#[derive(Clone, Debug)]
pub struct Retry {
    /// The user whose row it is.
    pub user: UserId,
    /// Its number.
    pub id: i64,
    /// The time of the request.
    pub now: Millis,
}

/// What became of a retry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Retried {
    /// The row was written, or failed again.
    Done(RetryAnswer),
    /// The user has no such failure.
    Unknown,
    /// Another retry of it is under way.
    Busy,
    /// Nobody writes rows of this table any more.
    NoHandler(AppId, TableName),
}

/// The failures of a user, as they are listed.
pub type Failures = Vec<ListedFailure>;
