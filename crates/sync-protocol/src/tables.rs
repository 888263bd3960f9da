//! The tables of an app that a request is about.

use std::collections::BTreeSet;

use crate::TableName;

/// All tables of an app, or some.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tables {
    /// All of them.
    All,
    /// These; a name that no table has is not an error.
    Only(BTreeSet<TableName>),
}

impl Tables {
    /// One table.
    #[must_use]
    pub fn one(table: TableName) -> Self {
        Self::Only(BTreeSet::from([table]))
    }

    /// Whether this table is among them.
    #[must_use]
    pub fn has(&self, table: &TableName) -> bool {
        match self {
            Self::All => true,
            Self::Only(tables) => tables.contains(table),
        }
    }
}
