//! What a push needs before it can be decided: what to lock, and what to load.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use sync_merge::{Deletion, Move, Record, RowRef, deleted_at};
use sync_protocol::{Change, EventId, FieldWrite, Op, RecordId, TableName, UserId};

use crate::room::{Sizes, has_room, park_what_is_too_much};
use crate::state::{Row, Rows};
use crate::targets::{Known, Targets, key};
use crate::{
    Caller, Decision, Denied, Position, Push, Reach, RecordState, Rules, Scope, StoreError, Writes,
};

/// The most bytes of values that are loaded for one push.
pub const MAX_LOAD_BYTES: usize = 256 * 1024 * 1024;

/// What a record is keyed by, within an app.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordKey {
    /// Its scope.
    pub scope: Scope,
    /// Its table.
    pub table: TableName,
    /// Its id.
    pub record: RecordId,
}

/// A push with the reach of its caller, before anything is loaded.
#[derive(Debug)]
pub struct Intake {
    push: Push,
    reach: Reach,
    written: BTreeSet<Scope>,
    /// Personal records that move, and where to, whatever the changes say.
    promoted: Vec<(RecordKey, RecordKey)>,
}

/// Scopes must be locked for writing that are locked for reading only: roll back and start over with them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScopesMissing(pub BTreeSet<Scope>);

/// What a store has loaded for an [`Intake`].
#[derive(Debug, Default)]
pub struct Loaded {
    records: HashMap<RecordKey, (String, i64)>,
    rows: Rows,
    taken: HashSet<EventId>,
    bytes: usize,
}

/// A live row of a loaded record, as its columns have it.
#[derive(Clone, Copy, Debug)]
pub struct LoadedRow<'a> {
    /// Its place in the log.
    pub position: Position,
    /// The user that wrote it.
    pub user: &'a str,
    /// Whether it goes out to the client that wrote it, too.
    pub to_everyone: bool,
    /// Its values.
    pub data: &'a str,
    /// Their times.
    pub field_timestamps: &'a str,
}

impl Loaded {
    /// Adds a record: its text and its version, as [`RecordState`] wrote them.
    pub fn record(&mut self, key: RecordKey, state: String, version: i64) {
        self.bytes += state.len();
        self.records.insert(key, (state, version));
    }

    /// Whether the user has a change of this event id already.
    pub(crate) fn taken(&self) -> &HashSet<EventId> {
        &self.taken
    }

    /// Adds a live row of a loaded record.
    ///
    /// # Errors
    ///
    /// [`StoreError::TooLarge`] once all of them have more than [`MAX_LOAD_BYTES`]; [`StoreError::Fault`] if the
    /// columns cannot be read.
    pub fn row(&mut self, row: LoadedRow<'_>) -> Result<(), StoreError> {
        let bytes = row.data.len();
        self.bytes += bytes;
        if self.bytes > MAX_LOAD_BYTES {
            return Err(Self::too_large());
        }
        let user = UserId::new(row.user)
            .map_err(|error| StoreError::fault(format!("the user of a row {error}")))?;
        let fields = crate::read_fields(row.data, row.field_timestamps)?;
        let loaded = Row {
            user,
            to_everyone: row.to_everyone,
            bytes,
            values: fields
                .into_iter()
                .map(|(name, value, _)| (name, value))
                .collect(),
        };
        self.rows.insert(row.position.0, loaded);
        Ok(())
    }

    /// A record, if it was loaded and is there.
    pub(crate) fn read(&self, key: &RecordKey) -> Result<Option<Record>, StoreError> {
        let Some((state, version)) = self.records.get(key) else {
            return Ok(None);
        };
        RecordState::read(state, *version, &self.rows).map(Some)
    }

    /// Takes up what was decided on it, as if it had been written and loaded again.
    pub(crate) fn follow(&mut self, writes: &Writes) {
        for entry in &writes.entries {
            let bytes = entry.data().len();
            self.bytes += bytes;
            let values = entry.fields.iter();
            let row = Row {
                user: entry.user.clone(),
                to_everyone: entry.to_everyone,
                bytes,
                values: values
                    .map(|(name, value, _)| (name.clone(), value.clone()))
                    .collect(),
            };
            self.rows.insert(entry.position.0, row);
        }
        for Position(position) in &writes.dead {
            let row = self.rows.remove(position);
            self.bytes -= row.map_or(0, |row| row.bytes).min(self.bytes);
        }
        for (key, state) in &writes.records {
            self.records
                .insert(key.clone(), (state.state.clone(), state.version));
        }
        for key in &writes.gone {
            self.records.remove(key);
        }
    }

    /// What a client is told that needs more than [`MAX_LOAD_BYTES`].
    #[must_use]
    pub fn too_large() -> StoreError {
        StoreError::TooLarge(format!(
            "the records that these changes touch hold more than {} MiB: push fewer changes at once",
            MAX_LOAD_BYTES / 1024 / 1024
        ))
    }

    /// Says that this user has a change of this event id already.
    pub fn event(&mut self, event_id: EventId) {
        self.taken.insert(event_id);
    }
}

impl Intake {
    /// Takes a push and what its caller reaches. `written` names scopes to be locked for writing beyond those that the
    /// changes name: those that an earlier attempt found missing.
    #[must_use]
    pub fn new(push: Push, reach: Reach, written: &BTreeSet<Scope>) -> Self {
        let named = push
            .changes
            .iter()
            .filter_map(|change| reach.writable_space(change.shared_space()?))
            .cloned();
        let written = named
            .chain(written.iter().cloned())
            .chain([reach.personal().clone()])
            .collect();
        Self {
            push,
            reach,
            written,
            promoted: Vec::new(),
        }
    }

    /// Takes personal records that are to move into spaces, of which those that the caller may not write are left out.
    pub(crate) fn promotion(push: Push, reach: Reach, denied: &[Denied]) -> Self {
        let mut intake = Self::new(push, reach, &BTreeSet::new());
        for one in denied {
            let Some(scope) = intake.reach.writable_space(&one.space) else {
                continue;
            };
            let key = |scope: &Scope| RecordKey {
                scope: scope.clone(),
                table: one.table.clone(),
                record: one.record.clone(),
            };
            intake.written.insert(scope.clone());
            let moved = (key(intake.reach.personal()), key(scope));
            intake.promoted.push(moved);
        }
        intake
    }

    /// The push.
    #[must_use]
    pub fn push(&self) -> &Push {
        &self.push
    }

    /// What the caller reaches.
    #[must_use]
    pub fn reach(&self) -> &Reach {
        &self.reach
    }

    /// The scopes to lock beside the personal one, in the order of their lock keys, each once: exclusive where `true`.
    #[must_use]
    pub fn locks(&self) -> Vec<(i64, bool)> {
        let mut locks: BTreeMap<i64, bool> = BTreeMap::new();
        for scope in self.reach.readable().skip(1) {
            *locks.entry(scope.lock_key()).or_default() |= self.written.contains(scope);
        }
        locks.into_iter().collect()
    }

    /// The records to load, each once.
    #[must_use]
    pub fn keys(&self) -> Vec<RecordKey> {
        let named = self.push.changes.iter();
        let named = named.flat_map(|change| self.candidates(change));
        let promoted = self.promoted.iter();
        let promoted = promoted.flat_map(|(from, to)| [from.clone(), to.clone()]);
        let keys: BTreeSet<_> = named.chain(promoted).collect();
        keys.into_iter().collect()
    }

    /// The clients' own event ids, of which the store says which are taken.
    #[must_use]
    pub fn event_ids(&self) -> Vec<EventId> {
        self.push
            .changes
            .iter()
            .filter_map(|change| change.event_id)
            .collect()
    }

    /// The records that a change may be about.
    fn candidates(&self, change: &Change) -> Vec<RecordKey> {
        let key = |scope: &Scope| key(scope, change);
        let personal = self.reach.personal();
        match change.shared_space() {
            Some(space) => {
                let named = self.reach.writable_space(space);
                named.into_iter().chain([personal]).map(key).collect()
            }
            None => self.reach.readable().map(key).collect(),
        }
    }

    /// Decides what the push does.
    ///
    /// # Errors
    ///
    /// `Ok(Err(…))` if scopes must be locked for writing first; [`StoreError::Fault`] if what was loaded cannot be
    /// read.
    pub fn decide(
        self,
        loaded: &Loaded,
        rules: Rules,
    ) -> Result<Result<Decision, ScopesMissing>, StoreError> {
        // Others may be loaded beside those that this push is about.
        let read = |key: RecordKey| {
            let (state, version) = loaded.records.get(&key)?;
            let record = RecordState::read(state, *version, &loaded.rows);
            Some(record.map(|record| (key, record)))
        };
        let known = self.keys().into_iter().filter_map(read);
        let mut known = known.collect::<Result<Known, StoreError>>()?;
        let mut targets = Targets::new(&self.push.changes, &self.reach, &self.promoted, &known);
        let missing: BTreeSet<_> = targets
            .keys
            .iter()
            .filter(|key| !self.written.contains(&key.scope))
            .map(|key| key.scope.clone())
            .collect();
        if !missing.is_empty() {
            return Ok(Err(ScopesMissing(missing)));
        }
        let records = targets.keys.iter().map(|key| known.remove(key));
        let mut records: Vec<_> = records.map(Option::unwrap_or_default).collect();
        let Intake {
            mut push, reach, ..
        } = self;
        for (place, denied) in targets.denied.iter_mut().enumerate() {
            if let Some(space) = denied.take() {
                push.changes[place].space = Some(space.clone());
                records[targets.of[place]].meant_for = Some(space);
            }
        }
        let user = &push.caller.user;
        let moves = targets.moves.iter().map(|(from, to)| Move {
            from: *from,
            to: *to,
            deletion: deletion_of_moved(&records[*from], &records[*to], &loaded.rows, user),
        });
        let moves = moves.filter(|one| has_room(&records, one, &loaded.rows));
        let moves: Vec<_> = moves.collect();
        for one in &moves {
            forget_deletes_that_stay(&mut push, &targets.of, one, &records[one.from]);
        }
        let sizes = Sizes::new(&records, &moves, &loaded.rows);
        park_what_is_too_much(&mut push, &mut targets.of, sizes);
        let Targets { keys, of, .. } = targets;
        Ok(Ok(Decision::new(
            push,
            reach,
            rules,
            loaded,
            Edits {
                keys,
                records,
                targets: of,
                moves,
            },
        )))
    }
}

/// What a push is about, once it is known where each change goes.
#[derive(Debug)]
pub(crate) struct Edits {
    /// The records.
    pub(crate) keys: Vec<RecordKey>,
    /// What is known of each.
    pub(crate) records: Vec<Record>,
    /// The place of the record of each change.
    pub(crate) targets: Vec<usize>,
    /// The records that move.
    pub(crate) moves: Vec<Move>,
}

/// A delete that stays where it is, sent once more, is not another one: it does not go where the rest goes now.
fn forget_deletes_that_stay(push: &mut Push, targets: &[usize], one: &Move, from: &Record) {
    if one.deletion == Deletion::Moves {
        return;
    }
    let Caller { user, client } = &push.caller;
    let stays = |at| from.was_deleted_by(user, client, at);
    for (change, target) in std::iter::zip(&mut push.changes, targets) {
        if *target != one.to {
            continue;
        }
        if change.deletion.is_some_and(stays) {
            change.deletion = None;
            change.op = Op::Update;
        }
        let deletes = |write: &FieldWrite| write.name == *deleted_at() && !write.value.is_null();
        change
            .writes
            .retain(|write| !(deletes(write) && stays(write.at)));
    }
}

/// Nobody deletes a record of others by what was meant for its author alone.
fn deletion_of_moved(from: &Record, to: &Record, rows: &Rows, user: &UserId) -> Deletion {
    let others = |row: RowRef| match row {
        RowRef::Stored(position) => rows.get(&position).is_some_and(|row| row.user != *user),
        RowRef::New(_) => false,
    };
    if from.keeps_deletion || to.live_rows().into_iter().any(others) {
        Deletion::Stays
    } else {
        Deletion::Moves
    }
}
