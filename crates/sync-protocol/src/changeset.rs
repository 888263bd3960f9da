//! A push as it arrives: the envelope is read and checked, each change is either understood, parked, or the reason why
//! the whole push is refused (`wire.md`, Errors).

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{Change, ClientId, SUPPORTED_SCHEMA_VERSION, Value, read};

/// The largest body of a push, before and after decompression, in bytes.
pub const MAX_BODY_BYTES: usize = 10 * 1024 * 1024;
/// The most changes of one push.
pub const MAX_CHANGES: usize = 10_000;

/// The longest text of an error, in characters.
const MAX_ERROR_CHARS: usize = 200;

/// Why a body is no push. The text is for the client; nothing of such a push is stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangesetError {
    /// It is not JSON, or not of the shape of a changeset.
    #[error("invalid JSON: {0}")]
    Json(String),
    /// It is a changeset that says what it may not.
    #[error("{0}")]
    Invalid(String),
}

/// What is wrong with one change.
#[derive(Debug)]
pub(crate) enum Judgement {
    /// The whole push is refused.
    Refuse(ChangesetError),
    /// This change is kept aside, with this reason.
    Park(String),
}

/// A well-formed change that can never be a row: kept for its author as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parked {
    /// Its place in the push, from 0.
    pub index: usize,
    /// The change as it came.
    pub raw: Value,
    /// Why it cannot be stored, for people.
    pub reason: String,
}

/// A push that can be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changeset {
    /// The body's `clientId`; the header `X-Client-Id` wins over it.
    pub client: ClientId,
    /// The cursor as it came; empty if there was none.
    pub since: String,
    /// The changes that were understood, in order.
    pub changes: Vec<Change>,
    /// Those that can be kept only aside.
    pub parked: Vec<Parked>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    #[serde(borrow)]
    client_id: Option<&'a RawValue>,
    #[serde(borrow)]
    since: Option<&'a RawValue>,
    #[serde(borrow)]
    schema_version: Option<&'a RawValue>,
    #[serde(borrow)]
    changes: Option<Vec<&'a RawValue>>,
}

impl Changeset {
    /// Reads the body of a push. Names match exactly, unknown members are passed over, `null` is missing.
    ///
    /// # Errors
    ///
    /// What the body is not; a change is named by its place.
    pub fn parse(body: &[u8]) -> Result<Self, ChangesetError> {
        let text = std::str::from_utf8(body).map_err(|_| json("the body is not UTF-8"))?;
        if text.trim_start().starts_with('[') {
            return Err(json("a changeset is an object"));
        }
        let envelope: Envelope<'_> = serde_json::from_str(text).map_err(json)?;
        let client = read_text(envelope.client_id, "clientId")?;
        let client =
            ClientId::new(&client).map_err(|error| invalid(format!("clientId {error}")))?;
        let since = read_text(envelope.since, "since")?;
        let schema_version = match read::read_schema_version(envelope.schema_version, 0) {
            Ok(version) => version.unwrap_or(SUPPORTED_SCHEMA_VERSION),
            Err(Judgement::Refuse(error)) => return Err(error),
            Err(Judgement::Park(reason)) => return Err(invalid(reason)),
        };
        let raw_changes = envelope.changes.unwrap_or_default();
        if raw_changes.len() > MAX_CHANGES {
            return Err(invalid(format!(
                "{} changes in one push (max {MAX_CHANGES})",
                raw_changes.len()
            )));
        }
        let mut push = Self {
            client,
            since,
            changes: Vec::with_capacity(raw_changes.len()),
            parked: Vec::new(),
        };
        for (index, raw) in raw_changes.into_iter().enumerate() {
            let raw = Value::from(raw);
            match read::read(&raw, index, schema_version) {
                Ok(change) => push.changes.push(change),
                Err(Judgement::Refuse(error)) => return Err(error),
                Err(Judgement::Park(reason)) => push.parked.push(Parked { index, raw, reason }),
            }
        }
        Ok(push)
    }
}

fn read_text(raw: Option<&RawValue>, name: &str) -> Result<String, ChangesetError> {
    let Some(raw) = raw else {
        return Ok(String::new());
    };
    serde_json::from_str(raw.get()).map_err(|_| json(format!("{name} is no text")))
}

fn json(error: impl ToString) -> ChangesetError {
    ChangesetError::Json(cut(&error.to_string()))
}

/// A text for the client, without more of its own input than a person reads.
pub(crate) fn cut(text: &str) -> String {
    let mut short: String = text.chars().take(MAX_ERROR_CHARS).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

fn invalid(message: String) -> ChangesetError {
    ChangesetError::Invalid(message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FieldTime, FieldWrite, Op};

    fn push(changes: &str) -> Result<Changeset, ChangesetError> {
        Changeset::parse(
            format!(r#"{{"clientId":"c","since":"","changes":[{changes}]}}"#).as_bytes(),
        )
    }

    fn only(change: &str) -> Change {
        push(change).expect("a good push").changes.remove(0)
    }

    fn refused(change: &str) -> String {
        push(change).expect_err("a bad push").to_string()
    }

    fn parked(change: &str) -> String {
        let mut push = push(change).expect("a good push");
        assert_eq!((push.changes.len(), push.parked.len()), (0, 1), "{change}");
        push.parked.remove(0).reason
    }

    fn write(name: &str, value: &str, at: &str) -> FieldWrite {
        FieldWrite {
            name: crate::FieldName::new(name).expect("a name"),
            value: Value::parse(value).expect("a value"),
            at: FieldTime::parse(at),
        }
    }

    #[test]
    fn an_error_does_not_echo_what_it_was_sent() {
        let long = "x".repeat(100_000);
        for body in [
            format!(r#"{{"changes":[{{"table":"t","id":"r","op":"{long}"}}]}}"#),
            format!(r#"{{"changes":"{long}"}}"#),
            format!(r#"{{"clientId":"{long}"}}"#),
        ] {
            let error = Changeset::parse(body.as_bytes())
                .expect_err("a bad push")
                .to_string();
            assert!(error.len() < 300, "{}", error.len());
        }
    }

    #[test]
    fn an_actor_or_origin_over_64_kib_is_parked() {
        let long = "x".repeat(64 * 1024);
        for member in [
            format!(r#""actor":{{"a":"{long}"}}"#),
            format!(r#""origin":"{long}""#),
        ] {
            let change = format!(r#"{{"table":"t","id":"r","op":"insert",{member}}}"#);
            assert!(parked(&change).contains("64 KiB"));
        }
    }

    #[test]
    fn more_fields_than_a_change_may_have_are_parked_before_they_are_looked_up() {
        let names = |count: usize| {
            (0..count)
                .map(|n| format!(r#""f{n}":{{}}"#))
                .collect::<Vec<_>>()
                .join(",")
        };
        let insert = |data: usize, fields: usize| {
            let (data, fields) = (names(data), names(fields));
            format!(
                r#"{{"table":"t","id":"r","op":"insert","data":{{{data}}},"fields":{{{fields}}}}}"#
            )
        };
        assert_eq!(only(&insert(1000, 1000)).writes.len(), 1000);
        assert!(parked(&insert(1001, 0)).contains("1001 fields"));
        assert!(parked(&insert(0, 1001)).contains("1001 fields"));
        assert!(parked(&insert(40_000, 40_000)).contains("40000 fields"));
    }

    const T1: &str = "2025-02-01T09:00:00.000Z";
    const T2: &str = "2025-02-01T10:00:00.000Z";

    #[test]
    fn values_keep_their_bytes() {
        let change = only(
            r#"{"table":"t","id":"r","op":"insert","data":{"a":1.10,"b":9007199254740993,"c":1e400,"d":"\u0000\ud800","e":{"z":1, "a":[ ]}}}"#,
        );
        let values: Vec<_> = change
            .writes
            .iter()
            .map(|write| write.value.as_str().to_owned())
            .collect();
        assert_eq!(
            values,
            [
                "1.10",
                "9007199254740993",
                "1e400",
                r#""\u0000\ud800""#,
                r#"{"z":1, "a":[ ]}"#
            ]
        );
    }

    #[test]
    fn both_generations_of_field_times_are_read_and_at_wins() {
        let change = only(&format!(
            r#"{{"table":"t","id":"r","op":"update","fields":{{
                "old":{{"value":1,"updatedAt":"{T1}"}},"new":{{"value":2,"at":"{T1}"}},
                "both":{{"value":3,"at":"{T1}","updatedAt":"{T2}"}},"none":{{}},"empty":{{"value":5,"at":"","updatedAt":"{T2}"}}}}}}"#
        ));
        let expected = [
            write("old", "1", T1),
            write("new", "2", T1),
            write("both", "3", T1),
            write("none", "null", ""),
            write("empty", "5", T2),
        ];
        assert_eq!(change.writes, expected);
    }

    #[test]
    fn an_insert_takes_its_times_from_fields_then_updated_at_then_created_at() {
        let change = only(&format!(
            r#"{{"table":"t","id":"r","op":"insert","data":{{"a":1,"b":2,"updatedAt":null,"createdAt":"{T1}"}},
                "fields":{{"a":{{"value":9,"at":"{T2}"}},"unknown":{{"value":1}}}}}}"#
        ));
        let expected = [
            write("a", "1", T2),
            write("b", "2", T1),
            write("updatedAt", "null", T1),
            write("createdAt", &format!("\"{T1}\""), T1),
        ];
        assert_eq!(
            (change.writes.as_slice(), change.at),
            (expected.as_slice(), FieldTime::parse(T1))
        );
    }

    #[test]
    fn the_time_of_a_delete_is_found_where_clients_put_it() {
        let time = FieldTime::parse(T1);
        let base = r#""table":"t","id":"r","op":"delete""#;
        for (change, expected) in [
            (format!(r#"{{{base},"deletedAt":"{T1}"}}"#), Some(time)),
            (
                format!(r#"{{{base},"data":{{"deletedAt":"{T1}"}}}}"#),
                Some(time),
            ),
            (format!("{{{base}}}"), Some(FieldTime::NONE)),
            (
                format!(r#"{{{base},"deletedAt":null}}"#),
                Some(FieldTime::NONE),
            ),
            (
                format!(r#"{{{base},"deletedAt":"yesterday"}}"#),
                Some(FieldTime::NONE),
            ),
            (
                format!(r#"{{{base},"fields":{{"deletedAt":{{"value":"{T1}","at":"{T1}"}}}}}}"#),
                None,
            ),
            (
                format!(r#"{{"table":"t","id":"r","op":"update","deletedAt":"{T1}"}}"#),
                Some(time),
            ),
            (
                r#"{"table":"t","id":"r","op":"update","deletedAt":null}"#.to_owned(),
                None,
            ),
        ] {
            assert_eq!(only(&change).deletion, expected, "{change}");
        }
    }

    #[test]
    fn a_space_is_named_in_three_places() {
        for (change, expected) in [
            (
                r#"{"table":"t","id":"r","op":"insert","spaceId":"s","data":{"spaceId":"x"}}"#,
                Some("s"),
            ),
            (
                r#"{"table":"t","id":"r","op":"insert","data":{"spaceId":"s"}}"#,
                Some("s"),
            ),
            (
                r#"{"table":"t","id":"r","op":"update","fields":{"spaceId":{"value":"s"}}}"#,
                Some("s"),
            ),
            (
                r#"{"table":"t","id":"r","op":"insert","spaceId":"","data":{"spaceId":"s"}}"#,
                Some("s"),
            ),
            (
                r#"{"table":"t","id":"r","op":"insert","data":{"spaceId":""},"fields":{"spaceId":{"value":"s"}}}"#,
                Some("s"),
            ),
            (
                r#"{"table":"t","id":"r","op":"insert","data":{"spaceId":5}}"#,
                None,
            ),
            (
                r#"{"table":"t","id":"r","op":"insert","spaceId":"_personal:u"}"#,
                None,
            ),
            (r#"{"table":"t","id":"r","op":"insert"}"#, None),
        ] {
            assert_eq!(
                only(change).shared_space().map(crate::SpaceId::as_str),
                expected,
                "{change}"
            );
        }
    }

    #[test]
    fn a_refused_push_names_the_change_and_the_fault() {
        let good = r#"{"table":"t","id":"r","op":"insert","data":{}}"#;
        for (change, expected) in [
            (
                r#"{"table":"t","id":"r","op":"upsert"}"#,
                r#"invalid op "upsert" in change 1"#,
            ),
            (r#"{"table":"t","id":"r"}"#, r#"invalid op "" in change 1"#),
            ("null", r#"invalid op "" in change 1"#),
            (r#"["t"]"#, "change 1 is no object"),
            (
                r#"{"table":"t","op":"insert"}"#,
                "missing table or id in change 1",
            ),
            (
                r#"{"table":"","id":"r","op":"insert"}"#,
                "missing table or id in change 1",
            ),
            (
                r#"{"table":"t","id":5,"op":"insert"}"#,
                "id is no text in change 1",
            ),
            (
                r#"{"table":"t","id":"r","op":"insert","data":[]}"#,
                "data is no object in change 1",
            ),
            (
                r#"{"table":"t","id":"r","op":"update","fields":[]}"#,
                "fields is no object in change 1",
            ),
            (
                r#"{"table":"t","id":"r","op":"update","fields":{"x":null}}"#,
                r#"field "x" is no object in change 1"#,
            ),
            (
                r#"{"table":"t","id":"r","op":"update","fields":{"x":{"at":5}}}"#,
                "at is no text in change 1",
            ),
            (
                r#"{"table":"t","id":"r","op":"delete","deletedAt":5}"#,
                "deletedAt is no text in change 1",
            ),
            (
                r#"{"table":"t","id":"r","op":"delete","origin":5}"#,
                "origin is no text in change 1",
            ),
            (
                r#"{"table":"t","id":"r","op":"delete","schemaVersion":2}"#,
                "unsupported schemaVersion 2 (max 1)",
            ),
            (
                r#"{"table":"t","id":"r","op":"delete","schemaVersion":1.5}"#,
                "schemaVersion is no whole number (at change 1)",
            ),
        ] {
            assert_eq!(refused(&format!("{good},{change}")), expected, "{change}");
        }
    }

    #[test]
    fn what_cannot_be_a_row_is_parked_and_the_rest_goes_on() {
        let long = "x".repeat(257);
        for change in [
            format!(r#"{{"table":"t","id":"{long}","op":"insert"}}"#),
            r#"{"table":"t","id":"a\u0000b","op":"insert"}"#.to_owned(),
            r#"{"table":"t","id":"\ud800","op":"insert"}"#.to_owned(),
            r#"{"table":"t","id":"r","op":"insert","data":{"":1}}"#.to_owned(),
            r#"{"table":"t","id":"r","op":"insert","data":{"\ud800":1}}"#.to_owned(),
            r#"{"table":"t","id":"r","op":"insert","data":{"__proto__":1}}"#.to_owned(),
            r#"{"table":"t","id":"r","op":"insert","data":{"a":1,"a":2}}"#.to_owned(),
            format!(
                r#"{{"table":"t","id":"r","op":"insert","data":{{"a":{}1{}}}}}"#,
                "[".repeat(70),
                "]".repeat(70)
            ),
        ] {
            assert!(!parked(&change).is_empty(), "{change}");
            let good = r#"{"table":"t","id":"r","op":"insert"}"#;
            assert_eq!(
                push(&format!("{good},{change},{good}")).map(|push| push.changes.len()),
                Ok(2),
                "{change}"
            );
        }
    }

    #[test]
    fn ten_thousand_changes_are_read_and_one_more_is_refused() {
        let push = |count: usize| {
            let change = r#"{"table":"t","id":"r","op":"insert"}"#;
            Changeset::parse(
                format!("{{\"changes\":[{}]}}", vec![change; count].join(",")).as_bytes(),
            )
        };
        assert_eq!(
            push(MAX_CHANGES).map(|push| push.changes.len()),
            Ok(MAX_CHANGES)
        );
        let refused = push(MAX_CHANGES + 1).map_err(|error| error.to_string());
        assert_eq!(
            refused,
            Err("10001 changes in one push (max 10000)".to_owned())
        );
    }

    #[test]
    fn a_thousand_fields_are_stored_and_one_more_is_parked() {
        let change = |count: usize| {
            let fields: Vec<_> = (0..count)
                .map(|n| format!(r#""f{n}":{{"value":{n}}}"#))
                .collect();
            format!(
                r#"{{"table":"t","id":"r","op":"update","fields":{{{}}}}}"#,
                fields.join(",")
            )
        };
        assert_eq!(only(&change(1000)).writes.len(), 1000);
        assert!(parked(&change(1001)).contains("1001 fields"));
    }

    #[test]
    fn a_body_that_is_no_changeset_is_refused() {
        for body in [
            "",
            " \n",
            "[]",
            "\"x\"",
            "null",
            "{\"changes\":{}}",
            "{\"clientId\":5}",
            "{\"since\":5}",
            "{} and more",
            "{\"changes\":[],\"changes\":[]}",
            "\u{feff}{}",
            "{\"changes\":[",
            "{\"schemaVersion\":9223372036854775808}",
            "{\"schemaVersion\":2}",
            "{\"clientId\":\"\\u0000\"}",
        ] {
            assert!(Changeset::parse(body.as_bytes()).is_err(), "{body}");
        }
        assert!(Changeset::parse(b"{\"clientId\":\"\xff\"}").is_err());
        assert!(Changeset::parse("[".repeat(MAX_BODY_BYTES).as_bytes()).is_err());
    }

    #[test]
    fn an_empty_object_is_a_push_without_changes_from_the_beginning() {
        let push =
            Changeset::parse(b" {\"unknown\":{\"a\":[1]},\"changes\":null} ").expect("a push");
        assert_eq!(
            (
                push.since.as_str(),
                push.client.as_str(),
                push.changes.len()
            ),
            ("", "", 0)
        );
        assert_eq!(Changeset::parse(b"{}"), Ok(push));
    }

    #[test]
    fn ops_are_lower_case() {
        assert_eq!(Op::parse("insert"), Some(Op::Insert));
        assert_eq!(Op::parse("INSERT"), None);
    }
}
