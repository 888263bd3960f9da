//! What rows clients are answered, in the shapes that they know.

use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};

use super::RowOp;
use crate::{AppId, FieldName, Members, RecordId, TableName, UserId, Value};

/// The answer of an upload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UploadAnswer {
    /// False if nothing was looked at, since there were too many changes, or if one was for a table that is not there.
    pub accepted: bool,
    /// The newest `server_id` of the user, over all devices; 0 if there is none. No cursor.
    pub highest_server_seq: i64,
    /// What became of each change, in their order.
    pub statuses: Vec<RowStatus>,
}

impl UploadAnswer {
    /// Nothing was looked at, since there was too much of it: clients send fewer changes at once then.
    #[must_use]
    pub fn batch_too_large(source_change_ids: &[i64], message: &str) -> Self {
        let status = |id: &i64| RowStatus {
            source_change_id: *id,
            outcome: RowOutcome::Invalid(Invalid {
                reason: InvalidReason::BatchTooLarge,
                message: message.to_owned(),
            }),
        };
        Self {
            accepted: false,
            highest_server_seq: 0,
            statuses: source_change_ids.iter().map(status).collect(),
        }
    }
}

/// What became of one change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowStatus {
    /// The number that the device gave it.
    pub source_change_id: i64,
    /// What became of it.
    pub outcome: RowOutcome,
}

/// What became of one change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowOutcome {
    /// It stands, or stood before. With the version that it made, unless it did nothing.
    Applied(Option<i64>),
    /// The row has another version.
    Conflict(ServerRow),
    /// It cannot stand.
    Invalid(Invalid),
}

/// A row as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ServerRow {
    /// The schema.
    pub schema_name: AppId,
    /// The table.
    pub table_name: TableName,
    /// The row.
    pub id: RecordId,
    /// Its version.
    pub server_version: i64,
    /// Whether it is deleted.
    pub deleted: bool,
    /// The row; `null` if it is deleted.
    pub payload: Option<Members<FieldName, Value>>,
}

/// Why a change cannot stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// The reason, for programs.
    pub reason: InvalidReason,
    /// The same for people; of a missing parent there is none.
    pub message: String,
}

/// The reasons that rows clients know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvalidReason {
    /// Rows that it refers to are not there: `schema.table:value`. Worth sending again.
    ForeignKeyMissing(Vec<String>),
    /// It can never stand as it is.
    BadPayload,
    /// The server has no such table.
    UnregisteredTable(AppId, TableName),
    /// The upload has too many changes.
    BatchTooLarge,
    /// It cannot stand now. Worth sending again.
    InternalError,
}

impl InvalidReason {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::ForeignKeyMissing(_) => "fk_missing",
            Self::BadPayload => "bad_payload",
            Self::UnregisteredTable(..) => "unregistered_table",
            Self::BatchTooLarge => "batch_too_large",
            Self::InternalError => "internal_error",
        }
    }
}

impl Serialize for RowStatus {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("source_change_id", &self.source_change_id)?;
        match &self.outcome {
            RowOutcome::Applied(version) => {
                map.serialize_entry("status", "applied")?;
                if let Some(version) = version {
                    map.serialize_entry("new_server_version", version)?;
                }
            }
            RowOutcome::Conflict(row) => {
                map.serialize_entry("status", "conflict")?;
                map.serialize_entry("server_row", row)?;
            }
            RowOutcome::Invalid(invalid) => {
                map.serialize_entry("status", "invalid")?;
                if !matches!(invalid.reason, InvalidReason::ForeignKeyMissing(_)) {
                    map.serialize_entry("message", &invalid.message)?;
                }
                map.serialize_entry("invalid", invalid)?;
            }
        }
        map.end()
    }
}

impl Serialize for Invalid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("reason", self.reason.as_str())?;
        let details = match &self.reason {
            InvalidReason::ForeignKeyMissing(missing) => serde_json::json!({ "missing": missing }),
            InvalidReason::UnregisteredTable(app, table) => {
                serde_json::json!({ "schema": app, "table": table })
            }
            InvalidReason::BadPayload
            | InvalidReason::BatchTooLarge
            | InvalidReason::InternalError => serde_json::json!({ "error": self.message }),
        };
        map.serialize_entry("details", &details)?;
        map.end()
    }
}

/// The answer of a download.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DownloadPage {
    /// The rows, in order of `server_id`.
    pub changes: Vec<DownloadedRow>,
    /// Whether there are more behind `next_after`.
    pub has_more: bool,
    /// What to send as `after` next.
    pub next_after: i64,
    /// Up to which `server_id` this was read.
    pub window_until: i64,
}

/// A row as it is now, at the place of its newest change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DownloadedRow {
    /// Its place.
    pub server_id: i64,
    /// The schema.
    pub schema: AppId,
    /// The table.
    pub table: TableName,
    /// What was done.
    #[serde(serialize_with = "op_word")]
    pub op: RowOp,
    /// The row.
    pub pk: RecordId,
    /// The row, an object; absent if it is deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<Value>,
    /// Its version.
    pub server_version: i64,
    /// Whether it is deleted.
    pub deleted: bool,
    /// The device that wrote it last.
    pub source_id: String,
    /// The number that the device gave the change; 0 for one of the other dialect.
    pub source_change_id: i64,
    /// When the server received it: RFC 3339.
    pub ts: String,
}

fn op_word<S: Serializer>(op: &RowOp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(op.as_str())
}

/// A row that could not be written into its business table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ListedFailure {
    /// Its number, by which it is retried.
    pub id: i64,
    /// The user whose row it is.
    pub user_id: UserId,
    /// The schema.
    pub schema: AppId,
    /// The table.
    pub table: TableName,
    /// The row.
    pub pk: RecordId,
    /// The version of the row that was to be written.
    pub attempted_version: i64,
    /// What was to be done: `INSERT`, `UPDATE` or `DELETE`.
    pub op: String,
    /// What was to be written; absent for a delete.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<Value>,
    /// Why it failed.
    pub error: String,
    /// When it failed first: RFC 3339.
    pub first_seen: String,
    /// How often it was retried.
    pub retry_count: i64,
}

/// What became of a retry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryAnswer {
    /// Always 0.
    pub source_change_id: i64,
    /// `applied`, or `materialize_error` if it failed again.
    pub status: String,
    /// The version of the row.
    pub new_server_version: i64,
    /// Why it failed again, or that there was nothing to retry any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(outcome: RowOutcome) -> String {
        let status = RowStatus {
            source_change_id: 1,
            outcome,
        };
        serde_json::to_string(&status).expect("it is JSON")
    }

    fn invalid(reason: InvalidReason, message: &str) -> String {
        let message = message.to_owned();
        status(RowOutcome::Invalid(Invalid { reason, message }))
    }

    #[test]
    fn statuses_have_the_shapes_that_clients_know() {
        let app = || AppId::new("public").expect("a name");
        let table = || TableName::new("zzz").expect("a name");
        assert_eq!(
            status(RowOutcome::Applied(Some(1))),
            r#"{"source_change_id":1,"status":"applied","new_server_version":1}"#
        );
        assert_eq!(
            status(RowOutcome::Applied(None)),
            r#"{"source_change_id":1,"status":"applied"}"#
        );
        let row = ServerRow {
            schema_name: app(),
            table_name: table(),
            id: RecordId::new("r").expect("a name"),
            server_version: 7,
            deleted: true,
            payload: None,
        };
        assert_eq!(
            status(RowOutcome::Conflict(row)),
            r#"{"source_change_id":1,"status":"conflict","server_row":{"schema_name":"public","table_name":"zzz","id":"r","server_version":7,"deleted":true,"payload":null}}"#
        );
        let missing = vec!["business.users:u".to_owned()];
        assert_eq!(
            invalid(InvalidReason::ForeignKeyMissing(missing), "not said"),
            r#"{"source_change_id":1,"status":"invalid","invalid":{"reason":"fk_missing","details":{"missing":["business.users:u"]}}}"#
        );
        assert_eq!(
            invalid(InvalidReason::BadPayload, "no"),
            r#"{"source_change_id":1,"status":"invalid","message":"no","invalid":{"reason":"bad_payload","details":{"error":"no"}}}"#
        );
        assert_eq!(
            invalid(
                InvalidReason::UnregisteredTable(app(), table()),
                "table not registered public.zzz"
            ),
            r#"{"source_change_id":1,"status":"invalid","message":"table not registered public.zzz","invalid":{"reason":"unregistered_table","details":{"schema":"public","table":"zzz"}}}"#
        );
    }
}
