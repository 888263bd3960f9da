//! A change as the log keeps it: change to row and back.

use sync_protocol::{
    AppId, ClientId, EventId, FieldName, FieldTime, Members, Millis, Op, RecordId, SpaceId,
    TableName, UserId, Value,
};

use crate::{Position, Scope, StoreError};

/// A field as a row has it: its name, its value and its time.
pub type Field = (FieldName, Value, FieldTime);

/// One row of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place in the log.
    pub position: Position,
    /// Who may see it.
    pub scope: Scope,
    /// The app.
    pub app: AppId,
    /// The table.
    pub table: TableName,
    /// The record.
    pub record: RecordId,
    /// The id of the change.
    pub event_id: EventId,
    /// What is done.
    pub op: Op,
    /// The fields that it won when it was appended (and copies beside them), with their times.
    pub fields: Vec<Field>,
    /// The verified user that wrote it.
    pub user: UserId,
    /// The client that wrote it.
    pub client: ClientId,
    /// The space that it names: that of its scope, or one into which its author may not write.
    pub space: Option<SpaceId>,
    /// When the server received it.
    pub received: Millis,
    /// The schema version it was written under.
    pub schema_version: i64,
    /// Opaque: an object.
    pub actor: Option<Value>,
    /// Opaque: a JSON string.
    pub origin: Option<Value>,
    /// Whether no insert of the record precedes it.
    pub opens: bool,
    /// Whether it goes out to the client that wrote it, too.
    pub to_everyone: bool,
    /// Whether it is a delete that came without a time.
    pub undated: bool,
    /// The number that its device gave the change; `None` for one of the other dialect, or of the server.
    pub source_change_id: Option<i64>,
}

impl Entry {
    /// The values as one JSON object: the column `data`.
    #[must_use]
    pub fn data(&self) -> String {
        to_json(
            &self
                .fields
                .iter()
                .map(|(name, value, _)| (name, value))
                .collect::<Members<_, _>>(),
        )
    }

    /// The times as one JSON object: the column `field_timestamps`.
    #[must_use]
    pub fn field_timestamps(&self) -> String {
        to_json(
            &self
                .fields
                .iter()
                .map(|(name, _, at)| (name, at.to_string()))
                .collect::<Members<_, _>>(),
        )
    }

    /// About how many bytes it takes in an answer.
    #[must_use]
    pub fn written_size(&self) -> usize {
        let fields: usize = self
            .fields
            .iter()
            .map(|(name, value, _)| name.as_str().len() + value.as_str().len() + 100)
            .sum();
        // Where no insert precedes, the values may go out twice: with their times, and beside them.
        let fields = if self.opens { 2 * fields } else { fields };
        let opaque = [&self.actor, &self.origin].into_iter().flatten();
        let opaque: usize = opaque.map(|value| value.as_str().len()).sum();
        fields + opaque + 300
    }
}

/// Reads the fields back from the columns `data` and `field_timestamps`.
///
/// # Errors
///
/// [`StoreError::Fault`] if the columns are not what [`Entry`] writes.
pub fn read_fields(data: &str, field_timestamps: &str) -> Result<Vec<Field>, StoreError> {
    let values: Members<FieldName, Value> =
        serde_json::from_str(data).map_err(|error| unreadable("data", &error))?;
    let times: Members<FieldName, String> = serde_json::from_str(field_timestamps)
        .map_err(|error| unreadable("field_timestamps", &error))?;
    if values.0.len() != times.0.len() {
        return Err(StoreError::fault("a row has not as many times as values"));
    }
    let fields = values.0.into_iter().zip(times.0);
    Ok(fields
        .map(|((name, value), (_, time))| (name, value, FieldTime::parse(&time)))
        .collect())
}

fn unreadable(column: &str, error: &serde_json::Error) -> StoreError {
    StoreError::fault(format!("column {column} cannot be read: {error}"))
}

fn to_json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("names and JSON values are always JSON")
}
