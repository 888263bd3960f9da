//! How much a record may hold, and what becomes of a change or a move by which it would hold more.

use std::collections::BTreeSet;

use sync_merge::{Move, Record, RowRef, Version};
use sync_protocol::{Change, FieldName, FieldWrite, Parked};

use crate::Push;
use crate::state::Rows;

/// The most bytes that the live rows of a record have; a change that would make it more is parked.
pub(crate) const MAX_RECORD_BYTES: usize = 64 * 1024 * 1024;
/// The most fields of a record; a change that would make it more is parked.
pub(crate) const MAX_RECORD_FIELDS: usize = 4000;

/// Whether a record may take another one in. Else that one stays where it is.
pub(crate) fn has_room(records: &[Record], one: &Move, rows: &Rows) -> bool {
    let both = Size::of(&[&records[one.to], &records[one.from]], rows);
    both.fields <= MAX_RECORD_FIELDS && both.bytes <= MAX_RECORD_BYTES
}

/// Keeps aside the changes by which a record would hold more than it may.
pub(crate) fn park_what_is_too_much(
    push: &mut Push,
    targets: &mut Vec<usize>,
    mut sizes: Sizes<'_>,
) {
    let fits: Vec<bool> = std::iter::zip(&push.changes, targets.iter())
        .map(|(change, target)| sizes.of(*target).takes(change))
        .collect();
    if fits.iter().all(|fits| *fits) {
        return;
    }
    let mut verdicts = fits.iter();
    targets.retain(|_| *verdicts.next().unwrap_or(&true));
    let mut verdicts = fits.into_iter();
    let (kept, aside): (Vec<_>, Vec<_>) = std::mem::take(&mut push.changes)
        .into_iter()
        .partition(|_| verdicts.next().unwrap_or(true));
    push.changes = kept;
    push.parked.extend(aside.into_iter().map(|change| Parked {
        index: change.index,
        raw: change.raw,
        reason: format!(
            "its record would have more than {MAX_RECORD_FIELDS} fields or {} MiB",
            MAX_RECORD_BYTES / 1024 / 1024
        ),
    }));
}

/// How much each of some records holds, with what moves into it; looked at as it is asked for.
pub(crate) struct Sizes<'a> {
    records: &'a [Record],
    moves: &'a [Move],
    rows: &'a Rows,
    of: Vec<Option<Size<'a>>>,
}

impl<'a> Sizes<'a> {
    pub(crate) fn new(records: &'a [Record], moves: &'a [Move], rows: &'a Rows) -> Self {
        Self {
            records,
            moves,
            rows,
            of: records.iter().map(|_| None).collect(),
        }
    }

    fn of(&mut self, record: usize) -> &mut Size<'a> {
        self.of[record].get_or_insert_with(|| {
            let moved = self.moves.iter().filter(|one| one.to == record);
            let moved = moved.map(|one| &self.records[one.from]);
            let parts: Vec<_> = std::iter::once(&self.records[record])
                .chain(moved)
                .collect();
            Size::of(&parts, self.rows)
        })
    }
}

/// How much a record holds, with what the changes before have added.
struct Size<'a> {
    /// What it is made of.
    parts: Vec<&'a Record>,
    fields: usize,
    added: BTreeSet<FieldName>,
    bytes: usize,
}

impl<'a> Size<'a> {
    fn of(parts: &[&'a Record], rows: &Rows) -> Self {
        let bytes = |row| match row {
            RowRef::Stored(position) => rows.get(&position).map_or(0, |row| row.bytes),
            RowRef::New(_) => 0,
        };
        let names = parts.iter().flat_map(|part| part.fields.keys());
        let live = parts.iter().flat_map(|part| part.live_rows());
        Self {
            parts: parts.to_vec(),
            fields: names.collect::<BTreeSet<_>>().len(),
            added: BTreeSet::new(),
            bytes: live.map(bytes).sum(),
        }
    }

    fn held(&self, name: &FieldName) -> Option<&'a Version> {
        let held = self.parts.iter().filter_map(|part| part.fields.get(name));
        held.map(|held| &held.version).max()
    }

    /// Whether a change still fits; then it is counted.
    fn takes(&mut self, change: &Change) -> bool {
        let adds = |write: &&FieldWrite| {
            let held = self.held(&write.name);
            held.is_none_or(|held| write.at >= held.at && write.value != held.value)
        };
        let effective = || change.writes.iter().filter(adds);
        let new: BTreeSet<_> = effective()
            .map(|write| &write.name)
            .filter(|name| self.held(name).is_none() && !self.added.contains(*name))
            .cloned()
            .collect();
        let bytes: usize = effective().map(|write| write.value.as_str().len()).sum();
        // What adds nothing (a replay, a write that loses, a delete) always fits.
        let fields = self.fields + self.added.len() + new.len();
        let fits = (new.is_empty() || fields <= MAX_RECORD_FIELDS)
            && (bytes == 0 || self.bytes + bytes <= MAX_RECORD_BYTES);
        if fits {
            self.added.extend(new);
            self.bytes += bytes;
        }
        fits
    }
}
