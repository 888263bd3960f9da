//! One row of the replaced service's table, and the change as whose it is read: what an old client has sent to make it.

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;
use sync_protocol::{EventId, Members, Value};

/// Where an import stands in the table of the replaced service: behind this row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// When the row was made, as that database writes it.
    pub created: String,
    /// Its id.
    pub id: EventId,
}

impl Mark {
    /// Reads what `Display` has written; `None` if it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (created, id) = text.rsplit_once('/')?;
        Some(Self {
            created: created.to_owned(),
            id: EventId::parse(id)?,
        })
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.created, self.id)
    }
}

/// One row of the table of the replaced service, as its columns have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplacedRow {
    /// Its place in that table.
    pub mark: Mark,
    /// When it was made, in nanoseconds since 1970.
    pub created_nanos: i64,
    /// The app.
    pub app: String,
    /// The user that wrote it.
    pub user: String,
    /// The client that wrote it.
    pub client: String,
    /// The space that it is in.
    pub space: Option<String>,
    /// The table.
    pub table: String,
    /// The record.
    pub record: String,
    /// What was done.
    pub op: String,
    /// The values: JSON.
    pub data: Option<String>,
    /// The times of fields: JSON, an object of texts, or of objects with `at`.
    pub times: Option<String>,
    /// The schema version.
    pub schema_version: i64,
    /// Who acted: JSON.
    pub actor: Option<String>,
    /// Where it came from: JSON.
    pub origin: Option<String>,
}

/// A change as old clients send it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Sent<'a> {
    table: &'a str,
    id: &'a str,
    op: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fields: Option<Members<String, SentField>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted_at: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    space_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<Value>,
    schema_version: i64,
    event_id: EventId,
}

#[derive(Serialize)]
struct SentField {
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Value>,
    at: String,
}

impl ReplacedRow {
    /// About how many bytes its values take.
    #[must_use]
    pub fn size(&self) -> usize {
        let texts = [&self.data, &self.times, &self.actor, &self.origin];
        texts.into_iter().flatten().map(String::len).sum()
    }

    /// The change that an old client has sent to make it.
    ///
    /// An insert has the values, and times of its fields if there are any. An update has those fields that have a time: that
    /// service told nobody of others. A delete has its time, and the other fields that were sent with it, if they have times.
    pub(crate) fn change(&self) -> Value {
        let data = self.data.as_deref().and_then(value);
        let data = data.filter(|data| !data.is_null());
        let values = data.as_ref().and_then(members::<Value>).unwrap_or_default();
        let with_values = self.op != "insert";
        let fields = self.timed_fields(&values, with_values);
        let is_timed = |name| fields.find(name).is_some();
        let deleted_at = values
            .find("deletedAt")
            .filter(|at| self.op == "delete" && !is_timed("deletedAt") && at.text().is_some());
        let sent = Sent {
            table: &self.table,
            id: &self.record,
            op: &self.op,
            deleted_at: deleted_at.cloned(),
            fields: (!fields.0.is_empty()).then_some(fields),
            data: data.filter(|data| self.op == "insert" || !data.is_object()),
            space_id: self.space.as_deref().filter(|space| !space.is_empty()),
            actor: self.actor.as_deref().and_then(value),
            origin: self.origin.as_deref().and_then(value),
            schema_version: self.schema_version,
            event_id: self.mark.id,
        };
        let json = serde_json::to_string(&sent).expect("names and JSON values are always JSON");
        Value::parse(&json).expect("what was written as JSON is JSON")
    }

    fn timed_fields(
        &self,
        values: &Members<String, Value>,
        with_values: bool,
    ) -> Members<String, SentField> {
        let times = self.times.as_deref().and_then(value);
        let times = times
            .as_ref()
            .and_then(members::<Value>)
            .unwrap_or_default();
        let field = |(name, time): (String, Value)| {
            let value = values.find(&name)?;
            let field = SentField {
                value: with_values.then(|| value.clone()),
                at: time_text(&time),
            };
            Some((name, field))
        };
        times.0.into_iter().filter_map(field).collect()
    }
}

/// A JSON text without the spaces that PostgreSQL puts into it: existing clients send, and compare, none.
fn value(text: &str) -> Option<Value> {
    Value::parse(&compact(text)).ok()
}

fn members<V: for<'a> serde::Deserialize<'a>>(object: &Value) -> Option<Members<String, V>> {
    serde_json::from_str(object.as_str()).ok()
}

/// The time of a field: a text, or the `at` of an object; empty if there is none.
fn time_text(time: &Value) -> String {
    let inner = || {
        let object = members::<Value>(time)?;
        object.find("at").or(object.find("updatedAt"))?.text()
    };
    time.text().or_else(inner).unwrap_or_default()
}

fn compact(json: &str) -> Cow<'_, str> {
    if !json.contains(' ') {
        return Cow::Borrowed(json);
    }
    let mut short = String::with_capacity(json.len());
    let (mut is_text, mut is_escaped) = (false, false);
    for letter in json.chars() {
        if !is_text && letter.is_ascii_whitespace() {
            continue;
        }
        is_text ^= letter == '"' && !is_escaped;
        is_escaped = is_text && letter == '\\' && !is_escaped;
        short.push(letter);
    }
    Cow::Owned(short)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(op: &str, data: &str, times: &str) -> ReplacedRow {
        ReplacedRow {
            mark: Mark::parse("2025-01-01 10:00:00+00/0194c0ff-ee00-7abc-8def-0123456789ab")
                .expect("a mark"),
            created_nanos: 0,
            app: "todo".to_owned(),
            user: "anna".to_owned(),
            client: "phone".to_owned(),
            space: None,
            table: "tasks".to_owned(),
            record: "t".to_owned(),
            op: op.to_owned(),
            data: Some(data.to_owned()),
            times: Some(times.to_owned()),
            schema_version: 1,
            actor: None,
            origin: None,
        }
    }

    fn sent(row: &ReplacedRow) -> String {
        let change = row.change();
        let text = change.as_str();
        let begin = text.find(r#""op":"#).expect("it has an op");
        let end = text.find(r#","schemaVersion""#).expect("it has a version");
        text[begin..end].to_owned()
    }

    #[test]
    fn a_row_becomes_the_change_that_an_old_client_has_sent() {
        const AT: &str = "2025-01-01T10:00:00.000Z";
        for (op, data, times, expected) in [
            (
                "insert",
                r#"{"a": 1.10, "b": [1, " x, y"]}"#,
                "{}",
                r#""op":"insert","data":{"a":1.10,"b":[1," x, y"]}"#.to_owned(),
            ),
            (
                "insert",
                r#"{"a": 1, "b": 2}"#,
                r#"{"a": "2025-01-01T10:00:00.000Z", "c": "x"}"#,
                format!(r#""op":"insert","data":{{"a":1,"b":2}},"fields":{{"a":{{"at":"{AT}"}}}}"#),
            ),
            (
                "update",
                r#"{"a": 1, "b": null, "untold": 3}"#,
                r#"{"a": {"at": "2025-01-01T10:00:00.000Z", "actor": {}}, "b": ""}"#,
                format!(r#""op":"update","fields":{{"a":{{"value":1,"at":"{AT}"}},"b":{{"value":null,"at":""}}}}"#),
            ),
            (
                "delete",
                r#"{"deletedAt": "2025-01-01T10:00:00.000Z", "title": "x"}"#,
                "{}",
                format!(r#""op":"delete","deletedAt":"{AT}""#),
            ),
            (
                "delete",
                r#"{"deletedAt": "x", "title": "\" {"}"#,
                r#"{"deletedAt": "y", "title": "z"}"#,
                r#""op":"delete","fields":{"deletedAt":{"value":"x","at":"y"},"title":{"value":"\" {","at":"z"}}"#.to_owned(),
            ),
            ("delete", "null", "null", r#""op":"delete""#.to_owned()),
        ] {
            assert_eq!(sent(&row(op, data, times)), expected);
        }
        let mut shared = row("insert", r#"{"spaceId": "other"}"#, "{}");
        shared.space = Some("home".to_owned());
        shared.actor = Some(r#"{"kind": "ai"}"#.to_owned());
        shared.origin = Some(r#""user""#.to_owned());
        assert_eq!(
            sent(&shared),
            r#""op":"insert","data":{"spaceId":"other"},"spaceId":"home","actor":{"kind":"ai"},"origin":"user""#
        );
    }

    #[test]
    fn a_mark_comes_back_from_its_text() {
        let text = "2025-01-01 10:00:00.1+00/0194c0ff-ee00-7abc-8def-0123456789ab";
        assert_eq!(
            Mark::parse(text).map(|mark| mark.to_string()),
            Some(text.to_owned())
        );
        assert_eq!(Mark::parse("2025-01-01"), None);
    }
}
