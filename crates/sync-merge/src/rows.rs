//! What a change of the rows dialect does: a whole row stands if its device knew the version of the row that it replaces.

use std::collections::HashSet;

use sync_protocol::{ClientId, FieldName, FieldTime, Members, Millis, Op, UserId, Value};

use crate::plan::{close, copy_beside};
use crate::{Held, NewRow, Plan, Record, RowOrigin, RowRef, Version, deleted_at};

/// A change of one row.
#[derive(Clone, Copy, Debug)]
pub struct RowWrite<'a> {
    /// Its place among the changes.
    pub change: usize,
    /// The word that is kept with it.
    pub op: Op,
    /// The version that the device has seen.
    pub version: i64,
    /// The row; none if it is deleted.
    pub payload: Option<&'a Members<FieldName, Value>>,
}

/// What becomes of a change of one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It stands, and the row has this version now.
    Applied(i64),
    /// There is nothing to delete.
    NothingThere,
    /// The row has another version.
    Conflict,
    /// The device knows a version of a row that is not there.
    Unknown,
}

/// Lets changes of whole rows stand one after the other against the records that they are for. It appends a row for each that
/// stands, also if no value differs; only differing values are written, at a time that wins in the changes dialect, too.
#[derive(Clone, Debug)]
pub struct RowPlanner<'a> {
    user: &'a UserId,
    client: &'a ClientId,
    now: Millis,
    before: Vec<Record>,
    plan: Plan,
}

impl<'a> RowPlanner<'a> {
    /// A planner for the changes of one device, received at this time, on these records.
    #[must_use]
    pub fn new(user: &'a UserId, client: &'a ClientId, now: Millis, records: Vec<Record>) -> Self {
        Self {
            user,
            client,
            now,
            before: records.clone(),
            plan: Plan {
                records,
                ..Plan::default()
            },
        }
    }

    /// A record as it stands by now.
    #[must_use]
    pub fn record(&self, place: usize) -> &Record {
        &self.plan.records[place]
    }

    /// Lets one change stand against the record at this place.
    pub fn write(&mut self, record: usize, write: RowWrite<'_>) -> Verdict {
        let known = &self.plan.records[record];
        if known.is_row() {
            if write.version != known.version {
                return Verdict::Conflict;
            }
        } else if write.payload.is_none() {
            return Verdict::NothingThere;
        } else if write.version != 0 {
            return Verdict::Unknown;
        }
        Verdict::Applied(self.apply(record, write))
    }

    /// What all of it comes to.
    #[must_use]
    pub fn finish(mut self) -> Plan {
        for row in self.plan.live_new_rows() {
            copy_beside(&mut self.plan, &self.before, row);
        }
        for (record, known) in self.before.iter().enumerate() {
            close(&mut self.plan, record, known);
        }
        self.plan
    }

    fn apply(&mut self, record: usize, write: RowWrite<'_>) -> i64 {
        let known = &mut self.plan.records[record];
        let row = RowRef::New(self.plan.rows.len());
        let at = known.next_time(self.now);
        let given = write.payload.map(Given::new);
        // The row as it stands holds more than its device has sent: it is told all of it.
        let to_everyone = given.as_ref().is_some_and(|given| known.holds_more(given));
        let fields = match &given {
            Some(given) => known.upserted(given),
            None => vec![(deleted_at().clone(), Value::string(&at.to_string()), false)],
        };
        let opens = known.inserted.is_none();
        let mut written = Vec::with_capacity(fields.len());
        for (name, value, is_absent) in fields {
            let held = Held {
                version: Version {
                    at,
                    client: self.client.clone(),
                    value: value.clone(),
                },
                author: self.user.clone(),
                row,
                to_everyone,
                is_absent,
            };
            known.fields.insert(name.clone(), held);
            written.push((name, value, at));
        }
        if let Some(payload) = write.payload {
            known.inserted.get_or_insert(row);
            let names = payload.0.iter().map(|(name, _)| name.clone());
            known.carried.extend(names);
        }
        known.unchanged = (written.is_empty() && known.inserted != Some(row)).then_some(row);
        known.version += 1;
        let version = known.version;
        self.plan.rows.push(NewRow {
            record,
            origin: RowOrigin::Change(write.change),
            op: write.op,
            user: self.user.clone(),
            client: self.client.clone(),
            fields: written,
            opens,
            to_everyone,
            undated: false,
        });
        version
    }
}

impl Record {
    /// Whether clients of whole rows know it, as a row or as a deleted one. Of a record whose insert has not arrived nobody
    /// knows whether it is whole.
    #[must_use]
    pub fn is_row(&self) -> bool {
        self.is_deleted() || self.inserted.is_some()
    }

    /// The whole row, for clients of the rows dialect; none of a record that is none to them, or deleted.
    #[must_use]
    pub fn row(&self) -> Option<Members<FieldName, Value>> {
        let is_shown = |(name, held): &(&FieldName, &Held)| {
            !held.is_absent && (*name != deleted_at() || self.carried.contains(*name))
        };
        let is_live = self.is_row() && !self.is_deleted();
        is_live.then(|| {
            let fields = self.fields.iter().filter(is_shown);
            fields
                .map(|(name, held)| (name.clone(), held.version.value.clone()))
                .collect()
        })
    }

    /// A time that is later than any write so far.
    fn next_time(&self, now: Millis) -> FieldTime {
        let times = self.fields.values().map(|held| held.version.at.millis());
        let later = times.max().map_or(i64::MIN, |last| last.saturating_add(1));
        FieldTime::from_millis(now.0.max(later))
    }

    /// Whether, once this row is written, there are fields that it does not have.
    fn holds_more(&self, given: &Given<'_>) -> bool {
        let is_kept = |(name, held): (&FieldName, &Held)| {
            !held.is_absent && *name != *deleted_at() && !self.carried.contains(name)
        };
        let mut others = self.fields.iter().filter(|(name, _)| !given.has(name));
        others.any(is_kept)
    }

    /// What a whole row changes: values that differ, what it does not hold any more of what it once did, and the delete. With
    /// whether it is absent from then on.
    fn upserted(&self, given: &Given<'_>) -> Vec<(FieldName, Value, bool)> {
        let holds = |name: &FieldName| self.fields.get(name).filter(|held| !held.is_absent);
        let differs = |name: &FieldName, value: &Value| {
            holds(name).is_none_or(|held| held.version.value != *value)
        };
        let values = given.payload.0.iter();
        let values = values.filter(|(name, value)| differs(name, value));
        let mut fields: Vec<_> = values
            .map(|(name, value)| (name.clone(), value.clone(), false))
            .collect();
        if self.is_deleted() && !given.has(deleted_at()) {
            fields.push((deleted_at().clone(), Value::null(), false));
        }
        let missing = self.carried.iter();
        let missing = missing.filter(|name| *name != deleted_at());
        let missing = missing.filter(|name| holds(name).is_some() && !given.has(name));
        fields.extend(missing.map(|name| (name.clone(), Value::null(), true)));
        fields
    }
}

/// A whole row, with its names at hand.
struct Given<'a> {
    payload: &'a Members<FieldName, Value>,
    names: HashSet<&'a FieldName>,
}

impl<'a> Given<'a> {
    fn new(payload: &'a Members<FieldName, Value>) -> Self {
        Self {
            payload,
            names: payload.0.iter().map(|(name, _)| name).collect(),
        }
    }

    fn has(&self, name: &FieldName) -> bool {
        self.names.contains(name)
    }
}
