//! What is known of one record: the winning version of each field, and where its value stands.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use sync_protocol::{ClientId, FieldName, FieldTime, SpaceId, UserId, Value};

use crate::{Claim, Claims};

static DELETED_AT: LazyLock<FieldName> =
    LazyLock::new(|| FieldName::new("deletedAt").expect("a plain word is an identifier"));

/// The field whose value, unless null, makes a record a deleted one.
#[must_use]
pub fn deleted_at() -> &'static FieldName {
    &DELETED_AT
}

/// One write of a field. Versions are compared by time, then client, then the bytes of the value; the greatest wins,
/// and equal ones are the same write (`semantics.md`, Which write wins).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// The time of the write.
    pub at: FieldTime,
    /// The client that wrote it.
    pub client: ClientId,
    /// What it wrote.
    pub value: Value,
}

/// The row of the log in which a value stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RowRef {
    /// A row that is in the log, by its position.
    Stored(i64),
    /// A row that the plan appends, by its place in [`crate::Plan::rows`].
    New(usize),
}

/// The winning version of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The version.
    pub version: Version,
    /// The verified user that wrote it.
    pub author: UserId,
    /// The row that has it.
    pub row: RowRef,
    /// Whether that row goes out to the client that wrote it, too.
    pub to_everyone: bool,
    /// Whether a whole row was written that lacks it: to clients of whole rows it is not there, to others it is null.
    pub is_absent: bool,
}

/// A record as it is known; the default is one of which nothing is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// The winning version of each field.
    pub fields: BTreeMap<FieldName, Held>,
    /// The row of the first insert. Existence only ever grows, so the first one to arrive stands for all.
    pub inserted: Option<RowRef>,
    /// The writes to which the server gave their time.
    pub claims: Claims,
    /// How many effective changes it has had.
    pub version: i64,
    /// Whether its delete was of a record of others, and stayed here when the rest moved: it never moves.
    pub keeps_deletion: bool,
    /// The space that it was meant for, if its author was not allowed to write there.
    pub meant_for: Option<SpaceId>,
    /// The fields that whole rows have brought: those of which one that lacks them says something.
    pub carried: BTreeSet<FieldName>,
    /// The last row, if it holds nothing but a new version: a whole row in which no value differs.
    pub unchanged: Option<RowRef>,
}

impl Record {
    /// Whether its `deletedAt` is set.
    #[must_use]
    pub fn is_deleted(&self) -> bool {
        self.fields
            .get(deleted_at())
            .is_some_and(|held| !held.version.value.is_null())
    }

    /// Whether this client of the user has deleted it at this time; none for a delete without one.
    #[must_use]
    pub fn was_deleted_by(&self, user: &UserId, client: &ClientId, at: FieldTime) -> bool {
        let held = self.fields.get(deleted_at()).map(|held| &held.version);
        let is_held = held.is_some_and(|held| held.client == *client && held.at == at);
        let is_claimed = |claim: Claim| {
            (&claim.field, &claim.user, &claim.client) == (deleted_at(), user, client)
                && claim.claimed.at == at
        };
        is_held || self.claims.iter().any(is_claimed)
    }

    /// What stands in a field.
    pub(crate) fn winner(&self, field: &FieldName) -> Option<(FieldName, Value, FieldTime)> {
        let version = &self.fields.get(field)?.version;
        Some((field.clone(), version.value.clone(), version.at))
    }

    /// The rows that are live: each holds a winning version, or the record's existence, or is the last one.
    #[must_use]
    pub fn live_rows(&self) -> BTreeSet<RowRef> {
        self.fields
            .values()
            .map(|held| held.row)
            .chain(self.inserted)
            .chain(self.unchanged)
            .collect()
    }
}
