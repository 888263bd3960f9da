//! Moving a record whole: what its author alone had becomes part of another record, which others see.

use std::collections::BTreeMap;
use std::mem::take;

use sync_protocol::{FieldName, Op};

use crate::correct::append_again;
use crate::{Context, NewRow, Plan, Record, RowOrigin, RowRef, deleted_at};

/// About how many bytes of values one row of a moved record has; more fields go into further rows.
const ROW_BYTES: usize = 1024 * 1024;

/// A record that moves into another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    /// The record that goes, by its place among those given to [`plan`](crate::plan()).
    pub from: usize,
    /// The record that takes it in.
    pub to: usize,
    /// What becomes of its delete.
    pub deletion: Deletion,
}

/// What becomes of the delete of a record that moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// It moves with the rest.
    Moves,
    /// It stays where it is, and so does what is left of the record.
    Stays,
}

/// Takes a record into another one, before the push is looked at. Each field keeps its version, and for now its row. What it
/// gives back are the fields that lost against a write of the same time.
pub(crate) fn absorb(
    records: &mut [Record],
    context: &Context<'_>,
    one: &Move,
) -> Vec<(usize, FieldName)> {
    let mut from = take(&mut records[one.from]);
    if one.deletion == Deletion::Stays && from.is_deleted() {
        let stays = from.fields.remove_entry(deleted_at());
        records[one.from] = Record {
            fields: stays.into_iter().collect(),
            claims: from.claims.split_off(deleted_at()),
            version: from.version,
            keeps_deletion: true,
            meant_for: from.meant_for.take(),
            ..Record::default()
        };
    }
    let to = &mut records[one.to];
    let mut tied = Vec::new();
    for (name, held) in from.fields {
        match to.fields.get(&name) {
            Some(stands) if stands.version >= held.version => {
                if stands.version.at == held.version.at && stands.version != held.version {
                    tied.push((one.to, name));
                }
            }
            _ => {
                to.fields.insert(name, held);
            }
        }
    }
    to.inserted = to.inserted.or(from.inserted);
    to.claims.absorb(&from.claims, context.oldest_claim());
    tied
}

/// Appends once more what stood against a moved write of the same time: clients that read the moved one later hold that.
pub(crate) fn append_tied(plan: &mut Plan, before: &[Record], tied: Vec<(usize, FieldName)>) {
    let mut by_record: BTreeMap<usize, Vec<_>> = BTreeMap::new();
    for (record, field) in tied {
        let known = &plan.records[record];
        let stands = matches!(known.fields[&field].row, RowRef::Stored(_));
        let again = known.winner(&field).filter(|_| stands);
        by_record.entry(record).or_default().extend(again);
    }
    for (record, fields) in by_record {
        append_again(plan, record, fields, before);
    }
}

/// Appends what still wins of a record that was taken in, once the writes of the push have been let stand against it.
/// Its author's devices read it, too: of what they have not read yet, the old rows are dead.
pub(crate) fn append_absorbed(plan: &mut Plan, context: &Context<'_>, before: &Record, to: usize) {
    let rows = before.live_rows();
    let known = &plan.records[to];
    let moved = known
        .fields
        .iter()
        .filter(|(_, held)| rows.contains(&held.row));
    let mut parts =
        split(moved.map(|(name, held)| (name.clone(), held.version.value.as_str().len())));
    // What the client has read, or written itself before that, it holds.
    let is_unread =
        |row: &RowRef| matches!(row, RowRef::Stored(position) if *position > context.seen);
    let is_held = !rows.iter().any(is_unread);
    let inserts = known.inserted.is_some_and(|row| rows.contains(&row));
    if inserts && parts.is_empty() {
        parts.push(Vec::new());
    }
    for (number, names) in parts.into_iter().enumerate() {
        let place = RowRef::New(plan.rows.len());
        let known = &mut plan.records[to];
        let is_insert = inserts && number == 0;
        let opens = is_insert || known.inserted.is_none();
        if is_insert {
            known.inserted = Some(place);
        }
        let mut fields = Vec::with_capacity(names.len());
        for name in names {
            fields.extend(known.winner(&name));
            if let Some(held) = known.fields.get_mut(&name) {
                held.row = place;
                held.to_everyone = true;
            }
        }
        // Without a time it would be taken for one of now, whatever its age.
        let is_dated = fields.is_empty() || fields.iter().any(|(.., at)| !at.is_none());
        plan.rows.push(NewRow {
            record: to,
            origin: RowOrigin::Server,
            op: if is_insert && is_dated {
                Op::Insert
            } else {
                Op::Update
            },
            user: context.user.clone(),
            client: context.client.clone(),
            fields,
            opens,
            to_everyone: true,
            undated: false,
        });
        if !is_held {
            plan.unread = Some(0);
        }
    }
}

/// The names of the fields of each row.
fn split(fields: impl Iterator<Item = (FieldName, usize)>) -> Vec<Vec<FieldName>> {
    let mut parts: Vec<Vec<FieldName>> = Vec::new();
    let mut room = 0;
    for (name, size) in fields {
        match parts.last_mut() {
            Some(part) if size <= room => {
                room -= size;
                part.push(name);
            }
            _ => {
                room = ROW_BYTES.saturating_sub(size);
                parts.push(vec![name]);
            }
        }
    }
    parts
}
