//! What an upload does, decided: each change is judged alone, by what was uploaded before, by the rows that it refers to, and
//! by the version of its row.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sync_merge::{Plan, Record, RowOrigin, RowRef};
use sync_protocol::rows::{
    DEFAULT_SCHEMA, Invalid, InvalidReason, RowChange, RowOp, RowOutcome, RowStatus, UploadAnswer,
};
use sync_protocol::{AppId, EventId, Millis, Parked, SUPPORTED_SCHEMA_VERSION};

use super::judge::judge;
use super::now::whole_row;
use super::references::parents;
use super::{RowAfter, Upload, Uploaded};
use crate::decision::at;
use crate::{
    Caller, Entry, Loaded, Position, RecordKey, RecordState, Scope, StoreError, Touched, Writes,
    personal,
};

/// An upload, before anything is loaded.
#[derive(Debug)]
pub struct UploadIntake {
    upload: Upload,
    scope: Scope,
    keys: BTreeMap<AppId, Vec<RecordKey>>,
}

/// What is remembered of an applied change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Logged {
    /// Of its operation, row and payload.
    pub digest: u64,
    /// The version that it made.
    pub version: i64,
}

/// What a store has loaded for an [`UploadIntake`].
#[derive(Debug, Default)]
pub struct UploadLoaded {
    /// The records of each app.
    pub records: BTreeMap<AppId, Loaded>,
    /// The changes of the device that were applied, by its numbers.
    pub logged: HashMap<i64, Logged>,
    /// The newest position of the user's personal scope, over all apps; 0 if there is none.
    pub greatest: Position,
}

/// What an upload does, before it has its positions.
#[derive(Debug)]
pub struct UploadDecision {
    caller: Caller,
    scope: Scope,
    now: Millis,
    changes: Vec<RowChange>,
    keys: Vec<(AppId, RecordKey)>,
    plan: Plan,
    /// The stored rows that are dead from now on.
    dead: Vec<(AppId, Position)>,
    event_ids: Vec<EventId>,
    outcomes: Vec<RowOutcome>,
    accepted: bool,
    logged: BTreeMap<i64, Logged>,
    greatest: Position,
}

/// What a store writes for an upload, in one transaction.
#[derive(Debug, Default)]
pub struct UploadWrites {
    /// What is written in each app. Rows may be dead from the beginning.
    pub apps: BTreeMap<AppId, Writes>,
    /// What is remembered of the device's changes, over what was remembered of the same numbers.
    pub logged: BTreeMap<i64, Logged>,
}

impl UploadIntake {
    /// Takes an upload.
    #[must_use]
    pub fn new(upload: Upload) -> Self {
        let scope = personal(&upload.caller.user);
        let mut wanted: BTreeMap<AppId, BTreeSet<RecordKey>> = BTreeMap::new();
        let mut want = |app: &AppId, table, record| {
            let key = RecordKey {
                scope: scope.clone(),
                table,
                record,
            };
            wanted.entry(app.clone()).or_default().insert(key);
        };
        let edits = upload.changes.iter().filter(|_| !upload.is_too_large());
        for edit in edits.filter_map(|change| change.edit.as_ref().ok()) {
            want(&edit.app, edit.table.clone(), edit.record.clone());
            for parent in parents(edit, &upload.tables) {
                want(&parent.table.0, parent.table.1, parent.record);
            }
        }
        let keys = wanted.into_iter();
        let keys = keys.map(|(app, keys)| (app, keys.into_iter().collect()));
        Self {
            keys: keys.collect(),
            scope,
            upload,
        }
    }

    /// The records to load, by app.
    #[must_use]
    pub fn keys(&self) -> &BTreeMap<AppId, Vec<RecordKey>> {
        &self.keys
    }

    /// The personal scope that is written.
    #[must_use]
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// The upload.
    #[must_use]
    pub fn upload(&self) -> &Upload {
        &self.upload
    }

    /// The device's numbers of its changes, of which the store says what is remembered; each once.
    #[must_use]
    pub fn change_ids(&self) -> Vec<i64> {
        let ids = self
            .upload
            .changes
            .iter()
            .filter(|_| !self.upload.is_too_large());
        let ids: BTreeSet<_> = ids.map(|change| change.source_change_id).collect();
        ids.into_iter().collect()
    }

    /// Decides what the upload does.
    ///
    /// # Errors
    ///
    /// [`StoreError::Fault`] if what was loaded cannot be read.
    pub fn decide(self, loaded: &UploadLoaded) -> Result<UploadDecision, StoreError> {
        let mut records = Vec::new();
        let mut keys = Vec::new();
        for (app, wanted) in &self.keys {
            for key in wanted {
                let of_app = loaded.records.get(app);
                let record = of_app.map(|loaded| loaded.read(key)).transpose()?;
                records.push(record.flatten().unwrap_or_default());
                keys.push((app.clone(), key.clone()));
            }
        }
        let judged = judge(&self.upload, loaded, &keys, &records);
        let Upload {
            caller,
            changes,
            now,
            mut ids,
            ..
        } = self.upload;
        let is_unknown = |outcome: &RowOutcome| {
            matches!(outcome, RowOutcome::Invalid(invalid) if matches!(
                invalid.reason,
                InvalidReason::UnregisteredTable(..) | InvalidReason::BatchTooLarge
            ))
        };
        Ok(UploadDecision {
            caller,
            scope: self.scope,
            now,
            changes,
            event_ids: judged.plan.rows.iter().map(|_| ids.fresh()).collect(),
            accepted: !judged.outcomes.iter().any(is_unknown),
            dead: dead(&keys, &records, &judged.plan),
            keys,
            plan: judged.plan,
            outcomes: judged.outcomes,
            logged: judged.logged,
            greatest: loaded.greatest,
        })
    }
}

impl UploadDecision {
    /// Who uploads.
    #[must_use]
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// The time of receipt.
    #[must_use]
    pub fn now(&self) -> Millis {
        self.now
    }

    /// How many positions to draw.
    #[must_use]
    pub fn positions(&self) -> usize {
        self.plan.rows.len()
    }

    /// What to write if the first of the positions drawn is `base` and the others follow it.
    #[must_use]
    pub fn writes(&self, base: Position) -> UploadWrites {
        let mut apps: BTreeMap<AppId, Writes> = BTreeMap::new();
        let live = self.plan.live_new_rows();
        for place in 0..self.plan.rows.len() {
            let entry = self.entry(place, at(base, place));
            let writes = apps.entry(entry.app.clone()).or_default();
            // A later change of the upload has replaced all of it.
            if !live.contains(&place) {
                writes.dead.push(entry.position);
            }
            writes.entries.push(entry);
        }
        for place in &self.plan.changed {
            let (app, key) = &self.keys[*place];
            let state = RecordState::write(&self.plan.records[*place], base.0);
            let writes = apps.entry(app.clone()).or_default();
            writes.records.push((key.clone(), state));
        }
        for (app, position) in &self.dead {
            let writes = apps.entry(app.clone()).or_default();
            writes.dead.push(*position);
        }
        for (app, parked) in self.parked() {
            apps.entry(app).or_default().parked.push(parked);
        }
        UploadWrites {
            apps,
            logged: self.logged.clone(),
        }
    }

    fn entry(&self, place: usize, position: Position) -> Entry {
        let row = &self.plan.rows[place];
        let (app, key) = &self.keys[row.record];
        let change = match row.origin {
            RowOrigin::Change(change) => Some(self.changes[change].source_change_id),
            RowOrigin::Server => None,
        };
        Entry {
            position,
            scope: key.scope.clone(),
            app: app.clone(),
            table: key.table.clone(),
            record: key.record.clone(),
            event_id: self.event_ids[place],
            op: row.op,
            fields: row.fields.clone(),
            user: row.user.clone(),
            client: row.client.clone(),
            space: self.plan.records[row.record].meant_for.clone(),
            received: self.now,
            schema_version: SUPPORTED_SCHEMA_VERSION,
            actor: None,
            origin: None,
            opens: row.opens,
            to_everyone: row.to_everyone,
            undated: row.undated,
            source_change_id: change,
        }
    }

    /// What its device would drop without a word: kept aside for its user (P7).
    fn parked(&self) -> impl Iterator<Item = (AppId, Parked)> {
        let outcomes = self.changes.iter().zip(&self.outcomes).enumerate();
        outcomes.filter_map(|(index, (change, outcome))| {
            let RowOutcome::Invalid(Invalid { reason, message }) = outcome else {
                return None;
            };
            let dropped = matches!(
                reason,
                InvalidReason::BadPayload | InvalidReason::UnregisteredTable(..)
            );
            let app = match &change.edit {
                Ok(edit) => Some(edit.app.clone()),
                Err(fault) => fault.app.clone(),
            };
            let default = || AppId::new(DEFAULT_SCHEMA).expect("a plain word is an identifier");
            let parked = Parked {
                index,
                raw: change.raw.clone(),
                reason: message.clone(),
            };
            dropped.then(|| (app.unwrap_or_else(default), parked))
        })
    }

    /// The rows that were written, as they are now, each once and in the order in which they were written last.
    #[must_use]
    pub fn rows_after(&self) -> Vec<RowAfter> {
        let rows = self.plan.rows.iter().enumerate();
        let last: BTreeMap<usize, usize> = rows.map(|(place, row)| (row.record, place)).collect();
        let mut last: Vec<_> = last.into_iter().collect();
        last.sort_unstable_by_key(|(_, place)| *place);
        let after = last.into_iter().map(|(record, place)| {
            let (app, key) = &self.keys[record];
            let known = &self.plan.records[record];
            RowAfter {
                app: app.clone(),
                table: key.table.clone(),
                record: key.record.clone(),
                version: known.version,
                op: shown_op(self.plan.rows[place].op, known),
                payload: whole_row(known, &key.record),
            }
        });
        after.collect()
    }

    /// What the device is told, with the first position that was drawn for it.
    #[must_use]
    pub fn answer(self, base: Position) -> Uploaded {
        let touched = self.touched(base);
        let highest = match self.plan.rows.len().checked_sub(1) {
            Some(last) => at(base, last),
            None => self.greatest,
        };
        let statuses = std::iter::zip(&self.changes, self.outcomes);
        let statuses = statuses.map(|(change, outcome)| RowStatus {
            source_change_id: change.source_change_id,
            outcome,
        });
        Uploaded {
            answer: UploadAnswer {
                accepted: self.accepted,
                highest_server_seq: highest.0,
                statuses: statuses.collect(),
            },
            touched,
        }
    }

    fn touched(&self, base: Position) -> Vec<(AppId, Touched)> {
        let mut touched: BTreeMap<(&AppId, bool), (BTreeSet<_>, Position)> = BTreeMap::new();
        for (place, row) in self.plan.rows.iter().enumerate() {
            let (app, key) = &self.keys[row.record];
            let (tables, position) = touched.entry((app, row.to_everyone)).or_default();
            tables.insert(key.table.clone());
            *position = at(base, place);
        }
        let touched = touched.into_iter();
        touched
            .map(|((app, to_everyone), (tables, position))| {
                let touched = Touched {
                    scope: self.scope.clone(),
                    tables,
                    position,
                    to_everyone,
                };
                (app.clone(), touched)
            })
            .collect()
    }
}

/// The word by which a row is shown whose last change was called this.
pub(super) fn shown_op(op: sync_protocol::Op, record: &Record) -> RowOp {
    match op {
        _ if record.is_deleted() => RowOp::Delete,
        sync_protocol::Op::Insert => RowOp::Insert,
        sync_protocol::Op::Update | sync_protocol::Op::Delete => RowOp::Update,
    }
}

/// The stored rows that were live and are no more.
fn dead(keys: &[(AppId, RecordKey)], before: &[Record], plan: &Plan) -> Vec<(AppId, Position)> {
    let mut dead = Vec::new();
    for ((app, _), (before, after)) in keys.iter().zip(before.iter().zip(&plan.records)) {
        for row in before.live_rows().difference(&after.live_rows()) {
            if let RowRef::Stored(position) = row {
                dead.push((app.clone(), Position(*position)));
            }
        }
    }
    dead
}
