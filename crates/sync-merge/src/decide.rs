//! Lets the writes of a push stand against what is known of a record, and says what its client has to be told of that.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use sync_protocol::FieldName;

use crate::fold::{Candidate, Folded};
use crate::{Clash, Context, Correction, Held, Plan, Record, RowRef, Version, deleted_at};

/// What one change of the push has won.
#[derive(Default)]
pub(crate) struct Draft {
    pub(crate) won: Vec<(usize, FieldName)>,
    pub(crate) inserts: bool,
    pub(crate) to_everyone: bool,
    pub(crate) undated: bool,
}

/// How a write stands against the version that is held.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Won { tied: bool },
    Replayed,
    Lost,
}

fn compare(version: &Version, held: Option<&Held>) -> Standing {
    let Some(held) = held else {
        return Standing::Won { tied: false };
    };
    match version.cmp(&held.version) {
        Ordering::Greater => Standing::Won {
            tied: version.at == held.version.at,
        },
        Ordering::Equal => Standing::Replayed,
        Ordering::Less => Standing::Lost,
    }
}

/// Lets the folded writes of one record stand against what is known of it.
pub(crate) fn decide(
    plan: &mut Plan,
    context: &Context<'_>,
    record: usize,
    fold: Folded,
    drafts: &mut [Draft],
) {
    let known = &mut plan.records[record];
    if let Some(place) = fold.inserted_by
        && known.inserted.is_none()
    {
        drafts[place].inserts = true;
    }
    let before = Before::of(known, &fold);
    let mut told = BTreeSet::new();
    for (field, candidate) in fold.fields {
        let known = &mut plan.records[record];
        let standing = match known.fields.get(&field) {
            _ if candidate.superseded => Standing::Lost,
            held => compare(&candidate.version(context), held),
        };
        if candidate.overtook || matches!(standing, Standing::Lost | Standing::Won { tied: true }) {
            told.insert(field.clone());
        }
        match standing {
            Standing::Won { tied } => {
                drafts[candidate.place].to_everyone |= tied;
                win(known, context, field, candidate, drafts);
            }
            Standing::Lost if !candidate.superseded => {
                let pushed = candidate.version(context);
                let clash = clash(context, record, &known.fields[&field], &pushed, field);
                plan.clashes.extend(clash);
            }
            Standing::Lost | Standing::Replayed => {}
        }
    }
    tell(plan, context, record, &before, told, drafts);
}

/// What a push meets, and means, as to the delete of a record.
struct Before {
    was_deleted: bool,
    /// Whether the push itself deletes it without a time.
    deletes_undated: bool,
    /// The place of an insert that the push does not follow by a delete: whoever inserts a record believes that it is
    /// there.
    inserts_anew: Option<usize>,
}

impl Before {
    fn of(known: &Record, fold: &Folded) -> Self {
        let deletion = fold.fields.get(deleted_at());
        Self {
            was_deleted: known.is_deleted(),
            deletes_undated: deletion.is_some_and(|deletion| deletion.undated),
            inserts_anew: fold
                .inserted_by
                .filter(|place| deletion.is_none_or(|deletion| deletion.place < *place)),
        }
    }
}

/// Tells the client the winners of the fields in `told`, and what it may lack of a record that was deleted.
fn tell(
    plan: &mut Plan,
    context: &Context<'_>,
    record: usize,
    before: &Before,
    mut told: BTreeSet<FieldName>,
    drafts: &mut [Draft],
) {
    let known = &plan.records[record];
    if let (Some(place), true) = (before.inserts_anew, known.is_deleted()) {
        drafts[place].to_everyone = true;
        told.insert(deleted_at().clone());
    }
    let removed = was_removed(known, context) && !before.deletes_undated;
    let mut optional = BTreeSet::new();
    if known.is_deleted() {
        // Without it the client would make a live stump of the rest.
        if removed || !told.is_empty() {
            told.insert(deleted_at().clone());
        }
    } else {
        for (name, held) in &known.fields {
            if before.was_deleted && held.version.client != *context.client {
                told.insert(name.clone());
            } else if removed && told.insert(name.clone()) {
                optional.insert(name.clone());
            }
        }
    }
    let fields: Vec<_> = told
        .iter()
        .filter_map(|field| known.winner(field))
        .collect();
    if !fields.is_empty() {
        let mut authors = told
            .iter()
            .filter_map(|field| Some(&known.fields.get(field)?.author));
        let first = authors.next().cloned();
        let author = first.filter(|first| authors.all(|author| author == first));
        plan.corrections.push(Correction {
            record,
            author,
            optional,
            fields,
        });
    }
}

fn win(
    known: &mut Record,
    context: &Context<'_>,
    field: FieldName,
    candidate: Candidate,
    drafts: &mut [Draft],
) {
    let draft = &mut drafts[candidate.place];
    draft.won.push((candidate.order, field.clone()));
    draft.undated |= candidate.undated;
    let version = candidate.version(context);
    // The row is not there yet; it is set when it is appended.
    let row = RowRef::New(usize::MAX);
    let held = Held {
        version,
        author: context.user.clone(),
        row,
        to_everyone: false,
        is_absent: false,
    };
    known.fields.insert(field, held);
}

/// Whether a delete without a time is remembered: by such a one existing clients remove a record for good, own newer edits
/// that they have not pushed yet and all. Then nobody is known to hold what it pushes.
fn was_removed(record: &Record, context: &Context<'_>) -> bool {
    record.claims.has_timeless_delete(context)
}

/// A conflict, unless both say the same, or what stands is a later write of the very client that pushes: then it knows.
fn clash(
    context: &Context<'_>,
    record: usize,
    held: &Held,
    pushed: &Version,
    field: FieldName,
) -> Option<Clash> {
    let stands = &held.version;
    let is_own = held.author == *context.user && stands.client == pushed.client;
    let own_newer = is_own && stands.at > pushed.at;
    (!own_newer && stands.value != pushed.value).then(|| Clash {
        record,
        field,
        pushed: (pushed.value.clone(), pushed.at),
        stands: (stands.value.clone(), stands.at),
    })
}
