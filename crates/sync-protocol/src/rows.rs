//! The rows dialect: whole rows with a version each. What its clients upload and download, and how it is read.
//!
//! A `schema` is an app, a `table` its table, a `pk` the id of a record in the personal scope of the token's user. Rows of this
//! dialect and changes of the other one are about the same records.

mod answer;
mod download;
mod upload;
mod uuid;

pub use answer::{
    DownloadPage, DownloadedRow, Invalid, InvalidReason, ListedFailure, RetryAnswer, RowOutcome,
    RowStatus, ServerRow, UploadAnswer,
};
pub use download::{
    DEFAULT_DOWNLOAD_LIMIT, DownloadError, DownloadQuery, MAX_DOWNLOAD_LIMIT, is_row_name,
};
pub use upload::{BadRow, MAX_UPLOADED_CHANGES, RowChange, RowEdit, RowOp, RowUpload, UploadError};
pub use uuid::{canonical_uuid, is_canonical_uuid, reference_uuid};

/// The schema of a change that names none.
pub const DEFAULT_SCHEMA: &str = "public";
