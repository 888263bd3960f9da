//! What became of the rows of an import, counted.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::StoreError;

/// How many different reasons are told apart; what comes after them counts as one.
const MAX_REASONS: usize = 200;
const OTHER_REASONS: &str = "other reasons";

/// What became of the rows of an import.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tally {
    /// Rows that were read.
    pub rows: u64,
    /// Those of them that were appended.
    pub appended: u64,
    /// Rows appended since a personal record was written with a space: it moved there.
    pub moved: u64,
    /// Rows of both kinds that were dead before the import ended: later ones have replaced all of their values.
    pub superseded: u64,
    /// Rows that lost against a later write that was there already.
    pub lost: u64,
    /// Rows that said again what was there already.
    pub replays: u64,
    /// Rows that say nothing: no field has a time.
    pub empty: u64,
    /// Rows appended for one user.
    pub personal: u64,
    /// Rows appended in spaces.
    pub shared: u64,
    /// Rows whose position is over a second later than they are: clients read them again.
    pub late: u64,
    /// Rows with a time further ahead than allowed: that of receipt was taken.
    pub ahead: u64,
    /// Rows that can never be changes and are kept aside for their users, by reason.
    pub parked: BTreeMap<String, u64>,
    /// Rows that belong to nobody, by reason.
    pub dropped: BTreeMap<String, u64>,
}

impl Tally {
    /// Adds another one.
    pub fn add(&mut self, other: &Self) {
        let Self {
            rows,
            appended,
            moved,
            superseded,
            lost,
            replays,
            empty,
            personal,
            shared,
            late,
            ahead,
            parked,
            dropped,
        } = other;
        self.rows += rows;
        self.appended += appended;
        self.moved += moved;
        self.superseded += superseded;
        self.lost += lost;
        self.replays += replays;
        self.empty += empty;
        self.personal += personal;
        self.shared += shared;
        self.late += late;
        self.ahead += ahead;
        add_reasons(&mut self.parked, parked);
        add_reasons(&mut self.dropped, dropped);
    }

    /// Rows that are in the log and live.
    #[must_use]
    pub fn live(&self) -> u64 {
        (self.appended + self.moved).saturating_sub(self.superseded)
    }

    /// The text by which a store keeps it.
    #[must_use]
    pub fn text(&self) -> String {
        serde_json::to_string(self).expect("numbers by names are always JSON")
    }

    /// Reads back the text; one that is empty is of no rows.
    ///
    /// # Errors
    ///
    /// [`StoreError::Fault`] if it is none.
    pub fn parse(text: &str) -> Result<Self, StoreError> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        serde_json::from_str(text)
            .map_err(|error| StoreError::fault(format!("the counts of the import: {error}")))
    }

    pub(super) fn park(&mut self, reason: &str) {
        add_reason(&mut self.parked, reason, 1);
    }

    pub(super) fn drop_row(&mut self, reason: &str) {
        add_reason(&mut self.dropped, reason, 1);
    }
}

fn add_reasons(reasons: &mut BTreeMap<String, u64>, others: &BTreeMap<String, u64>) {
    for (reason, count) in others {
        add_reason(reasons, reason, *count);
    }
}

fn add_reason(reasons: &mut BTreeMap<String, u64>, reason: &str, count: u64) {
    let is_known = reasons.contains_key(reason) || reasons.len() < MAX_REASONS;
    let reason = if is_known { reason } else { OTHER_REASONS };
    *reasons.entry(reason.to_owned()).or_default() += count;
}
