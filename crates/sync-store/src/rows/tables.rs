//! What the operator has said of the tables of rows clients.

use std::collections::BTreeMap;

use sync_protocol::{AppId, FieldName, MAX_BODY_BYTES, MAX_CHANGES, TableName};

/// A table of rows clients: schema and table.
pub type TableKey = (AppId, TableName);

/// How much an upload may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowLimits {
    /// The most changes; more are refused as a whole.
    pub changes: usize,
    /// The most bytes of one payload; a larger one is refused alone.
    pub payload_bytes: usize,
}

impl Default for RowLimits {
    /// Those of a push.
    fn default() -> Self {
        Self {
            changes: MAX_CHANGES,
            payload_bytes: MAX_BODY_BYTES,
        }
    }
}

/// What is known of the tables of rows clients. The default knows of none: then every table is taken, and nothing refers to
/// anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RowTables {
    /// The tables that there are; `None` if nobody has said.
    pub described: Option<BTreeMap<TableKey, RowTable>>,
    /// How much an upload may hold.
    pub limits: RowLimits,
}

/// What is known of one table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RowTable {
    /// The columns that hold the `pk` of a row of another table, and which.
    pub references: BTreeMap<FieldName, TableKey>,
    /// The business table into which its rows are written, if any.
    pub business: Option<BusinessTable>,
}

/// A business table into which rows are written. Names are those of the database, unquoted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BusinessTable {
    /// Its schema in the database.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// The column that holds the user.
    pub user: String,
    /// The column that holds the `pk`.
    pub key: String,
    /// The keys of the payload that are written, and the column of each. Clients write no other column.
    pub columns: BTreeMap<FieldName, String>,
}

impl RowTables {
    /// Whether there is such a table.
    #[must_use]
    pub fn has(&self, app: &AppId, table: &TableName) -> bool {
        match &self.described {
            Some(described) => described.contains_key(&(app.clone(), table.clone())),
            None => true,
        }
    }

    /// What is known of a table.
    #[must_use]
    pub fn find(&self, app: &AppId, table: &TableName) -> Option<&RowTable> {
        self.described.as_ref()?.get(&(app.clone(), table.clone()))
    }

    /// Whether any table refers to another.
    #[must_use]
    pub fn has_references(&self) -> bool {
        let mut tables = self.described.iter().flat_map(BTreeMap::values);
        tables.any(|table| !table.references.is_empty())
    }
}
