//! What a push does: which rows it appends, which rows die of it, and what its client is told.

use std::collections::BTreeSet;

use sync_protocol::{Change, ClientId, FieldName, FieldTime, Millis, Op, UserId, Value};

use crate::claim::LEAST_MEMORY_MILLIS;
use crate::correct::send_oversize_corrections_through_the_log;
use crate::decide::{Draft, decide};
use crate::fold::Folded;
use crate::transfer::{absorb, append_absorbed, append_tied};
use crate::{Move, Record, RowRef, deleted_at};

/// Who pushes, and when.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The verified user.
    pub user: &'a UserId,
    /// The client, as it calls itself.
    pub client: &'a ClientId,
    /// The time of receipt.
    pub now: Millis,
    /// How far ahead of `now` a time may be, in milliseconds.
    pub skew_millis: i64,
    /// How long claims are remembered, in milliseconds.
    pub history_millis: i64,
    /// The position up to which the client has read: rows of others behind it reach the client by themselves.
    pub seen: i64,
    /// How many bytes of corrections the answer can take; what is over it reaches the client through the log.
    pub correction_bytes: usize,
}

impl Context<'_> {
    /// The time before which claims do not count any more.
    pub(crate) fn oldest_claim(&self) -> FieldTime {
        let memory = self.history_millis.max(LEAST_MEMORY_MILLIS);
        FieldTime::from_millis(self.now.0.saturating_sub(memory))
    }

    pub(crate) fn is_ahead(&self, at: FieldTime) -> bool {
        at.millis() > self.now.0.saturating_add(self.skew_millis)
    }
}

/// Where a new row comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowOrigin {
    /// A change of the push, by its place among those given to [`plan`].
    Change(usize),
    /// The server: a record that has moved, or what clients have to read once more.
    Server,
}

/// A row to be appended to the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRow {
    /// The record, by its place among those given to [`plan`].
    pub record: usize,
    /// What it comes from.
    pub origin: RowOrigin,
    /// What it does.
    pub op: Op,
    /// The verified user whose writes they are.
    pub user: UserId,
    /// The client that made them.
    pub client: ClientId,
    /// Its fields: those that it has won, and copies that a reader needs beside them.
    pub fields: Vec<(FieldName, Value, FieldTime)>,
    /// Whether no insert of the record precedes it.
    pub opens: bool,
    /// Whether it goes out to the client that wrote it, too.
    pub to_everyone: bool,
    /// Whether it is a delete that came without a time.
    pub undated: bool,
}

/// A pushed field that lost against another value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clash {
    /// The record, by its place among those given to [`plan`].
    pub record: usize,
    /// The field.
    pub field: FieldName,
    /// What was pushed.
    pub pushed: (Value, FieldTime),
    /// What stands.
    pub stands: (Value, FieldTime),
}

/// The winners of those pushed fields of a record that lost or tied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Correction {
    /// The record, by its place among those given to [`plan`].
    pub record: usize,
    /// The user whose writes they are, if they are one user's.
    pub author: Option<UserId>,
    /// Those of them that are left out where the answer has no room: they are told for good measure.
    pub optional: BTreeSet<FieldName>,
    /// The winners with their times.
    pub fields: Vec<(FieldName, Value, FieldTime)>,
}

/// What a push does to what is stored, and what its client is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The rows to append, in order: those of records that have moved, those of changes, then the server's others.
    pub rows: Vec<NewRow>,
    /// The records afterwards, in the order in which they were given.
    pub records: Vec<Record>,
    /// Which of them differ from what was known.
    pub changed: Vec<usize>,
    /// Which of them are gone: all there was has moved into another record.
    pub gone: Vec<usize>,
    /// The positions of rows that are live no more.
    pub dead: Vec<i64>,
    /// The pushed fields that lost, by record and field.
    pub clashes: Vec<Clash>,
    /// What the client has to be told: fields that lost or tied, and what it may lack of a record that was deleted.
    pub corrections: Vec<Correction>,
    /// The first of `rows` that the client has to read itself, since the answer has no room for what it says.
    pub unread: Option<usize>,
    /// The `index` of each change that had a time further ahead than allowed.
    pub ahead: Vec<usize>,
}

impl Plan {
    /// The places of the rows that are not replaced by later ones of the plan itself.
    #[must_use]
    pub fn live_new_rows(&self) -> BTreeSet<usize> {
        let written: BTreeSet<usize> = self.rows.iter().map(|row| row.record).collect();
        let live = written
            .into_iter()
            .flat_map(|record| self.records[record].live_rows());
        live.filter_map(|row| match row {
            RowRef::New(place) => Some(place),
            RowRef::Stored(_) => None,
        })
        .collect()
    }
}

/// Decides what a push does. `records` are the records as they are known, `moves` those of them that move into others
/// (none of them twice), `changes` those of the push in order, each with the place of its record.
#[must_use]
pub fn plan(
    context: &Context<'_>,
    records: Vec<Record>,
    moves: &[Move],
    changes: &[(usize, &Change)],
) -> Plan {
    let before = records.clone();
    let mut plan = Plan {
        records,
        ..Plan::default()
    };
    let mut tied = Vec::new();
    for one in moves {
        tied.extend(absorb(&mut plan.records, context, one));
    }
    let mut folds: Vec<Folded> = before.iter().map(|_| Folded::default()).collect();
    for (place, (record, change)) in changes.iter().enumerate() {
        if folds[*record].take(&mut plan.records[*record], context, place, change) {
            plan.ahead.push(change.index);
        }
    }
    let mut drafts: Vec<Draft> = changes.iter().map(|_| Draft::default()).collect();
    for (record, fold) in folds.into_iter().enumerate() {
        decide(&mut plan, context, record, fold, &mut drafts);
    }
    for one in moves {
        append_absorbed(&mut plan, context, &before[one.from], one.to);
    }
    for (place, draft) in drafts.into_iter().enumerate() {
        append(&mut plan, context, &before, changes[place], place, draft);
    }
    for row in 0..plan.rows.len() {
        copy_beside(&mut plan, &before, row);
    }
    for row in &plan.rows {
        plan.records[row.record].version += 1;
    }
    append_tied(&mut plan, &before, tied);
    send_oversize_corrections_through_the_log(&mut plan, context, &before);
    for (record, known) in before.iter().enumerate() {
        close(&mut plan, record, known);
    }
    plan
}

/// Appends the row of one change, unless nothing is left of it.
fn append(
    plan: &mut Plan,
    context: &Context<'_>,
    before: &[Record],
    change: (usize, &Change),
    place: usize,
    mut draft: Draft,
) {
    let (record, change) = change;
    if draft.won.is_empty() && !draft.inserts {
        return;
    }
    let known = &mut plan.records[record];
    let row = RowRef::New(plan.rows.len());
    let opens = known.inserted.is_none();
    known.unchanged = None;
    if draft.inserts {
        known.inserted = Some(row);
    }
    draft.won.sort_unstable();
    let mut fields = Vec::with_capacity(draft.won.len());
    for (_, field) in draft.won {
        if let Some(held) = known.fields.get_mut(&field) {
            held.row = row;
        }
        fields.extend(known.winner(&field));
    }
    let only_deletes = matches!(fields.as_slice(), [(field, value, _)] if field == deleted_at() && !value.is_null());
    plan.rows.push(NewRow {
        record,
        origin: RowOrigin::Change(place),
        op: if change.op == Op::Delete && !only_deletes {
            Op::Update
        } else {
            change.op
        },
        user: context.user.clone(),
        client: context.client.clone(),
        fields,
        opens,
        to_everyone: draft.to_everyone || comes_back(known, &before[record]),
        undated: draft.undated,
    });
}

/// Whether a push undeletes a record. Taking back once more what was taken back already counts, too: the row of the
/// first time, and what was put beside its fields, goes when the second replaces it.
fn comes_back(after: &Record, before: &Record) -> bool {
    let deletion = |record: &Record| {
        record
            .fields
            .get(deleted_at())
            .map(|held| held.version.clone())
    };
    let (before, after) = (deletion(before), deletion(after));
    before.is_some() && before != after && after.is_some_and(|version| version.value.is_null())
}

/// Puts beside the fields of a row what a reader without the record needs: of a deleted record its `deletedAt`, of one
/// that comes back all of it.
pub(crate) fn copy_beside(plan: &mut Plan, before: &[Record], place: usize) {
    let row = &mut plan.rows[place];
    let after = &plan.records[row.record];
    let has_deletion = row.fields.iter().any(|(name, ..)| name == deleted_at());
    if after.is_deleted() && !has_deletion && after.fields[deleted_at()].row < RowRef::New(place) {
        row.fields.extend(after.winner(deleted_at()));
    }
    if has_deletion && comes_back(after, &before[row.record]) {
        let others = after
            .fields
            .keys()
            .filter(|name| row.fields.iter().all(|(own, ..)| own != *name));
        let copies: Vec<_> = others.filter_map(|field| after.winner(field)).collect();
        row.fields.extend(copies);
    }
}

/// Finds the rows of a record that are live no more, and whether anything of it has changed.
pub(crate) fn close(plan: &mut Plan, record: usize, known: &Record) {
    let after = plan.records[record].live_rows();
    plan.dead.extend(
        known
            .live_rows()
            .difference(&after)
            .filter_map(|row| match row {
                RowRef::Stored(position) => Some(*position),
                RowRef::New(_) => None,
            }),
    );
    let is_left = |record: &Record| !record.live_rows().is_empty();
    if is_left(known) && !is_left(&plan.records[record]) {
        plan.gone.push(record);
    } else if plan.records[record] != *known {
        plan.changed.push(record);
    }
}
