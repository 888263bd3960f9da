//! What of the corrections does not fit into the answer of a push reaches its client through the log.

use std::collections::BTreeMap;

use sync_protocol::{ClientId, FieldName, FieldTime, Op, UserId, Value};

use crate::plan::copy_beside;
use crate::{Context, Correction, Held, NewRow, Plan, Record, RowOrigin, RowRef};

/// Sends the corrections for which the answer has no room through the log. What a new row says already is read there,
/// what a row of somebody else that the client has not read yet says comes by itself, and the rest is appended again.
pub(crate) fn send_oversize_corrections_through_the_log(
    plan: &mut Plan,
    context: &Context<'_>,
    before: &[Record],
) {
    let mut room = context.correction_bytes;
    for correction in std::mem::take(&mut plan.corrections) {
        let mut correction = correction;
        if size(&correction) > room {
            let optional = std::mem::take(&mut correction.optional);
            correction
                .fields
                .retain(|(name, ..)| !optional.contains(name));
        }
        let size = size(&correction);
        if size <= room {
            room -= size;
            plan.corrections.extend((size > 0).then_some(correction));
            continue;
        }
        let Correction { record, fields, .. } = correction;
        let mut left = Vec::new();
        for field in fields {
            if !is_read_in_new_row(plan, record, &field)
                && !comes_by_itself(&plan.records[record].fields[&field.0], context)
            {
                left.push(field);
            }
        }
        append_again(plan, record, left, before);
    }
}

fn size(correction: &Correction) -> usize {
    let fields = correction.fields.iter();
    fields
        .map(|(name, value, _)| written_size(name, value))
        .sum()
}

/// Whether a row of this push has the field; then its client has to read that row.
fn is_read_in_new_row(
    plan: &mut Plan,
    record: usize,
    field: &(FieldName, Value, FieldTime),
) -> bool {
    let has = |row: &NewRow| row.record == record && row.fields.contains(field);
    let Some(place) = plan.rows.iter().position(has) else {
        return false;
    };
    plan.rows[place].to_everyone = true;
    plan.unread = Some(plan.unread.map_or(place, |first| first.min(place)));
    true
}

fn comes_by_itself(held: &Held, context: &Context<'_>) -> bool {
    let own = held.version.client == *context.client && held.author == *context.user;
    (!own || held.to_everyone)
        && matches!(held.row, RowRef::Stored(position) if position > context.seen)
}

/// Appends winners once more, so that the delta brings them to every client: a row for each author, since a row has one.
pub(crate) fn append_again(
    plan: &mut Plan,
    record: usize,
    fields: Vec<(FieldName, Value, FieldTime)>,
    before: &[Record],
) {
    let mut by_author: BTreeMap<(UserId, ClientId), Vec<_>> = BTreeMap::new();
    for field in fields {
        let held = &plan.records[record].fields[&field.0];
        let author = (held.author.clone(), held.version.client.clone());
        by_author.entry(author).or_default().push(field);
    }
    for ((user, client), fields) in by_author {
        let place = plan.rows.len();
        let known = &mut plan.records[record];
        for (field, ..) in &fields {
            if let Some(held) = known.fields.get_mut(field) {
                held.row = RowRef::New(place);
            }
        }
        plan.rows.push(NewRow {
            record,
            origin: RowOrigin::Server,
            op: Op::Update,
            user,
            client,
            fields,
            opens: known.inserted.is_none(),
            to_everyone: true,
            undated: false,
        });
        plan.unread.get_or_insert(place);
        copy_beside(plan, before, place);
    }
}

/// About how many bytes a field takes in an answer: its name, its value, and its time twice.
fn written_size(name: &FieldName, value: &Value) -> usize {
    name.as_str().len() + value.as_str().len() + 100
}
