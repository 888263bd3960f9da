//! Rows of several apps, put into one order.

use super::{FoundRow, Wanted};
use crate::Position;

/// The rows of several apps that are wanted, in order of position, never more of them than a page takes up.
#[derive(Debug)]
pub struct Merged {
    wanted: Wanted,
    rows: Vec<FoundRow>,
    /// Behind which position rows may be missing, if they may.
    end: Option<Position>,
}

impl Merged {
    /// Nothing yet.
    #[must_use]
    pub fn new(wanted: Wanted) -> Self {
        Self {
            wanted,
            rows: Vec::new(),
            end: None,
        }
    }

    /// Adds the rows of one app; `is_cut` says that it has more that do not fit.
    pub fn add(&mut self, rows: Vec<FoundRow>, is_cut: bool) {
        if let (true, Some(last)) = (is_cut, rows.last()) {
            self.cut(last.position);
        }
        self.rows.extend(rows);
        self.rows.sort_by_key(|row| row.position);
        let mut room = self.wanted.bytes;
        let fits = |row: &&FoundRow| {
            let fits = row.bytes() <= room || room == self.wanted.bytes;
            room = room.saturating_sub(row.bytes());
            fits
        };
        let fitting = self.rows.iter().take_while(fits).count();
        if let (true, Some(last)) = (fitting < self.rows.len(), fitting.checked_sub(1)) {
            self.cut(self.rows[last].position);
        }
        let end = self.end;
        self.rows
            .retain(|row| end.is_none_or(|end| row.position <= end));
        self.rows.truncate(self.wanted.rows);
    }

    fn cut(&mut self, behind: Position) {
        self.end = Some(self.end.map_or(behind, |end| end.min(behind)));
    }

    /// The rows, and whether some were left out that do not fit.
    #[must_use]
    pub fn finish(self) -> (Vec<FoundRow>, bool) {
        (self.rows, self.end.is_some())
    }
}
