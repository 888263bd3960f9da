//! What `sync-server check` says of business tables: whether rows can be written into them as they are described.

use std::collections::{BTreeMap, BTreeSet};

use sync_protocol::FieldName;
use sync_store::{BusinessTable, Finding, RowTable, RowTables, TableKey};
use tokio_postgres::{Client, Error, Row};

use crate::materialise::{Column, quoted};
use crate::queries::business as sql;

/// The business tables that are described.
type Described<'a> = BTreeMap<&'a TableKey, (&'a RowTable, &'a BusinessTable)>;

/// Looks at each business table that is described. What does not fit is said with the SQL that mends it.
pub(super) async fn check(client: &Client, tables: &RowTables) -> Result<Vec<Finding>, Error> {
    let described = tables.described.iter().flatten();
    let described: Described<'_> = described
        .filter_map(|(key, table)| Some((key, (table, table.business.as_ref()?))))
        .collect();
    let mut findings = Vec::new();
    for (key, (table, into)) in &described {
        let mut found = Found::read(client, into).await?;
        found.check(table, into);
        found.check_foreign_keys(&described, table, into);
        found.check_references(&described, table, into);
        findings.extend(found.told(key, into));
    }
    Ok(findings)
}

/// What was found of a table.
struct Found {
    /// The rights that `sync_app` lacks; `None` if there is no such table.
    lacks: Option<Lacks>,
    columns: Vec<Column>,
    /// The columns of each unique index that can tell rows apart.
    unique: Vec<BTreeSet<String>>,
    foreign_keys: Vec<ForeignKey>,
    faults: Vec<String>,
    notes: Vec<String>,
}

struct Lacks {
    schema: bool,
    table: bool,
}

struct ForeignKey {
    name: String,
    columns: Vec<String>,
    schema: String,
    table: String,
}

impl Found {
    async fn read(client: &Client, into: &BusinessTable) -> Result<Self, Error> {
        let name: [&(dyn tokio_postgres::types::ToSql + Sync); 2] = [&into.schema, &into.name];
        let rights = client.query_opt(sql::RIGHTS, &name).await?;
        let columns = client.query(sql::COLUMNS, &name).await?;
        let unique = client.query(sql::UNIQUE, &name).await?;
        let foreign_keys = client.query(sql::FOREIGN_KEYS, &name).await?;
        Ok(Self {
            lacks: rights.map(|row| Lacks {
                schema: !row.get::<_, bool>(0),
                table: !row.get::<_, bool>(1),
            }),
            columns: columns.iter().map(Column::read).collect(),
            unique: unique
                .iter()
                .map(|row| row.get::<_, Vec<String>>(0).into_iter().collect())
                .collect(),
            foreign_keys: foreign_keys.iter().map(foreign_key).collect(),
            faults: Vec::new(),
            notes: Vec::new(),
        })
    }

    fn told(self, (app, table): &TableKey, into: &BusinessTable) -> Vec<Finding> {
        let place = format!("{app}.{table} into {}", full_name(into));
        let is_well = self.faults.is_empty();
        let faults = self.faults.into_iter();
        let faults = faults.map(|fault| Finding::Ill(format!("{place}: {fault}")));
        let notes = self.notes.into_iter();
        let notes = notes.map(|note| Finding::Well(format!("{place}: note: {note}")));
        let well = is_well.then(|| Finding::Well(format!("{place}: rows can be written")));
        faults.chain(well).chain(notes).collect()
    }

    fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    fn check(&mut self, table: &RowTable, into: &BusinessTable) {
        let (name, user, key) = (full_name(into), quoted(&into.user), quoted(&into.key));
        let Some(lacks) = &self.lacks else {
            self.faults.push(format!(
                "there is no such table: create table {name} ({user} text not null, {key} uuid not null, …, primary key \
                 ({user}, {key}))"
            ));
            return;
        };
        let mut faults = Vec::new();
        if lacks.schema {
            faults.push(format!(
                "role sync_app may not use its schema: grant usage on schema {} to sync_app",
                quoted(&into.schema)
            ));
        }
        if lacks.table {
            faults.push(format!(
                "role sync_app may not read and write it: grant select, insert, update, delete on {name} to sync_app"
            ));
        }
        for (column, kind) in [(&into.user, "text not null"), (&into.key, "uuid not null")] {
            if self.column(column).is_none() {
                let column = quoted(column);
                faults.push(format!(
                    "there is no column {column}: alter table {name} add column {column} {kind}"
                ));
            }
        }
        let wanted = BTreeSet::from([into.user.clone(), into.key.clone()]);
        if !self.unique.contains(&wanted) {
            faults.push(format!(
                "no unique index on exactly {user} and {key}, whole and not deferrable: create unique index on {name} \
                 ({user}, {key})"
            ));
        }
        faults.extend(self.faults_of_columns(table, into));
        self.faults.extend(faults);
    }

    /// What is wrong with the columns that payloads are to fill, and what no payload fills.
    fn faults_of_columns(&self, table: &RowTable, into: &BusinessTable) -> Vec<String> {
        let name = full_name(into);
        let mut faults = Vec::new();
        for (field, column) in &into.columns {
            match self.column(column) {
                None => {
                    let (column, kind) = (quoted(column), kind_of(table, field));
                    faults.push(format!(
                        "there is no column {column} for {field}: alter table {name} add column {column} {kind}"
                    ));
                }
                Some(column) if column.is_generated => faults.push(format!(
                    "column {} for {field} is generated and takes no value: take {field} out of `columns`",
                    column.quoted()
                )),
                Some(_) => {}
            }
        }
        for column in &self.columns {
            let is_filled = [&into.user, &into.key].contains(&&column.name)
                || field_of(into, &column.name).is_some()
                || column.has_default
                || column.is_generated
                || !column.not_null;
            if !is_filled {
                let column = column.quoted();
                faults.push(format!(
                    "column {column} must not be null, has no default, and nothing fills it: name it in `columns`, or alter \
                     table {name} alter column {column} drop not null"
                ));
            }
        }
        faults
    }

    /// The foreign keys to other tables that are described, which the references do not name.
    fn check_foreign_keys(
        &mut self,
        described: &Described<'_>,
        table: &RowTable,
        into: &BusinessTable,
    ) {
        for foreign_key in &self.foreign_keys {
            let parent = described
                .iter()
                .find(|(_, (_, parent))| foreign_key.is_to(parent));
            let Some((parent, _)) = parent else {
                continue;
            };
            let mut columns = foreign_key
                .columns
                .iter()
                .filter(|name| **name != into.user);
            let (Some(column), None) = (columns.next(), columns.next()) else {
                continue;
            };
            // What no payload fills refers to nothing that a client knows.
            let Some(field) = field_of(into, column) else {
                continue;
            };
            if table.references.get(field) != Some(*parent) {
                let (app, name) = parent;
                self.faults.push(format!(
                    "foreign key {} is not described, so that children may come before their parents: references = {{ \
                     {field} = \"{app}.{name}\" }}",
                    foreign_key.name
                ));
            }
        }
    }

    /// The references to other tables that are described, which no foreign key holds.
    fn check_references(
        &mut self,
        described: &Described<'_>,
        table: &RowTable,
        into: &BusinessTable,
    ) {
        for (field, parent) in &table.references {
            let (Some((_, parent_into)), Some(column)) =
                (described.get(parent), into.columns.get(field))
            else {
                continue;
            };
            let has_key = self
                .foreign_keys
                .iter()
                .any(|key| key.is_to(parent_into) && key.columns.iter().any(|name| name == column));
            if !has_key && self.lacks.is_some() {
                self.notes.push(format!(
                    "{field} refers to {}.{}, and no foreign key does: alter table {} add foreign key ({}, {}) \
                     references {} ({}, {})",
                    parent.0,
                    parent.1,
                    full_name(into),
                    quoted(&into.user),
                    quoted(column),
                    full_name(parent_into),
                    quoted(&parent_into.user),
                    quoted(&parent_into.key)
                ));
            }
        }
    }
}

impl ForeignKey {
    fn is_to(&self, parent: &BusinessTable) -> bool {
        (&self.schema, &self.table) == (&parent.schema, &parent.name)
    }
}

fn foreign_key(row: &Row) -> ForeignKey {
    ForeignKey {
        name: row.get(0),
        columns: row.get(1),
        schema: row.get(2),
        table: row.get(3),
    }
}

fn full_name(into: &BusinessTable) -> String {
    format!("{}.{}", quoted(&into.schema), quoted(&into.name))
}

/// The payload key that is written into a column.
fn field_of<'a>(into: &'a BusinessTable, column: &str) -> Option<&'a FieldName> {
    let mut named = into.columns.iter();
    named
        .find(|(_, name)| *name == column)
        .map(|(field, _)| field)
}

/// A type that a column for this payload key may have.
fn kind_of(table: &RowTable, field: &FieldName) -> &'static str {
    match table.references.contains_key(field) {
        true => "uuid",
        false => "text",
    }
}
