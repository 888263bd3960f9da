//! What a server answers: changes, conflicts, corrections and warnings, in the shape of `wire.md`. Read by clients,
//! written by the server.

use serde::{Deserialize, Serialize};

use crate::{
    EventId, FieldName, FieldTime, Members, Op, RecordId, SpaceId, TableName, UserId, Value,
};

/// The name by which the server calls itself in `/health`.
pub const SERVICE_NAME: &str = "sync-server";

/// The answer of a push or a pull.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// What others wrote, oldest first, then the corrections.
    pub server_changes: Vec<ServerChange>,
    /// The pushed fields that lost against another value.
    pub conflicts: Vec<Conflict>,
    /// The cursor to send next.
    pub synced_until: String,
    /// Whether there is more behind that cursor.
    #[serde(default)]
    pub has_more: bool,
    /// What became of single changes that were not taken as they came.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
    /// Spaces that the caller may not see any more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removed_spaces: Vec<SpaceId>,
}

/// One change as every answer carries it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerChange {
    /// The id of this change, the same in every answer.
    pub event_id: EventId,
    /// The schema version it was written under.
    pub schema_version: i64,
    /// The table.
    pub table: TableName,
    /// The record.
    pub id: RecordId,
    /// What is done.
    pub op: Op,
    /// The values of an insert; beside `fields` for clients that lack the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Members<FieldName, Value>>,
    /// The fields of an update.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fields: Option<Members<FieldName, FieldOut>>,
    /// The time of a delete that came with one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<String>,
    /// The space that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub space_id: Option<SpaceId>,
    /// Opaque, as it came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<Value>,
    /// Opaque, as it came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Value>,
    /// The verified user that wrote it; only in spaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<UserId>,
}

/// A field of an update: its value, and its time under both names that clients know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FieldOut {
    /// The value.
    #[serde(default = "Value::null")]
    pub value: Value,
    /// The time, for newer clients.
    #[serde(default)]
    pub at: String,
    /// The same time, for older clients.
    #[serde(default)]
    pub updated_at: String,
}

impl FieldOut {
    /// A field with its time.
    #[must_use]
    pub fn new(value: Value, at: FieldTime) -> Self {
        let at = at.to_string();
        Self {
            value,
            updated_at: at.clone(),
            at,
        }
    }
}

/// A pushed field that lost against another value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Conflict {
    /// The table.
    pub table: TableName,
    /// The record.
    pub id: RecordId,
    /// The field.
    pub field: FieldName,
    /// What was pushed; left out over 64 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_value: Option<Value>,
    /// Its time.
    pub client_timestamp: String,
    /// What stands; left out over 64 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_value: Option<Value>,
    /// Its time.
    pub server_timestamp: String,
}

/// Why a change was not taken as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WarningCode {
    /// Its time was further ahead of the server than allowed; the time of receipt was taken.
    ClockAhead,
    /// The caller may not write into the space; the change is kept in the caller's personal scope.
    SpaceWriteDenied,
    /// It can never be a row; it is kept aside for its author.
    Parked,
}

/// What became of one change of the push.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// Its place in the push, from 0.
    pub change: usize,
    /// The reason, for programs.
    pub code: WarningCode,
    /// The reason, for people.
    pub message: String,
}

/// The body of every error answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// A stable code, for programs.
    pub error: String,
    /// What is wrong and what to do, for people.
    pub message: String,
}
