//! Reads one change of a push from its JSON.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::change::SUPPORTED_SCHEMA_VERSION;
use crate::changeset::{Judgement, cut};
use crate::inspect::{self, MAX_FIELDS};
use crate::{
    Change, ChangesetError, EventId, FieldName, FieldTime, FieldWrite, Members, Op, RecordId,
    SpaceId, TableName, Value,
};

/// The field whose value says that, and when, a record was deleted.
const DELETED_AT: &str = "deletedAt";
/// The longest `actor` or `origin`, in bytes.
const MAX_OPAQUE_BYTES: usize = 64 * 1024;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Parts<'a> {
    #[serde(borrow)]
    table: Option<&'a RawValue>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    op: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    fields: Option<&'a RawValue>,
    #[serde(borrow)]
    deleted_at: Option<&'a RawValue>,
    #[serde(borrow)]
    space_id: Option<&'a RawValue>,
    #[serde(borrow)]
    actor: Option<&'a RawValue>,
    #[serde(borrow)]
    origin: Option<&'a RawValue>,
    #[serde(borrow)]
    schema_version: Option<&'a RawValue>,
    #[serde(borrow)]
    event_id: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FieldParts<'a> {
    #[serde(borrow)]
    value: Option<&'a RawValue>,
    #[serde(borrow)]
    at: Option<&'a RawValue>,
    #[serde(borrow)]
    updated_at: Option<&'a RawValue>,
}

type RawMembers<'a> = Members<String, &'a RawValue>;

impl Change {
    /// Reads a change that comes by itself, under the rules for those of a push.
    ///
    /// # Errors
    ///
    /// Why it can never be a row, for people.
    pub fn parse(json: &Value) -> Result<Self, String> {
        read(json, 0, SUPPORTED_SCHEMA_VERSION).map_err(|judgement| match judgement {
            Judgement::Refuse(error) => error.to_string(),
            Judgement::Park(reason) => reason,
        })
    }
}

/// Reads one change of a changeset whose own schema version is `schema_version`.
///
/// # Errors
///
/// What makes the whole push a bad request, or (as [`Judgement::Park`]) what keeps just this change from being stored.
pub(crate) fn read(json: &Value, index: usize, schema_version: i64) -> Result<Change, Judgement> {
    if let Some(fault) = inspect::fault(json.as_str()) {
        return Err(Judgement::Park(fault));
    }
    let parts = parts(json.as_str(), index)?;
    let op = read_op(parts.op, index)?;
    let (table, id) = read_key(&parts, index)?;
    let schema_version =
        read_schema_version(parts.schema_version, index)?.unwrap_or(schema_version);
    let data = members(parts.data, "data", index)?;
    let fields = read_fields(parts.fields, index)?;
    let deleted_at = text(parts.deleted_at, "deletedAt", index)?;
    let space = read_space(&parts, data.as_ref(), &fields, index)?;
    let origin = text(parts.origin, "origin", index)?
        .filter(|text| !text.is_empty())
        .and(parts.origin)
        .map(Value::from);
    let in_data = data.as_ref().map_or(0, |data| data.0.len());
    let count = fields.len().max(if op == Op::Insert { in_data } else { 0 });
    if count > MAX_FIELDS {
        return Err(Judgement::Park(format!(
            "it has {count} fields (max {MAX_FIELDS})"
        )));
    }
    let at = data.as_ref().map_or(FieldTime::NONE, data_time);
    let deletion = read_deletion(op, deleted_at, data.as_ref(), &fields);
    let writes = match op {
        Op::Insert => insert_writes(data.unwrap_or_default(), &fields, at)?,
        Op::Update | Op::Delete => field_writes(fields)?,
    };
    for (name, raw) in [("actor", parts.actor), ("origin", parts.origin)] {
        if raw.is_some_and(|raw| raw.get().len() > MAX_OPAQUE_BYTES) {
            let limit = MAX_OPAQUE_BYTES / 1024;
            return Err(Judgement::Park(format!(
                "its {name} is longer than {limit} KiB"
            )));
        }
    }
    Ok(Change {
        index,
        table: identifier("table", &table, TableName::new)?,
        id: identifier("id", &id, RecordId::new)?,
        op,
        writes,
        at,
        deletion,
        space,
        actor: parts.actor.map(Value::from).filter(Value::is_object),
        origin,
        schema_version,
        raw: json.clone(),
        event_id: parts
            .event_id
            .and_then(|raw| Value::from(raw).text())
            .and_then(|text| EventId::parse(&text)),
    })
}

fn parts(json: &str, index: usize) -> Result<Parts<'_>, Judgement> {
    if json == "null" {
        return Err(refuse(format!("invalid op \"\" in change {index}")));
    }
    // A derived reader takes an array for a struct, too.
    if !json.starts_with('{') {
        return Err(refuse(format!("change {index} is no object")));
    }
    serde_json::from_str(json)
        .map_err(|error| refuse(format!("change {index} cannot be read: {error}")))
}

fn read_op(raw: Option<&RawValue>, index: usize) -> Result<Op, Judgement> {
    let word = text(raw, "op", index)?.unwrap_or_default();
    Op::parse(&word).ok_or_else(|| refuse(format!("invalid op {word:?} in change {index}")))
}

fn read_key(parts: &Parts<'_>, index: usize) -> Result<(String, String), Judgement> {
    let key = |raw, name| -> Result<String, Judgement> {
        Ok(text(raw, name, index)?.unwrap_or_default())
    };
    let (table, id) = (key(parts.table, "table")?, key(parts.id, "id")?);
    if table.is_empty() || id.is_empty() {
        return Err(refuse(format!("missing table or id in change {index}")));
    }
    Ok((table, id))
}

/// The schema version of a changeset or a change; `None` where it is missing or not positive.
pub(crate) fn read_schema_version(
    raw: Option<&RawValue>,
    index: usize,
) -> Result<Option<i64>, Judgement> {
    let Some(raw) = raw else { return Ok(None) };
    let version: i64 = serde_json::from_str(raw.get()).map_err(|_| {
        refuse(format!(
            "schemaVersion is no whole number (at change {index})"
        ))
    })?;
    if version > SUPPORTED_SCHEMA_VERSION {
        return Err(refuse(format!(
            "unsupported schemaVersion {version} (max {SUPPORTED_SCHEMA_VERSION})"
        )));
    }
    Ok((version > 0).then_some(version))
}

fn read_space(
    parts: &Parts<'_>,
    data: Option<&RawMembers<'_>>,
    fields: &[RawField<'_>],
    index: usize,
) -> Result<Option<SpaceId>, Judgement> {
    // An empty one names none.
    let given = |space: &String| !space.is_empty();
    let member = |raw: &RawValue| Value::from(raw).text().filter(given);
    let in_data = || data.and_then(|data| member(data.find("spaceId")?));
    let in_fields = || {
        let field = fields.iter().find(|field| field.name == "spaceId")?;
        field.value.and_then(member)
    };
    let named = text(parts.space_id, "spaceId", index)?.filter(given);
    let named = named.or_else(in_data).or_else(in_fields);
    named
        .map(|space| identifier("spaceId", &space, SpaceId::new))
        .transpose()
}

/// The time of a delete: `deletedAt` at the top, else a field of that name (which is then its own write), else that of
/// `data`, else none.
fn read_deletion(
    op: Op,
    deleted_at: Option<String>,
    data: Option<&RawMembers<'_>>,
    fields: &[RawField<'_>],
) -> Option<FieldTime> {
    if let Some(time) = deleted_at {
        return Some(FieldTime::parse(&time));
    }
    let sent_as_field = || {
        fields.iter().any(|field| {
            field.name == DELETED_AT && field.value.is_some_and(|value| value.get() != "null")
        })
    };
    if op != Op::Delete || sent_as_field() {
        return None;
    }
    let in_data = data
        .and_then(|data| data.find(DELETED_AT))
        .and_then(|raw| Value::from(*raw).text());
    Some(in_data.map_or(FieldTime::NONE, |time| FieldTime::parse(&time)))
}

/// The time of an insert: that of `updatedAt`, else that of `createdAt`. A member that is null counts as missing.
fn data_time(data: &RawMembers<'_>) -> FieldTime {
    ["updatedAt", "createdAt"]
        .into_iter()
        .find_map(|name| data.find(name).filter(|raw| raw.get() != "null"))
        .and_then(|raw| Value::from(*raw).text())
        .map_or(FieldTime::NONE, |time| FieldTime::parse(&time))
}

fn insert_writes(
    data: RawMembers<'_>,
    fields: &[RawField<'_>],
    at: FieldTime,
) -> Result<Vec<FieldWrite>, Judgement> {
    let own_time = |name: &str| {
        fields
            .iter()
            .find(|field| field.name == name)
            .map(|field| field.at)
    };
    data.0
        .into_iter()
        .map(|(name, raw)| {
            let at = own_time(&name).unwrap_or(at);
            Ok(FieldWrite {
                name: identifier("a field name", &name, FieldName::new)?,
                value: Value::from(raw),
                at,
            })
        })
        .collect()
}

fn field_writes(fields: Vec<RawField<'_>>) -> Result<Vec<FieldWrite>, Judgement> {
    fields
        .into_iter()
        .map(|field| {
            let name = identifier("a field name", &field.name, FieldName::new)?;
            Ok(FieldWrite {
                name,
                value: field.value.map_or_else(Value::null, Value::from),
                at: field.at,
            })
        })
        .collect()
}

struct RawField<'a> {
    name: String,
    value: Option<&'a RawValue>,
    at: FieldTime,
}

fn read_fields<'a>(
    raw: Option<&'a RawValue>,
    index: usize,
) -> Result<Vec<RawField<'a>>, Judgement> {
    let members = members(raw, "fields", index)?.unwrap_or_default();
    let read = |(name, raw): (String, &'a RawValue)| {
        if !raw.get().starts_with('{') {
            let name: String = name.chars().take(64).collect();
            return Err(refuse(format!(
                "field {name:?} is no object in change {index}"
            )));
        }
        let parts: FieldParts<'a> = serde_json::from_str(raw.get()).map_err(|error| {
            refuse(format!("a field cannot be read in change {index}: {error}"))
        })?;
        let time = |raw, name| -> Result<FieldTime, Judgement> {
            Ok(text(raw, name, index)?.map_or(FieldTime::NONE, |text| FieldTime::parse(&text)))
        };
        let (at, updated_at) = (time(parts.at, "at")?, time(parts.updated_at, "updatedAt")?);
        Ok(RawField {
            name,
            value: parts.value,
            at: if at.is_none() { updated_at } else { at },
        })
    };
    members.0.into_iter().map(read).collect()
}

fn members<'a>(
    raw: Option<&'a RawValue>,
    name: &str,
    index: usize,
) -> Result<Option<RawMembers<'a>>, Judgement> {
    let Some(raw) = raw else { return Ok(None) };
    if !raw.get().starts_with('{') {
        return Err(refuse(format!("{name} is no object in change {index}")));
    }
    // The only fault left is a name with half a surrogate pair.
    serde_json::from_str(raw.get())
        .map(Some)
        .map_err(|_| Judgement::Park(format!("a name in {name} has a lone surrogate")))
}

/// The text of a JSON string; a string that has no text (half a surrogate pair) becomes one that is no identifier.
fn text(raw: Option<&RawValue>, name: &str, index: usize) -> Result<Option<String>, Judgement> {
    let Some(raw) = raw else { return Ok(None) };
    if !raw.get().starts_with('"') {
        return Err(refuse(format!("{name} is no text in change {index}")));
    }
    Ok(Some(
        Value::from(raw)
            .text()
            .unwrap_or_else(|| "\u{0}".to_owned()),
    ))
}

fn identifier<T>(
    what: &str,
    text: &str,
    new: fn(&str) -> Result<T, crate::IdentError>,
) -> Result<T, Judgement> {
    new(text).map_err(|error| Judgement::Park(format!("{what} {error}")))
}

fn refuse(message: String) -> Judgement {
    Judgement::Refuse(ChangesetError::Invalid(cut(&message)))
}
