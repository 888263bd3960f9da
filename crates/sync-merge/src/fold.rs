//! The writes of one push on one record, folded per field: of several the greatest time stands, at equal times the
//! later one.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use sync_protocol::{Change, FieldName, FieldTime, Value};

use crate::claim::{self, Claimed, Settled};
use crate::{Context, Record, Version, deleted_at};

/// A write of the push that stands against the others of the push.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    /// The place of its change in the push.
    pub(crate) place: usize,
    /// Its order among the fields of its change.
    pub(crate) order: usize,
    /// What it writes.
    pub(crate) value: Value,
    /// The time that counts.
    pub(crate) at: FieldTime,
    /// Whether the server has timed a newer write of this client: then it has no effect.
    pub(crate) superseded: bool,
    /// Whether it is a delete that came without a time.
    pub(crate) undated: bool,
    /// Whether a later write of the push lost against it: then the client itself holds another value.
    pub(crate) overtook: bool,
}

impl Candidate {
    /// The version that it would be.
    pub(crate) fn version(&self, context: &Context<'_>) -> Version {
        Version {
            at: self.at,
            client: context.client.clone(),
            value: self.value.clone(),
        }
    }
}

/// The folded writes of a push on one record.
#[derive(Debug, Default)]
pub(crate) struct Folded {
    /// Per field the write that stands.
    pub(crate) fields: BTreeMap<FieldName, Candidate>,
    /// The place of the first insert.
    pub(crate) inserted_by: Option<usize>,
}

impl Folded {
    /// Takes up one change; says whether a time of it was further ahead than allowed.
    pub(crate) fn take(
        &mut self,
        record: &mut Record,
        context: &Context<'_>,
        place: usize,
        change: &Change,
    ) -> bool {
        if change.op == sync_protocol::Op::Insert {
            self.inserted_by.get_or_insert(place);
        }
        let mut ahead = false;
        for (order, write) in change.writes.iter().enumerate() {
            ahead |= context.is_ahead(write.at);
            let settled = claim::settle(
                &mut record.claims,
                context,
                &write.name,
                Claimed::new(write.at, &write.value),
            );
            let candidate = Candidate {
                order,
                ..candidate(place, write.value.clone(), settled)
            };
            self.offer(&write.name, candidate);
        }
        if let Some(time) = change.deletion {
            ahead |= context.is_ahead(time);
            let claimed = Claimed {
                at: time,
                digest: 0,
            };
            let settled = claim::settle(&mut record.claims, context, deleted_at(), claimed);
            let mut candidate = candidate(place, Value::null(), settled);
            candidate.order = change.writes.len();
            candidate.undated = time.is_none();
            candidate.value = Value::string(&candidate.at.to_string());
            self.offer(deleted_at(), candidate);
        }
        ahead
    }

    fn offer(&mut self, field: &FieldName, candidate: Candidate) {
        match self.fields.entry(field.clone()) {
            Entry::Vacant(empty) => {
                empty.insert(candidate);
            }
            Entry::Occupied(mut held) => {
                let stands = held.get();
                let later =
                    (!candidate.superseded, candidate.at) >= (!stands.superseded, stands.at);
                if later {
                    held.insert(candidate);
                } else {
                    held.get_mut().overtook = true;
                }
            }
        }
    }
}

fn candidate(place: usize, value: Value, settled: Settled) -> Candidate {
    let (at, superseded) = match settled {
        Settled::At(at) => (at, false),
        Settled::Superseded => (FieldTime::NONE, true),
    };
    Candidate {
        place,
        order: 0,
        value,
        at,
        superseded,
        undated: false,
        overtook: false,
    }
}
