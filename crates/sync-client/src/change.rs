//! A change as a client sends it.

use serde::Serialize;
use sync_protocol::{EventId, FieldTime, Members, Op, Value};

/// One change of a push. Values are anything that serialises to JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NewChange {
    /// The table.
    pub table: String,
    /// The record.
    pub id: String,
    /// What is done.
    pub op: Op,
    /// The values of an insert.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Members<String, Value>>,
    /// The fields of an update.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fields: Option<Members<String, NewField>>,
    /// The time of a delete.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<String>,
    /// The space.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub space_id: Option<String>,
    /// The client's own id of the change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_id: Option<EventId>,
}

/// A field of an update with its time, in both spellings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NewField {
    /// The value.
    pub value: Value,
    /// The time of the edit.
    pub at: String,
    /// The same, for servers that know only the older spelling.
    pub updated_at: String,
}

impl NewChange {
    fn new(table: &str, id: &str, op: Op) -> Self {
        Self {
            table: table.to_owned(),
            id: id.to_owned(),
            op,
            data: None,
            fields: None,
            deleted_at: None,
            space_id: None,
            event_id: None,
        }
    }

    /// An insert of a record; its values follow by [`NewChange::with`].
    #[must_use]
    pub fn insert(table: &str, id: &str) -> Self {
        Self {
            data: Some(Members::default()),
            ..Self::new(table, id, Op::Insert)
        }
    }

    /// An update of a record; its fields follow by [`NewChange::set`].
    #[must_use]
    pub fn update(table: &str, id: &str) -> Self {
        Self {
            fields: Some(Members::default()),
            ..Self::new(table, id, Op::Update)
        }
    }

    /// A delete of a record at a time.
    #[must_use]
    pub fn delete(table: &str, id: &str, at: FieldTime) -> Self {
        Self {
            deleted_at: Some(at.to_string()),
            ..Self::new(table, id, Op::Delete)
        }
    }

    /// Adds a value to an insert.
    #[must_use]
    pub fn with(mut self, name: &str, value: Value) -> Self {
        self.data
            .get_or_insert_default()
            .0
            .push((name.to_owned(), value));
        self
    }

    /// Adds a field with its time to an update.
    #[must_use]
    pub fn set(self, name: &str, value: Value, at: FieldTime) -> Self {
        self.set_at(name, value, &at.to_string())
    }

    /// Adds a field whose time is given as text, in any spelling of RFC 3339.
    #[must_use]
    pub fn set_at(mut self, name: &str, value: Value, at: &str) -> Self {
        let field = NewField {
            value,
            at: at.to_owned(),
            updated_at: at.to_owned(),
        };
        self.fields
            .get_or_insert_default()
            .0
            .push((name.to_owned(), field));
        self
    }
}
