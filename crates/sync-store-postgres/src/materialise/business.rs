//! The handler for the business tables of the description: rows keyed by user and `pk`.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sync_protocol::{AppId, FieldName, TableName, UserId, Value};
use sync_store::{BusinessTable, RowAfter, RowTable, RowTables};

use super::columns::{Column, quoted, read_columns};
use super::handler::{BusinessConnection, Handler, HandlerError, HandlerWork};
use crate::queries::business::{self, Parts};

/// The class of errors of a statement that does not fit its table (any more).
const UNFIT_CLASS: &str = "42";

type Columns = Arc<[Column]>;

/// Writes rows into the business tables that are described.
pub(crate) struct BusinessTables {
    tables: Arc<RowTables>,
    /// The columns of each table that was written, by schema and name.
    known: Mutex<HashMap<(String, String), Columns>>,
}

impl BusinessTables {
    pub(crate) fn new(tables: Arc<RowTables>) -> Self {
        let known = Mutex::default();
        Self { tables, known }
    }

    fn find(&self, app: &AppId, table: &TableName) -> Option<(&RowTable, &BusinessTable)> {
        let described = self.tables.find(app, table)?;
        Some((described, described.business.as_ref()?))
    }

    async fn write_rows(
        &self,
        connection: &BusinessConnection<'_>,
        user: &UserId,
        rows: &[RowAfter],
    ) -> Result<(), HandlerError> {
        let Some(first) = rows.first() else {
            return Ok(());
        };
        let (described, into) = self
            .find(&first.app, &first.table)
            .ok_or_else(|| HandlerError::new("no business table is described"))?;
        let columns = self.columns(connection, into).await?;
        let target = Target::new(described, into, &columns).inspect_err(|_| self.forget(into))?;
        let written = match first.payload {
            Some(_) => target.upsert(connection, user, rows).await,
            None => target.remove(connection, user, rows).await,
        };
        written.inspect_err(|error| {
            let code = error.code();
            if code.is_some_and(|code| code.code().starts_with(UNFIT_CLASS)) {
                self.forget(into);
            }
        })
    }

    /// The columns of a table: read once, and again when they did not fit.
    async fn columns(
        &self,
        connection: &BusinessConnection<'_>,
        into: &BusinessTable,
    ) -> Result<Columns, HandlerError> {
        if let Some(columns) = self.known().get(&name(into)) {
            return Ok(columns.clone());
        }
        let columns = read_columns(connection, &into.schema, &into.name).await?;
        let columns = Columns::from(columns);
        self.known().insert(name(into), columns.clone());
        Ok(columns)
    }

    fn forget(&self, into: &BusinessTable) {
        self.known().remove(&name(into));
    }

    fn known(&self) -> MutexGuard<'_, HashMap<(String, String), Columns>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Handler for BusinessTables {
    fn takes(&self, app: &AppId, table: &TableName) -> bool {
        self.find(app, table).is_some()
    }

    fn write<'a>(
        &'a self,
        connection: &'a BusinessConnection<'a>,
        user: &'a UserId,
        rows: &'a [RowAfter],
    ) -> HandlerWork<'a> {
        Box::pin(self.write_rows(connection, user, rows))
    }
}

fn name(into: &BusinessTable) -> (String, String) {
    (into.schema.clone(), into.name.clone())
}

/// A business table with its columns.
struct Target<'a> {
    described: &'a RowTable,
    into: &'a BusinessTable,
    /// The columns that payloads fill, by payload key.
    filled: Vec<(&'a FieldName, &'a Column)>,
    user: &'a Column,
    key: &'a Column,
}

/// What a row writes into the columns that payloads fill, in their order: `None` is the column's default.
type Cells = Vec<Option<Value>>;

impl<'a> Target<'a> {
    fn new(
        described: &'a RowTable,
        into: &'a BusinessTable,
        columns: &'a [Column],
    ) -> Result<Self, HandlerError> {
        let BusinessTable { schema, name, .. } = into;
        if columns.is_empty() {
            let text = format!("there is no table {}.{}", quoted(schema), quoted(name));
            return Err(HandlerError::new(text));
        }
        let named = |wanted: &String| {
            let column = columns.iter().find(|column| column.name == *wanted);
            column.ok_or_else(|| lacks(into, wanted))
        };
        let filled = into
            .columns
            .iter()
            .map(|(field, column)| Ok::<_, HandlerError>((field, named(column)?)));
        Ok(Self {
            described,
            into,
            filled: filled.collect::<Result<_, _>>()?,
            user: named(&into.user)?,
            key: named(&into.key)?,
        })
    }

    async fn upsert(
        &self,
        connection: &BusinessConnection<'_>,
        user: &UserId,
        rows: &[RowAfter],
    ) -> Result<(), HandlerError> {
        let mut alike: BTreeMap<Vec<bool>, Vec<String>> = BTreeMap::new();
        for row in rows {
            let cells = self.cells(row)?;
            let shape = cells.iter().map(Option::is_some).collect();
            let object = self.object(user, row, &cells)?;
            alike.entry(shape).or_default().push(object);
        }
        for (shape, objects) in alike {
            let sql = business::upsert(&self.parts(&shape));
            let rows = format!("[{}]", objects.join(","));
            let texts = [user.as_str(), rows.as_str()];
            let written = connection.execute_with_texts(&sql, texts).await?;
            if written != u64::try_from(objects.len()).unwrap_or(u64::MAX) {
                return Err(HandlerError::new(format!(
                    "column {} does not hold the user as it is, or a trigger keeps rows away",
                    self.user.quoted()
                )));
            }
        }
        Ok(())
    }

    async fn remove(
        &self,
        connection: &BusinessConnection<'_>,
        user: &UserId,
        rows: &[RowAfter],
    ) -> Result<(), HandlerError> {
        let objects = rows.iter().map(|row| self.object(user, row, &[]));
        let objects: Vec<String> = objects.collect::<Result<_, _>>()?;
        let sql = business::remove(&self.parts(&[]));
        let rows = format!("[{}]", objects.join(","));
        let texts = [user.as_str(), rows.as_str()];
        connection.execute_with_texts(&sql, texts).await.map(|_| ())
    }

    /// What a row writes beside user and `pk`. What the payload lacks is null, or its default where that must not be.
    fn cells(&self, row: &RowAfter) -> Result<Cells, HandlerError> {
        let payload = row.payload.as_ref();
        let cells = self.filled.iter().map(|(field, column)| {
            match payload.and_then(|payload| payload.find(field.as_str())) {
                Some(value) => self.cell(field, column, value).map(Some),
                None if column.not_null && column.has_default => Ok(None),
                None => Ok(Some(Value::null())),
            }
        });
        cells.collect()
    }

    fn cell(
        &self,
        field: &FieldName,
        column: &Column,
        value: &Value,
    ) -> Result<Value, HandlerError> {
        let is_reference = self.described.references.contains_key(field);
        // What refers to nothing may be empty.
        if is_reference && value.as_str() == "\"\"" {
            return Ok(Value::null());
        }
        column.take(value)
    }

    /// A row as `json_to_recordset` takes it.
    fn object(
        &self,
        user: &UserId,
        row: &RowAfter,
        cells: &[Option<Value>],
    ) -> Result<String, HandlerError> {
        let user = Value::string(user.as_str());
        let key = self.key.take(&Value::string(row.record.as_str()))?;
        let own = [member(self.user, &user), member(self.key, &key)];
        let cells = self.filled.iter().zip(cells);
        let cells = cells.filter_map(|((_, column), cell)| Some(member(column, cell.as_ref()?)));
        let members: Vec<String> = own.into_iter().chain(cells).collect();
        Ok(format!("{{{}}}", members.join(",")))
    }

    /// The parts of a statement for rows that give values for these of the columns that payloads fill.
    fn parts(&self, shape: &[bool]) -> Parts {
        let filled = self.filled.iter().zip(shape);
        let filled = filled.map(|((_, column), is_given)| (*column, *is_given));
        let given = filled.clone().filter(|(_, is_given)| *is_given);
        let own = [self.user, self.key].into_iter();
        let given: Vec<&Column> = own.chain(given.map(|(column, _)| column)).collect();
        let types = given
            .iter()
            .map(|column| format!("{} {}", column.quoted(), column.type_name));
        let sets = filled.map(|(column, is_given)| {
            let name = column.quoted();
            match is_given {
                true => format!("{name} = excluded.{name}"),
                false => format!("{name} = default"),
            }
        });
        let mut sets: Vec<String> = sets.collect();
        let key = self.key.quoted();
        if sets.is_empty() {
            // There must be something that counts as an update.
            sets.push(format!("{key} = excluded.{key}"));
        }
        let BusinessTable { schema, name, .. } = self.into;
        Parts {
            into: format!("{}.{}", quoted(schema), quoted(name)),
            user: self.user.quoted(),
            types: types.collect::<Vec<_>>().join(", "),
            names: given
                .iter()
                .map(|column| column.quoted())
                .collect::<Vec<_>>()
                .join(", "),
            sets: sets.join(", "),
            key,
        }
    }
}

/// A member of a JSON object.
fn member(column: &Column, value: &Value) -> String {
    let name = Value::string(&column.name);
    format!("{}:{}", name.as_str(), value.as_str())
}

fn lacks(into: &BusinessTable, column: &str) -> HandlerError {
    let BusinessTable { schema, name, .. } = into;
    HandlerError::new(format!(
        "table {}.{} has no column {}",
        quoted(schema),
        quoted(name),
        quoted(column)
    ))
}
