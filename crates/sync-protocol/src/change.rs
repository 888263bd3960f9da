//! One change of a push: an insert, an update or a delete of one record.

use serde::{Deserialize, Serialize};

use crate::{EventId, FieldName, FieldTime, RecordId, SpaceId, TableName, Value};

/// The newest schema version that is understood.
pub const SUPPORTED_SCHEMA_VERSION: i64 = 1;

/// Spaces of this prefix are a client's own name for what is personal.
const PERSONAL_PREFIX: &str = "_personal:";

/// What a change does to its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Op {
    /// Makes the record and writes the keys of `data`.
    Insert,
    /// Writes `fields`.
    Update,
    /// Writes `deletedAt`, and `fields`.
    Delete,
}

impl Op {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }

    /// Reads the word of the wire, in lower case only.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Insert, Self::Update, Self::Delete]
            .into_iter()
            .find(|op| op.as_str() == word)
    }
}

/// A field with the value and the time that a client gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldWrite {
    /// The field.
    pub name: FieldName,
    /// Its new value.
    pub value: Value,
    /// The time that the client claims.
    pub at: FieldTime,
}

/// A well-formed change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its place in the push, from 0.
    pub index: usize,
    /// The table.
    pub table: TableName,
    /// The record.
    pub id: RecordId,
    /// What is done.
    pub op: Op,
    /// The fields that it writes, in the order in which they came; `deletedAt` of a delete is not among them unless the
    /// client sent it as a field.
    pub writes: Vec<FieldWrite>,
    /// The time of the insert as a whole (`data.updatedAt`, else `data.createdAt`): what its existence is timed by.
    pub at: FieldTime,
    /// For a delete by `op` or by `deletedAt` at the top: its time, none if it has none. `None` for all else.
    pub deletion: Option<FieldTime>,
    /// The space that it names, as it names it; [`Change::shared_space`] tells whether it is one.
    pub space: Option<SpaceId>,
    /// Opaque: an object that says who acted.
    pub actor: Option<Value>,
    /// Opaque: a JSON string that says where the change came from.
    pub origin: Option<Value>,
    /// The schema version it was written under.
    pub schema_version: i64,
    /// The client's own event id, if it is a UUID.
    pub event_id: Option<EventId>,
    /// The change as it came, for when it can only be kept aside.
    pub raw: Value,
}

impl Change {
    /// The space that it names, unless that is a client's own name for what is personal (`_personal:…`).
    #[must_use]
    pub fn shared_space(&self) -> Option<&SpaceId> {
        let is_shared = |space: &&SpaceId| !space.as_str().starts_with(PERSONAL_PREFIX);
        self.space.as_ref().filter(is_shared)
    }
}
