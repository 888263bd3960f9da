//! Taking over the table of a replaced service: row by row in the order in which they were made, each let stand like a push of
//! its user at that time, at a position made of that time, so that the cursors of existing clients go on working.
//!
//! ```text
//! begin -> nobody is served -> batch, batch, ... (each one transaction, with the mark of its last row) -> end
//! ```

mod batch;
mod row;
mod tally;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sync_protocol::Millis;

pub use batch::{ImportBatch, ImportWrites, KeptRecord, ParkedRow};
pub use row::{Mark, ReplacedRow};
pub use tally::Tally;

use crate::cursor::UNSAFE_NANOS;
use crate::{Pending, Position, StoreError};

/// The spaces into which each user has written.
pub type SpacesOfUsers = BTreeMap<String, BTreeSet<String>>;

/// Rows of the replaced service's table, one behind the other.
#[derive(Clone, Debug)]
pub struct Import {
    /// The row that the first of them follows.
    pub after: Option<Mark>,
    /// The rows, by time and id.
    pub rows: Vec<ReplacedRow>,
    /// The spaces that count as those of their users: a change that names none goes where its author has that record.
    pub spaces: Arc<SpacesOfUsers>,
    /// The wall clock.
    pub now: Millis,
}

/// How far an import is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImportState {
    /// Whether there is one.
    pub phase: Phase,
    /// The last row that was taken over.
    pub mark: Option<Mark>,
    /// The last position that belongs to the import; whatever is above was pushed here.
    pub last: Position,
    /// What became of the rows.
    pub tally: Tally,
}

/// Whether a store takes over a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// It never did.
    #[default]
    Never,
    /// It does: it answers no push and no pull.
    UnderWay,
    /// It did. Where its clock stood at the end: a bare cursor up to there comes from the replaced service.
    Ended(Position),
}

/// How a store takes over the table of a replaced service. Each method is one unit, like those of [`crate::Store`].
pub trait Importer: Send + Sync {
    /// How far the import is.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn state(&self) -> Pending<'_, ImportState>;

    /// Begins the import, or goes on with one that was cut off. From here on the store answers no push and no pull.
    ///
    /// # Errors
    ///
    /// [`StoreError::Fault`] if changes were pushed into this store.
    fn begin(&self) -> Pending<'_, ImportState>;

    /// Takes over rows, and remembers the last of them.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; then none of them is taken over. [`StoreError::TooLarge`] asks for fewer rows.
    fn take(&self, import: Import) -> Pending<'_, ImportState>;

    /// Ends the import where it stands: the store serves again.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; then the import is still under way.
    fn end(&self, now: Millis) -> Pending<'_, ImportState>;
}

impl ImportState {
    /// The state once an import has begun, in a store whose log ends at `greatest` and whose clock stands at `clock`. Rows go
    /// above all that was ever drawn, since readers may have passed it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Fault`] if there are rows that were pushed.
    pub fn begun(self, greatest: Position, clock: Position) -> Result<Self, StoreError> {
        self.check_nothing_was_pushed(greatest)?;
        let last = match self.phase {
            Phase::UnderWay => self.last,
            Phase::Never | Phase::Ended(_) => self.last.max(clock),
        };
        Ok(Self {
            phase: Phase::UnderWay,
            last,
            ..self
        })
    }

    /// Checks that these rows are the next ones.
    ///
    /// # Errors
    ///
    /// [`StoreError::Fault`] if no import is under way, or another one has gone on from the same place.
    pub fn check_follows(&self, import: &Import) -> Result<(), StoreError> {
        if self.phase != Phase::UnderWay {
            return Err(StoreError::fault(
                "no import is under way: it was ended meanwhile",
            ));
        }
        if self.mark != import.after {
            return Err(StoreError::fault(
                "another import into this database runs at the same time: let one of them go on alone",
            ));
        }
        Ok(())
    }

    /// The state behind a batch.
    #[must_use]
    pub fn behind(mut self, writes: &ImportWrites) -> Self {
        self.tally.add(&writes.tally);
        Self {
            mark: writes.mark.clone().or(self.mark),
            last: writes.last,
            ..self
        }
    }

    /// The state once the import has ended, at this wall clock, in a store whose clock stands at `clock`. The last position is
    /// also the one to which the clock has to be set.
    #[must_use]
    pub fn ended(self, now: Millis, clock: Position) -> Self {
        if self.phase != Phase::UnderWay {
            return self;
        }
        let wall_clock = Position(now.0.saturating_mul(NANOS_PER_MILLI));
        // Clocks of the machines that gave its cursors out may be ahead of this one.
        let end = Position(
            self.last
                .max(clock)
                .max(wall_clock)
                .0
                .saturating_add(UNSAFE_NANOS),
        );
        Self {
            phase: Phase::Ended(end),
            last: end,
            ..self
        }
    }

    /// As stores keep it in a number: where the import has ended, 0 if there was none, [`UNDER_WAY`] while there is one.
    #[must_use]
    pub fn until(&self) -> Position {
        match self.phase {
            Phase::Never => Position(0),
            Phase::UnderWay => UNDER_WAY,
            Phase::Ended(end) => end,
        }
    }

    fn check_nothing_was_pushed(&self, greatest: Position) -> Result<(), StoreError> {
        if greatest <= self.last {
            return Ok(());
        }
        let meanwhile = match self.phase {
            Phase::Never => "",
            Phase::UnderWay | Phase::Ended(_) => " since the import",
        };
        Err(StoreError::fault(format!(
            "this database has changes of its own{meanwhile} (at position {}): two services have taken changes beside each other. \
             Import into an empty database, or go on without what the replaced service has taken meanwhile",
            greatest.0
        )))
    }
}

/// Where the import of a replaced service's table has ended, as a store has kept it.
///
/// # Errors
///
/// [`StoreError::Unavailable`] while an import is under way.
pub fn imported(until: Position) -> Result<Position, StoreError> {
    if until == UNDER_WAY {
        return Err(StoreError::unavailable(
            "an import is under way: nothing is served until `sync-server import` has ended",
        ));
    }
    Ok(until)
}

/// Stands for where an import will have ended.
pub const UNDER_WAY: Position = Position(-1);
const NANOS_PER_MILLI: i64 = 1_000_000;

impl Phase {
    /// Reads back [`ImportState::until`].
    #[must_use]
    pub fn from_until(until: Position) -> Self {
        match until {
            Position(0) => Self::Never,
            UNDER_WAY => Self::UnderWay,
            end => Self::Ended(end),
        }
    }
}
