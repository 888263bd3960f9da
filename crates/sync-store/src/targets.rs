//! Where the changes of a push go: into which scope each, which records move, and what is denied.

use std::collections::{BTreeMap, HashMap};

use sync_merge::Record;
use sync_protocol::{Change, RecordId, SpaceId, TableName};

use crate::{Reach, RecordKey, Scope};

/// What is known of the records that were loaded.
pub(crate) type Known = HashMap<RecordKey, Record>;

/// Where the changes of a push go.
#[derive(Debug, Default)]
pub(crate) struct Targets {
    pub(crate) keys: Vec<RecordKey>,
    places: HashMap<RecordKey, usize>,
    /// The place of the record of each change.
    pub(crate) of: Vec<usize>,
    /// Of each change the space that it is about, by its own word or not, and into which its author may not write.
    pub(crate) denied: Vec<Option<SpaceId>>,
    /// The personal records that move, and where to.
    pub(crate) moves: BTreeMap<usize, usize>,
}

impl Targets {
    /// Where these changes go, for a caller with this reach. `promoted` are personal records that move whatever the changes
    /// say, and where to.
    pub(crate) fn new(
        changes: &[Change],
        reach: &Reach,
        promoted: &[(RecordKey, RecordKey)],
        known: &Known,
    ) -> Self {
        let mut targets = Self::default();
        for (from, to) in promoted {
            targets.move_record(known, from, to);
        }
        let named = targets.named(changes, reach, known);
        for change in changes {
            let (key, denied) = targets.target(change, reach, &named, known);
            let place = targets.place(&key);
            targets.of.push(place);
            targets.denied.push(denied);
        }
        targets
    }

    /// The records that the push names a space for, or that were denied a space, with the first such space. Where the author
    /// has one of them in the personal scope, it moves whole.
    fn named<'a>(
        &mut self,
        changes: &'a [Change],
        reach: &'a Reach,
        known: &Known,
    ) -> HashMap<(&'a TableName, &'a RecordId), &'a Scope> {
        let mut named = HashMap::new();
        for change in changes {
            let from = key(reach.personal(), change);
            let meant_for = || known.get(&from)?.meant_for.as_ref();
            let space = change.shared_space().or_else(meant_for);
            let Some(scope) = space.and_then(|space| reach.writable_space(space)) else {
                continue;
            };
            named.entry((&change.table, &change.id)).or_insert(scope);
            self.move_record(known, &from, &key(scope, change));
        }
        named
    }

    fn move_record(&mut self, known: &Known, from: &RecordKey, to: &RecordKey) {
        if known.contains_key(from) {
            let (from, to) = (self.place(from), self.place(to));
            self.moves.entry(from).or_insert(to);
        }
    }

    /// Where a change goes: where its space says, else where its author has that record and may write it (by this very push,
    /// too), else to the personal scope. What belongs into a space that its author may not write goes there, too, and is
    /// denied the space: so does every change of a record that was denied one.
    fn target(
        &self,
        change: &Change,
        reach: &Reach,
        named: &HashMap<(&TableName, &RecordId), &Scope>,
        known: &Known,
    ) -> (RecordKey, Option<SpaceId>) {
        let own = key(reach.personal(), change);
        if let Some(space) = change.shared_space() {
            return match reach.writable_space(space) {
                Some(scope) => (key(scope, change), None),
                None => (own, Some(space.clone())),
            };
        }
        if let Some(place) = self.places.get(&own)
            && let Some(denied) = self.denied_before(*place)
        {
            return (own, Some(denied.clone()));
        }
        let is_known = |scope: &&Scope| {
            let key = key(scope, change);
            known.contains_key(&key) || self.places.contains_key(&key)
        };
        let written = reach.writable().find(is_known);
        if let Some(scope) = written.filter(|scope| *scope != reach.personal()) {
            return (key(scope, change), None);
        }
        if let Some(scope) = named.get(&(&change.table, &change.id)) {
            return (key(scope, change), None);
        }
        let denied = match written {
            Some(_) => known.get(&own).and_then(|own| own.meant_for.clone()),
            // Who calls it personal does not mean to share it.
            None if change.space.is_some() => None,
            None => {
                let scope = reach.only_readable().find(is_known);
                scope.and_then(|scope| scope.space().cloned())
            }
        };
        (own, denied)
    }

    /// The space that an earlier change of the push on this record was denied.
    fn denied_before(&self, place: usize) -> Option<&SpaceId> {
        let earlier = std::iter::zip(&self.of, &self.denied).rev();
        let of_record = earlier.filter(|(of, _)| **of == place);
        of_record.filter_map(|(_, denied)| denied.as_ref()).next()
    }

    fn place(&mut self, key: &RecordKey) -> usize {
        if let Some(place) = self.places.get(key) {
            return *place;
        }
        self.keys.push(key.clone());
        self.places.insert(key.clone(), self.keys.len() - 1);
        self.keys.len() - 1
    }
}

/// The record of a change, if it is in this scope.
pub(crate) fn key(scope: &Scope, change: &Change) -> RecordKey {
    RecordKey {
        scope: scope.clone(),
        table: change.table.clone(),
        record: change.id.clone(),
    }
}
