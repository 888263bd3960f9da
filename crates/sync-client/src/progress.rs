//! How far a stream has been read: the cursor to go on from.

use std::collections::BTreeMap;

/// What a stream was asked for, and how far each part of it has come.
pub(crate) struct Progress {
    since: String,
    /// Of each table asked for, the cursor of its last event.
    tables: BTreeMap<String, Option<String>>,
    last_id: Option<String>,
}

impl Progress {
    /// Nothing read yet, of these tables after this cursor.
    pub(crate) fn new(tables: &[&str], since: &str) -> Self {
        Self {
            since: since.to_owned(),
            tables: tables
                .iter()
                .map(|table| ((*table).to_owned(), None))
                .collect(),
            last_id: None,
        }
    }

    /// The cursor up to which all tables are complete: the last id, which says just that. Without ids the smallest of the
    /// tables' cursors (they sort as text), once each has one. Where that cannot be known, the beginning: so it is
    /// without ids if all tables were asked for, since a table that is still to come may have changes anywhere.
    pub(crate) fn cursor(&self) -> &str {
        let slowest = self.tables.values().map(Option::as_deref).min().flatten();
        self.last_id().or(slowest).unwrap_or(&self.since)
    }

    /// The last id seen.
    pub(crate) fn last_id(&self) -> Option<&str> {
        self.last_id.as_deref()
    }

    /// Takes note of an event of a table.
    pub(crate) fn read(&mut self, table: &str, synced_until: &str) {
        if let Some(cursor) = self.tables.get_mut(table) {
            *cursor = Some(synced_until.to_owned());
        }
    }

    /// Takes note of an id; an empty one says nothing.
    pub(crate) fn pass(&mut self, id: String) {
        if !id.is_empty() {
            self.last_id = Some(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_ids_the_slowest_table_decides_once_each_has_had_an_event() {
        let mut progress = Progress::new(&["tasks", "tags"], "5");
        assert_eq!(progress.cursor(), "5");
        progress.read("tasks", "8");
        assert_eq!(progress.cursor(), "5");
        progress.read("tags", "7");
        assert_eq!(progress.cursor(), "7");
        progress.read("tags", "9");
        progress.read("notes", "6");
        assert_eq!(progress.cursor(), "8");
    }

    #[test]
    fn without_ids_all_tables_are_read_again() {
        let mut progress = Progress::new(&[], "5");
        progress.read("tasks", "8");
        assert_eq!(progress.cursor(), "5");
    }

    #[test]
    fn an_id_decides_for_all_tables() {
        let mut progress = Progress::new(&["tasks", "tags"], "5");
        progress.read("tasks", "8");
        progress.pass("7".to_owned());
        progress.pass(String::new());
        progress.read("tasks", "9");
        progress.read("tags", "9");
        assert_eq!((progress.cursor(), progress.last_id()), ("7", Some("7")));
    }
}
