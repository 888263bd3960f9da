//! `POST /sync/upload` as it arrives: the envelope is read, and each change is either understood or refused alone.

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::download::is_row_name;
use super::{DEFAULT_SCHEMA, canonical_uuid};
use crate::changeset::cut;
use crate::inspect::{self, MAX_FIELDS};
use crate::{AppId, FieldName, Members, RecordId, TableName, Value};

/// The most changes of an upload that are answered one by one, be it that they are too many.
pub const MAX_UPLOADED_CHANGES: usize = 100_000;

/// Why a body is no upload. The text is for the client; nothing of such an upload is stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UploadError(String);

/// What a change does to its row. An insert and an update do the same; the word is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RowOp {
    /// Writes the whole row.
    Insert,
    /// Writes the whole row.
    Update,
    /// Deletes the row.
    Delete,
}

impl RowOp {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Insert => "INSERT",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        [Self::Insert, Self::Update, Self::Delete]
            .into_iter()
            .find(|op| op.as_str() == word)
    }
}

/// An upload that can be taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RowUpload {
    /// The changes, in order.
    pub changes: Vec<RowChange>,
}

/// One change of an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowChange {
    /// The device's own number of the change; 0 if it gave none.
    pub source_change_id: i64,
    /// What it wants, if that could be understood.
    pub edit: Result<RowEdit, BadRow>,
    /// The change as it came.
    pub raw: Value,
}

/// A change that can never be a row, whatever the server holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRow {
    /// The app it is for, if that has a name.
    pub app: Option<AppId>,
    /// Why, for people.
    pub message: String,
}

/// A change that was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowEdit {
    /// The schema.
    pub app: AppId,
    /// The table.
    pub table: TableName,
    /// The row, by its UUID in canonical text.
    pub record: RecordId,
    /// What is done.
    pub op: RowOp,
    /// The version that the device has seen last; 0 for none.
    pub version: i64,
    /// The row; none for a delete.
    pub payload: Option<Members<FieldName, Value>>,
    /// How many bytes the payload has, as it came.
    pub payload_bytes: usize,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(default)]
    #[allow(
        dead_code,
        reason = "clients send it; it must be a number, and means nothing"
    )]
    last_server_seq_seen: Option<i64>,
    #[serde(borrow)]
    changes: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize)]
struct Parts<'a> {
    source_change_id: Option<i64>,
    #[serde(borrow)]
    schema: Option<&'a RawValue>,
    #[serde(borrow)]
    table: Option<&'a RawValue>,
    #[serde(borrow)]
    op: Option<&'a RawValue>,
    #[serde(borrow)]
    pk: Option<&'a RawValue>,
    server_version: Option<i64>,
    // Present counts, whatever the value.
    #[serde(borrow, default, deserialize_with = "present")]
    payload: Option<&'a RawValue>,
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

impl RowUpload {
    /// Reads the body of an upload. Names match exactly, unknown members are passed over, `null` is an upload without
    /// changes.
    ///
    /// # Errors
    ///
    /// What the body is not; a change is named by its place.
    pub fn parse(body: &[u8]) -> Result<Self, UploadError> {
        let text = std::str::from_utf8(body).map_err(|_| bad("the body is not UTF-8"))?;
        if text.trim_start().starts_with('[') {
            return Err(bad("an upload is an object"));
        }
        let envelope: Option<Envelope<'_>> =
            serde_json::from_str(text).map_err(|error| bad(format!("invalid JSON: {error}")))?;
        let changes = envelope.and_then(|envelope| envelope.changes);
        let changes = changes.unwrap_or_default();
        if changes.len() > MAX_UPLOADED_CHANGES {
            return Err(bad(format!(
                "{} changes in one upload (at most {MAX_UPLOADED_CHANGES} are looked at)",
                changes.len()
            )));
        }
        let changes = changes.into_iter().enumerate();
        let changes = changes.map(|(place, raw)| read(raw, place));
        Ok(Self {
            changes: changes.collect::<Result<_, _>>()?,
        })
    }
}

fn read(raw: &RawValue, place: usize) -> Result<RowChange, UploadError> {
    if !raw.get().starts_with('{') {
        return Err(bad(format!("change {place} is no object")));
    }
    let parts: Parts<'_> = serde_json::from_str(raw.get())
        .map_err(|error| bad(format!("change {place} cannot be read: {error}")))?;
    let word = |raw, name| word(raw, name, place);
    let names = Names {
        schema: word(parts.schema, "schema")?.trim().to_lowercase(),
        table: word(parts.table, "table")?.trim().to_lowercase(),
        op: word(parts.op, "op")?.trim().to_uppercase(),
        pk: word(parts.pk, "pk")?,
    };
    let app = AppId::new(names.schema()).ok();
    let edit = edit(&names, &parts).map_err(|message| BadRow {
        app: app.filter(|_| is_row_name(names.schema())),
        message,
    });
    Ok(RowChange {
        source_change_id: parts.source_change_id.unwrap_or(0),
        edit,
        raw: Value::from(raw),
    })
}

/// The text of a member; one that has none (half a surrogate pair) becomes one that names nothing.
fn word(raw: Option<&RawValue>, name: &str, place: usize) -> Result<String, UploadError> {
    let Some(raw) = raw else {
        return Ok(String::new());
    };
    if !raw.get().starts_with('"') {
        return Err(bad(format!("{name} is no text in change {place}")));
    }
    Ok(Value::from(raw)
        .text()
        .unwrap_or_else(|| "\u{fffd}".to_owned()))
}

/// What a change names, trimmed and in one case.
struct Names {
    schema: String,
    table: String,
    op: String,
    pk: String,
}

impl Names {
    fn schema(&self) -> &str {
        if self.schema.is_empty() {
            DEFAULT_SCHEMA
        } else {
            &self.schema
        }
    }
}

/// The change, or why it is none: the first fault, in the order in which clients know them.
fn edit(names: &Names, parts: &Parts<'_>) -> Result<RowEdit, String> {
    let name = |what: &str, text: &str| {
        let shown = cut(text);
        format!("bad_payload: invalid {what} name {shown:?}")
    };
    let schema = names.schema();
    let app = AppId::new(schema).ok().filter(|_| is_row_name(schema));
    let app = app.ok_or_else(|| name("schema", schema))?;
    let table = TableName::new(&names.table)
        .ok()
        .filter(|_| is_row_name(&names.table));
    let table = table.ok_or_else(|| name("table", &names.table))?;
    let op = RowOp::parse(&names.op);
    let op = op.ok_or_else(|| format!("invalid operation: {}", shown(&names.op)))?;
    let pk = canonical_uuid(&names.pk);
    let pk = pk.ok_or_else(|| format!("bad_payload: invalid UUID format: {}", shown(&names.pk)))?;
    let payload = match op {
        RowOp::Delete if parts.payload.is_some() => {
            return Err("DELETE must not include payload".to_owned());
        }
        RowOp::Delete => None,
        RowOp::Insert | RowOp::Update => Some(read_payload(op, parts.payload)?),
    };
    Ok(RowEdit {
        app,
        table,
        record: RecordId::new(&pk).expect("a UUID is an identifier"),
        op,
        version: parts.server_version.unwrap_or(0),
        payload,
        payload_bytes: parts.payload.map_or(0, |payload| payload.get().len()),
    })
}

fn read_payload(
    op: RowOp,
    payload: Option<&RawValue>,
) -> Result<Members<FieldName, Value>, String> {
    let required = || format!("payload required for {} operation", op.as_str());
    let payload = payload.ok_or_else(required)?;
    if !payload.get().starts_with('{') {
        return Err("invalid JSON payload".to_owned());
    }
    if let Some(fault) = inspect::fault(payload.get()) {
        return Err(format!(
            "bad_payload: the payload cannot be stored: {fault}"
        ));
    }
    let payload: Members<FieldName, Value> = serde_json::from_str(payload.get())
        .map_err(|error| cut(&format!("bad_payload: a key of the payload {error}")))?;
    if payload.0.len() > MAX_FIELDS {
        let keys = payload.0.len();
        return Err(format!(
            "bad_payload: the payload has {keys} keys (max {MAX_FIELDS})"
        ));
    }
    Ok(payload)
}

/// A text of the client's own within a message that is kept: not every store takes control characters.
fn shown(text: &str) -> String {
    let mut shown = String::new();
    for letter in cut(text).chars() {
        match letter.is_control() {
            true => shown.extend(letter.escape_default()),
            false => shown.push(letter),
        }
    }
    shown
}

fn bad(message: impl Into<String>) -> UploadError {
    UploadError(cut(&message.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PK: &str = "0b7c1a2e-30f4-4c55-8d66-77e8f9a0b1c2";

    fn only(members: &str) -> RowChange {
        let body = format!(r#"{{"changes":[{{"pk":"{PK}","table":"users",{members}}}]}}"#);
        let mut upload = RowUpload::parse(body.as_bytes()).expect("a good upload");
        upload.changes.remove(0)
    }

    fn fault(members: &str) -> String {
        only(members).edit.expect_err("a bad change").message
    }

    #[test]
    fn a_change_is_read() {
        let change = only(
            r#""source_change_id":-7,"schema":" Business ","op":" insert ","payload":{"b":1,"a":null},"server_version":3,"more":[]"#,
        );
        assert_eq!(change.source_change_id, -7);
        let edit = change.edit.expect("a good change");
        assert_eq!(
            (edit.app.as_str(), edit.table.as_str(), edit.record.as_str()),
            ("business", "users", PK)
        );
        assert_eq!(
            (edit.op, edit.version, edit.payload_bytes),
            (RowOp::Insert, 3, 16)
        );
        let payload = edit.payload.expect("a payload");
        let keys: Vec<_> = payload.0.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(keys, ["b", "a"]);
        let delete = only(r#""op":"DELETE""#).edit.expect("a good change");
        assert_eq!(
            (delete.app.as_str(), delete.payload),
            (DEFAULT_SCHEMA, None)
        );
    }

    #[test]
    fn a_change_that_cannot_be_a_row_is_refused_alone() {
        for (members, message) in [
            (
                r#""schema":"a b""#,
                r#"bad_payload: invalid schema name "a b""#,
            ),
            (r#""op":"upsert""#, "invalid operation: UPSERT"),
            (r#""op":"\u0000""#, r"invalid operation: \u{0}"),
            (r#""op":"INSERT""#, "payload required for INSERT operation"),
            (r#""op":"UPDATE","payload":null"#, "invalid JSON payload"),
            (r#""op":"UPDATE","payload":[1]"#, "invalid JSON payload"),
            (r#""op":"UPDATE","payload":"x""#, "invalid JSON payload"),
            (
                r#""op":"DELETE","payload":null"#,
                "DELETE must not include payload",
            ),
            (
                r#""op":"DELETE","payload":{}"#,
                "DELETE must not include payload",
            ),
        ] {
            assert_eq!(fault(members), message, "{members}");
        }
        for (members, part) in [
            (r#""op":"INSERT","payload":{"a":1,"a":2}"#, "occurs twice"),
            (r#""op":"INSERT","payload":{"__proto__":1}"#, "reserved"),
            (r#""op":"INSERT","payload":{"":1}"#, "empty"),
        ] {
            assert!(
                fault(members).contains(part),
                "{members}: {}",
                fault(members)
            );
        }
        let body = r#"{"changes":[{"op":"INSERT","table":"users","pk":"1","payload":{}}]}"#;
        let upload = RowUpload::parse(body.as_bytes()).expect("a good upload");
        let bad = upload.changes[0].edit.clone().expect_err("a bad change");
        assert_eq!(bad.message, "bad_payload: invalid UUID format: 1");
        assert_eq!(bad.app.expect("an app").as_str(), DEFAULT_SCHEMA);
    }

    #[test]
    fn a_body_that_is_no_upload_is_refused_and_unknown_members_are_not() {
        for body in [
            "",
            "[]",
            "{",
            r#"{"changes":{}}"#,
            r#"{"changes":[1]}"#,
            r#"{"changes":[{"source_change_id":1.5}]}"#,
            r#"{"changes":[{"source_change_id":9223372036854775808}]}"#,
            r#"{"changes":[{"server_version":"1"}]}"#,
            r#"{"changes":[{"pk":5}]}"#,
            r#"{"last_server_seq_seen":"x"}"#,
        ] {
            assert!(RowUpload::parse(body.as_bytes()).is_err(), "{body}");
        }
        for body in [
            "null",
            "{}",
            r#"{"changes":null}"#,
            r#"{"changes":[],"x":1}"#,
        ] {
            assert_eq!(
                RowUpload::parse(body.as_bytes()),
                Ok(RowUpload::default()),
                "{body}"
            );
        }
    }
}
