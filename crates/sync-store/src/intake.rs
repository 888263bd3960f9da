//! What a push needs before it can be decided: what to lock, and what to load.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use sync_merge::Record;
use sync_protocol::{Change, EventId, RecordId, TableName};

use crate::state::Rows;
use crate::{Decision, Position, Push, Reach, RecordState, Rules, Scope, StoreError};

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
}

impl Loaded {
    /// Adds a record: its text and its version, as [`RecordState`] wrote them.
    pub fn record(&mut self, key: RecordKey, state: String, version: i64) {
        self.records.insert(key, (state, version));
    }

    /// Whether the user has a change of this event id already.
    pub(crate) fn taken(&self) -> &HashSet<EventId> {
        &self.taken
    }

    /// Adds a live row of a loaded record by its columns.
    ///
    /// # Errors
    ///
    /// [`StoreError::Fault`] if they cannot be read.
    pub fn row(
        &mut self,
        position: Position,
        data: &str,
        field_timestamps: &str,
    ) -> Result<(), StoreError> {
        self.rows
            .insert(position.0, crate::read_fields(data, field_timestamps)?);
        Ok(())
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
            .filter_map(|change| reach.writable_space(change.space.as_ref()?))
            .cloned();
        let written = named
            .chain(written.iter().cloned())
            .chain([reach.personal().clone()])
            .collect();
        Self {
            push,
            reach,
            written,
        }
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
        let keys: BTreeSet<_> = self
            .push
            .changes
            .iter()
            .flat_map(|change| self.candidates(change))
            .collect();
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

    /// Where a change may go, the first choice first.
    fn candidates(&self, change: &Change) -> Vec<RecordKey> {
        let key = |scope: &Scope| RecordKey {
            scope: scope.clone(),
            table: change.table.clone(),
            record: change.id.clone(),
        };
        match &change.space {
            Some(space) => vec![key(self
                .reach
                .writable_space(space)
                .unwrap_or(self.reach.personal()))],
            None => self.reach.writable().map(key).collect(),
        }
    }

    /// Where a change goes: where its space says, else where its author has that record (by this very push, too), else
    /// to the personal scope.
    fn target(
        &self,
        change: &Change,
        loaded: &Loaded,
        earlier: &HashMap<RecordKey, usize>,
    ) -> RecordKey {
        let mut candidates = self.candidates(change);
        let place = candidates
            .iter()
            .position(|key| loaded.records.contains_key(key) || earlier.contains_key(key))
            .unwrap_or(0);
        candidates.swap_remove(place)
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
        let mut keys: Vec<RecordKey> = Vec::new();
        let mut places: HashMap<RecordKey, usize> = HashMap::new();
        let mut targets = Vec::with_capacity(self.push.changes.len());
        let mut missing = BTreeSet::new();
        for change in &self.push.changes {
            let key = self.target(change, loaded, &places);
            if !self.written.contains(&key.scope) {
                missing.insert(key.scope.clone());
            }
            let place = *places.entry(key.clone()).or_insert_with(|| {
                keys.push(key);
                keys.len() - 1
            });
            targets.push(place);
        }
        if !missing.is_empty() {
            return Ok(Err(ScopesMissing(missing)));
        }
        let read = |key| match loaded.records.get(key) {
            Some((state, version)) => RecordState::read(state, *version, &loaded.rows),
            None => Ok(Record::default()),
        };
        let records = keys.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        let Intake { push, reach, .. } = self;
        Ok(Ok(Decision::new(
            push,
            reach,
            rules,
            loaded,
            (keys, records, targets),
        )))
    }
}
