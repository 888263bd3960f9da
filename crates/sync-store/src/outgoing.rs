//! How rows go out: entries of a page as the changes that clients read (`semantics.md`, How rows go out).

use std::collections::HashSet;

use sync_merge::deleted_at;
use sync_protocol::{
    FieldName, FieldOut, FieldTime, Members, Millis, Op, RecordId, ServerChange, TableName, Value,
};

use crate::{Entry, Rules, Scope};

type Field = (FieldName, Value, FieldTime);

/// The changes of a page, in order.
#[must_use]
pub fn server_changes(entries: &[Entry], now: Millis, rules: Rules) -> Vec<ServerChange> {
    let mut replaced: HashSet<(&Scope, &TableName, &RecordId, &FieldName)> = HashSet::new();
    let mut changes: Vec<_> = entries
        .iter()
        .rev()
        .map(|entry| {
            let key = |field| (&entry.scope, &entry.table, &entry.record, field);
            let kept: Vec<&Field> = entry
                .fields
                .iter()
                .filter(|(name, ..)| !replaced.contains(&key(name)))
                .collect();
            replaced.extend(entry.fields.iter().map(|(name, ..)| key(name)));
            let fields = if kept.is_empty() {
                entry.fields.iter().collect()
            } else {
                kept
            };
            server_change(entry, &fields, now, rules)
        })
        .collect();
    changes.reverse();
    changes
}

fn server_change(entry: &Entry, fields: &[&Field], now: Millis, rules: Rules) -> ServerChange {
    let mut change = ServerChange {
        event_id: entry.event_id,
        schema_version: entry.schema_version,
        table: entry.table.clone(),
        id: entry.record.clone(),
        op: entry.op,
        data: None,
        fields: None,
        deleted_at: None,
        space_id: entry.space.clone(),
        actor: entry.actor.clone(),
        origin: entry.origin.clone(),
        author: entry.scope.space().map(|_| entry.user.clone()),
    };
    match entry.op {
        Op::Delete if goes_out_as_delete(entry, fields) => {
            change.deleted_at = delete_time(entry, fields);
        }
        // To the oldest clients an insert replaces the record: a whole row in which nothing differs is none.
        Op::Insert
            if (entry.opens || !entry.fields.is_empty())
                && goes_out_as_insert(entry, fields, now, rules) =>
        {
            change.data = Some(values(fields))
        }
        Op::Insert | Op::Update | Op::Delete => {
            change.op = Op::Update;
            let timed = fields
                .iter()
                .map(|(name, value, at)| (name.clone(), FieldOut::new(value.clone(), *at)));
            change.fields = Some(timed.collect());
            change.data = entry.opens.then(|| values_with_id(entry, fields));
        }
    }
    change
}

/// Whether existing clients, which take the time of a delete for both the value and the time of its field, come to the
/// right ones.
fn goes_out_as_delete(entry: &Entry, fields: &[&Field]) -> bool {
    let exact = |(_, value, at): &&Field| value.text().as_deref() == Some(at.to_string().as_str());
    entry.undated || fields.iter().all(exact)
}

fn delete_time(entry: &Entry, fields: &[&Field]) -> Option<String> {
    let (_, value, _) = fields.iter().find(|(name, ..)| name == deleted_at())?;
    if entry.undated { None } else { value.text() }
}

/// Whether existing clients, which time all of an insert by one of its values, come to the right times: each field has
/// just the time that they will read there, or there is none and the insert is young.
fn goes_out_as_insert(entry: &Entry, fields: &[&Field], now: Millis, rules: Rules) -> bool {
    let read_time = ["updatedAt", "createdAt"].into_iter().find_map(|key| {
        fields
            .iter()
            .find(|(name, value, _)| name.as_str() == key && !value.is_null())
    });
    match read_time {
        Some((_, value, _)) => {
            let text = value.text();
            fields
                .iter()
                .all(|(.., at)| text.as_deref() == Some(at.to_string().as_str()))
        }
        None => {
            let young = now.0 - entry.received.0 <= rules.skew_millis;
            fields.iter().all(|(.., at)| at.is_none()) && (young || fields.is_empty())
        }
    }
}

fn values(fields: &[&Field]) -> Members<FieldName, Value> {
    fields
        .iter()
        .map(|(name, value, _)| (name.clone(), value.clone()))
        .collect()
}

/// The values with the record's id among them, for clients that make a record of them.
fn values_with_id(entry: &Entry, fields: &[&Field]) -> Members<FieldName, Value> {
    let mut data = values(fields);
    if data.find("id").is_none() {
        let id = FieldName::new("id").expect("a plain word is an identifier");
        data.0.insert(0, (id, Value::string(entry.record.as_str())));
    }
    data
}
