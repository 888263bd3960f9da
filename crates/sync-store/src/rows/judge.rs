//! Judges the changes of an upload one by one: by what was uploaded before, by the rows that each refers to, and by the
//! version of its row (`rows.md`, 3).

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use sync_merge::{Plan, Record, RowPlanner, RowWrite, Verdict, digest};
use sync_protocol::rows::{
    Invalid, InvalidReason, RowChange, RowEdit, RowOp, RowOutcome, ServerRow,
};
use sync_protocol::{AppId, FieldName, Op, RecordId, TableName, Value};

use super::now::whole_row;
use super::order::order;
use super::references::{Parent, are_readable, parents};
use super::{Logged, Upload, UploadLoaded};
use crate::room::{MAX_RECORD_BYTES, MAX_RECORD_FIELDS};
use crate::{RecordKey, personal};

/// What came of all changes.
pub(super) struct Judged {
    pub(super) plan: Plan,
    pub(super) outcomes: Vec<RowOutcome>,
    /// What is to be remembered, by the device's numbers.
    pub(super) logged: BTreeMap<i64, Logged>,
}

/// How many times the fields that a record may have at once it may have had, absent ones counted.
const MAX_NAMES: usize = 4;
/// How often an upload is gone through at the most.
const MAX_PASSES: usize = 4;
/// About how many bytes of rows the conflicts of one answer show; the changes behind are to be sent again.
const CONFLICT_BYTES: usize = 16 * 1024 * 1024;

/// Judges the changes of an upload against these records, of which `keys` are the keys.
pub(super) fn judge(
    upload: &Upload,
    loaded: &UploadLoaded,
    keys: &[(AppId, RecordKey)],
    records: &[Record],
) -> Judged {
    let bytes = std::iter::zip(keys, records).map(|((app, _), record)| {
        let loaded = loaded.records.get(app);
        loaded.map_or(0, |loaded| loaded.bytes_of(record))
    });
    let mut judge = Judge {
        upload,
        loaded,
        keys,
        places: keys.iter().cloned().zip(0..).collect(),
        bytes: bytes.collect(),
        changes: Vec::new(),
        refused: BTreeSet::new(),
        assumes: true,
    };
    let known = upload.changes.iter().filter(|_| !upload.is_too_large());
    judge.changes = known
        .map(|change| {
            let edit = change.edit.as_ref().ok()?;
            Some((
                judge.find(&edit.app, &edit.table, &edit.record),
                content(edit),
            ))
        })
        .collect();
    judge.judge(records)
}

struct Judge<'a> {
    upload: &'a Upload,
    loaded: &'a UploadLoaded,
    keys: &'a [(AppId, RecordKey)],
    places: HashMap<(AppId, RecordKey), usize>,
    /// How many bytes of values each record has.
    bytes: Vec<usize>,
    /// Of each change that was understood the place of its row, and what it says.
    changes: Vec<Option<(usize, u64)>>,
    /// The changes that count on a parent of this very upload which has turned out not to come.
    refused: BTreeSet<usize>,
    /// Whether a change may count on a parent that is still to come.
    assumes: bool,
}

impl Judge<'_> {
    fn judge(mut self, records: &[Record]) -> Judged {
        let changes = &self.upload.changes;
        if self.upload.is_too_large() {
            let limit = self.upload.tables.limits.changes;
            let text = format!("batch too large: changes={} limit={limit}", changes.len());
            let too_large = || invalid(InvalidReason::BatchTooLarge, text.clone());
            return Judged {
                plan: Plan::default(),
                outcomes: changes.iter().map(|_| too_large()).collect(),
                logged: BTreeMap::new(),
            };
        }
        let first = changes.iter().enumerate();
        let first: Vec<_> = first
            .map(|(place, change)| self.at_sight(place, change))
            .collect();
        let open = std::iter::zip(changes, &first).enumerate();
        let open = open.filter(|(_, (_, outcome))| outcome.is_none());
        let open =
            open.filter_map(|(place, (change, _))| Some((place, change.edit.as_ref().ok()?)));
        let open: Vec<_> = open.collect();
        let order = order(&open, &self.upload.tables);
        for number in 1.. {
            // Where circles hang on each other, none of them counts on what is still to come.
            self.assumes = number < MAX_PASSES;
            let mut pass = Pass::new(&self, records, first.clone());
            for place in &order {
                pass.take(*place);
            }
            let wrong = pass.wrongly_assumed();
            if wrong.is_empty() {
                return pass.finish();
            }
            self.refused.extend(wrong);
        }
        unreachable!("the last pass assumes nothing")
    }

    /// What becomes of a change whatever the rows are; `None` if that depends on them. A replay comes first: what was applied
    /// once does not become a fault.
    fn at_sight(&self, place: usize, change: &RowChange) -> Option<RowOutcome> {
        let bad = |message: String| Some(invalid(InvalidReason::BadPayload, message));
        let edit = match &change.edit {
            Ok(edit) => edit,
            Err(fault) => return bad(fault.message.clone()),
        };
        let tables = &self.upload.tables;
        if let Some(logged) = self.loaded.logged.get(&change.source_change_id)
            && self.changes[place].is_some_and(|(_, content)| content == logged.digest)
        {
            return Some(RowOutcome::Applied(Some(logged.version)));
        }
        let (app, table) = (&edit.app, &edit.table);
        if !tables.has(app, table) {
            let reason = InvalidReason::UnregisteredTable(app.clone(), table.clone());
            return Some(invalid(
                reason,
                format!("table not registered {app}.{table}"),
            ));
        }
        let most = tables.limits.payload_bytes;
        if edit.payload_bytes > most {
            let bytes = edit.payload_bytes;
            return bad(format!("bad_payload: payload too large: {bytes} > {most}"));
        }
        if !are_readable(edit, tables) {
            let pk = &edit.record;
            return bad(format!("bad payload for {app}.{table} pk={pk}"));
        }
        None
    }

    fn place_of_parent(&self, parent: &Parent) -> usize {
        let (app, table) = &parent.table;
        self.find(app, table, &parent.record)
    }

    fn find(&self, app: &AppId, table: &TableName, record: &RecordId) -> usize {
        let key = RecordKey {
            scope: personal(&self.upload.caller.user),
            table: table.clone(),
            record: record.clone(),
        };
        self.places[&(app.clone(), key)]
    }
}

/// One way through the changes.
struct Pass<'a> {
    judge: &'a Judge<'a>,
    planner: RowPlanner<'a>,
    outcomes: Vec<Option<RowOutcome>>,
    logged: BTreeMap<i64, Logged>,
    /// The upserts that are still to come, by the place of their row.
    coming: HashMap<usize, usize>,
    /// The changes that count on a row that is still to come, and the place of that.
    assumed: Vec<(usize, usize)>,
    /// The rows that have come.
    came: HashSet<usize>,
    /// How many bytes of rows conflicts may still show.
    room: usize,
}

impl<'a> Pass<'a> {
    fn new(judge: &'a Judge<'a>, records: &[Record], outcomes: Vec<Option<RowOutcome>>) -> Self {
        let Upload {
            caller,
            now,
            changes,
            ..
        } = judge.upload;
        let mut coming: HashMap<usize, usize> = HashMap::new();
        for (place, change) in changes.iter().enumerate() {
            if let (Ok(edit), None, Some((row, _))) =
                (&change.edit, &outcomes[place], judge.changes[place])
                && edit.payload.is_some()
            {
                *coming.entry(row).or_default() += 1;
            }
        }
        Self {
            judge,
            planner: RowPlanner::new(&caller.user, &caller.client, *now, records.to_vec()),
            outcomes,
            logged: BTreeMap::new(),
            coming,
            assumed: Vec::new(),
            came: HashSet::new(),
            room: CONFLICT_BYTES,
        }
    }

    fn take(&mut self, place: usize) {
        let change = &self.judge.upload.changes[place];
        let (Ok(edit), Some((row, content))) = (&change.edit, self.judge.changes[place]) else {
            return;
        };
        if edit.payload.is_some()
            && let Some(coming) = self.coming.get_mut(&row)
        {
            *coming -= 1;
        }
        let outcome = match self.logged.get(&change.source_change_id) {
            Some(logged) if logged.digest == content => RowOutcome::Applied(None),
            Some(_) => used_twice(change.source_change_id),
            None => self.outcome(place, edit, row),
        };
        if let RowOutcome::Applied(Some(version)) = outcome {
            let logged = Logged {
                digest: content,
                version,
            };
            self.logged.insert(change.source_change_id, logged);
            self.came.extend(edit.payload.as_ref().map(|_| row));
        }
        self.outcomes[place] = Some(outcome);
    }

    fn outcome(&mut self, place: usize, edit: &RowEdit, row: usize) -> RowOutcome {
        if let Some(missing) = self.missing_parents(place, edit, row) {
            return invalid(InvalidReason::ForeignKeyMissing(missing), String::new());
        }
        if !self.has_room(edit, row) {
            let most = MAX_RECORD_BYTES / 1024 / 1024;
            let text = format!(
                "bad_payload: the row would have more than {MAX_RECORD_FIELDS} fields or {most} MiB"
            );
            return invalid(InvalidReason::BadPayload, text);
        }
        let write = RowWrite {
            change: place,
            op: op(edit.op),
            version: edit.version,
            payload: edit.payload.as_ref(),
        };
        match self.planner.write(row, write) {
            Verdict::Applied(version) => RowOutcome::Applied(Some(version)),
            Verdict::NothingThere => RowOutcome::Applied(None),
            Verdict::Conflict => self.conflict(row),
            Verdict::Unknown => {
                let (app, table, pk) = (&edit.app, &edit.table, &edit.record);
                let text = format!("conflict without server_row for {app}.{table} pk={pk}");
                invalid(InvalidReason::InternalError, text)
            }
        }
    }

    /// Whether a row may take a change in.
    fn has_room(&self, edit: &RowEdit, row: usize) -> bool {
        let Some(payload) = &edit.payload else {
            return true;
        };
        let known = self.planner.record(row);
        let holds = |name: &FieldName| known.fields.get(name).filter(|held| !held.is_absent);
        let names = payload.0.iter().map(|(name, _)| name);
        let new = names.filter(|name| holds(name).is_none()).count();
        let held = known.fields.values().filter(|held| !held.is_absent).count();
        let bytes = self.judge.bytes[row] + edit.payload_bytes;
        held + new <= MAX_RECORD_FIELDS
            && known.fields.len() + new <= MAX_NAMES * MAX_RECORD_FIELDS
            && bytes <= MAX_RECORD_BYTES
    }

    /// The parents of a change that are not there; `None` if all are, or are still to come.
    fn missing_parents(&mut self, place: usize, edit: &RowEdit, row: usize) -> Option<Vec<String>> {
        let mut missing = Vec::new();
        for parent in parents(edit, &self.judge.upload.tables) {
            let of_parent = self.judge.place_of_parent(&parent);
            let known = self.planner.record(of_parent);
            if of_parent == row || known.is_row() && !known.is_deleted() {
                continue;
            }
            let comes = self
                .coming
                .get(&of_parent)
                .is_some_and(|coming| *coming > 0);
            if comes && self.judge.assumes && !self.judge.refused.contains(&place) {
                self.assumed.push((place, of_parent));
            } else {
                let (app, table) = &parent.table;
                missing.push(format!("{app}.{table}:{}", parent.sent));
            }
        }
        (!missing.is_empty()).then_some(missing)
    }

    /// The row as it stands, if the answer has room for it; the first has.
    fn conflict(&mut self, row: usize) -> RowOutcome {
        if self.room == 0 {
            let text = "the answer has no room to show this conflict: send the change again";
            return invalid(InvalidReason::InternalError, text.to_owned());
        }
        let (app, key) = &self.judge.keys[row];
        let known = self.planner.record(row);
        let payload = whole_row(known, &key.record);
        let shown = payload.iter().flat_map(|payload| &payload.0);
        let shown = shown.map(|(name, value)| name.as_str().len() + value.as_str().len() + 8);
        self.room = self.room.saturating_sub(shown.sum());
        RowOutcome::Conflict(ServerRow {
            schema_name: app.clone(),
            table_name: key.table.clone(),
            id: key.record.clone(),
            server_version: known.version,
            deleted: known.is_deleted(),
            payload,
        })
    }

    /// The changes that stand though the rows that they counted on have not come.
    fn wrongly_assumed(&self) -> Vec<usize> {
        let stands =
            |place: &usize| matches!(self.outcomes[*place], Some(RowOutcome::Applied(Some(_))));
        let assumed = self.assumed.iter();
        let wrong = assumed.filter(|(place, parent)| stands(place) && !self.came.contains(parent));
        wrong.map(|(place, _)| *place).collect()
    }

    fn finish(self) -> Judged {
        let outcomes = self.outcomes.into_iter();
        let unjudged = || invalid(InvalidReason::InternalError, "not judged".to_owned());
        Judged {
            plan: self.planner.finish(),
            outcomes: outcomes
                .map(|outcome| outcome.unwrap_or_else(unjudged))
                .collect(),
            logged: self.logged,
        }
    }
}

/// What a change says, as far as it has to be the same for it to be the same change: operation, row and payload.
fn content(edit: &RowEdit) -> u64 {
    let payload = edit.payload.as_ref().map(|payload| {
        let mut members: Vec<(&FieldName, &Value)> = payload
            .0
            .iter()
            .map(|(name, value)| (name, value))
            .collect();
        members.sort_unstable();
        members
    });
    let told = (
        edit.op.as_str(),
        &edit.app,
        &edit.table,
        &edit.record,
        payload,
    );
    digest(&serde_json::to_vec(&told).expect("names and values are always JSON"))
}

/// The word that the log keeps.
pub(super) fn op(op: RowOp) -> Op {
    match op {
        RowOp::Insert => Op::Insert,
        RowOp::Update => Op::Update,
        RowOp::Delete => Op::Delete,
    }
}

fn used_twice(id: i64) -> RowOutcome {
    let text = format!(
        "source_change_id {id} is used twice in this upload: send the other change again, with a number of its own"
    );
    invalid(InvalidReason::InternalError, text)
}

fn invalid(reason: InvalidReason, message: String) -> RowOutcome {
    RowOutcome::Invalid(Invalid { reason, message })
}
