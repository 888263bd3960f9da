//! `SYNC_TABLES`: a file that describes the tables of rows clients. What is wrong in it is said with its place.
//!
//! ```toml
//! schema_version = 1            # told to rows clients; 1 if it is not there
//!
//! [tables."business.users"]     # schema.table, as clients name them
//! into = "business.users"       # the business table, schema.name; nothing is written without it
//! user = "user_id"              # its column of the user
//! key = "id"                    # its column of the pk; "id" if it is not there
//! columns = ["name", "email"]   # the payload keys that are written, into columns of the same name; or { key = "column" }
//!
//! [tables."business.posts"]
//! references = { author_id = "business.users" }
//! ```

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use sync_protocol::rows::is_row_name;
use sync_protocol::{AppId, FieldName, TableName};
use sync_store::{BusinessTable, RowTable, RowTables, TableKey};

use crate::settings::{Database, Settings};

/// The longest name that PostgreSQL has, in bytes.
const MAX_NAME_BYTES: usize = 63;
/// The schema version that rows clients are told, unless the file has another one.
const SCHEMA_VERSION: i64 = 1;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    schema_version: Option<i64>,
    tables: Option<BTreeMap<String, Table>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    into: Option<String>,
    user: Option<String>,
    key: Option<String>,
    columns: Option<Columns>,
    #[serde(default)]
    references: BTreeMap<String, String>,
}

/// The payload keys that are written into a business table, and the column of each.
#[derive(Clone, Deserialize)]
#[serde(
    untagged,
    expecting = "`columns` must be a list, [\"name\", …], or a map, { key = \"column\", … }"
)]
enum Columns {
    OfTheSameName(Vec<String>),
    Named(BTreeMap<String, String>),
}

impl Columns {
    fn pairs(self) -> Vec<(String, String)> {
        match self {
            Self::OfTheSameName(names) => {
                names.into_iter().map(|name| (name.clone(), name)).collect()
            }
            Self::Named(columns) => columns.into_iter().collect(),
        }
    }
}

/// What is known of the tables of rows clients, and the schema version that they are told. Without a file every table is
/// taken.
///
/// # Errors
///
/// A sentence that names the setting, the file and the table.
pub(crate) fn tables(settings: &Settings) -> Result<(RowTables, i64), String> {
    let Some(path) = &settings.sync_tables else {
        let tables = RowTables {
            limits: settings.rows.limits(),
            ..RowTables::default()
        };
        return Ok((tables, SCHEMA_VERSION));
    };
    let fault = |fault: String| format!("SYNC_TABLES: {path}: {fault}");
    let text = std::fs::read_to_string(path)
        .map_err(|error| fault(format!("it cannot be read: {error}")))?;
    let (tables, version) = parse(&text).map_err(fault)?;
    if let Ok(Database::Sqlite(_)) = settings.database()
        && let Some(((app, table), _)) = written(&tables).next()
    {
        return Err(fault(format!(
            "[tables.\"{app}.{table}\"]: `into` wants PostgreSQL, and DATABASE_URL names SQLite: take `into`, `user`, `key` \
             and `columns` away, or set DATABASE_URL to postgresql://…"
        )));
    }
    let tables = RowTables {
        limits: settings.rows.limits(),
        ..tables
    };
    Ok((tables, version))
}

/// The tables that are written into business tables.
fn written(tables: &RowTables) -> impl Iterator<Item = (&TableKey, &BusinessTable)> {
    let described = tables.described.iter().flatten();
    described.filter_map(|(key, table)| Some((key, table.business.as_ref()?)))
}

fn parse(text: &str) -> Result<(RowTables, i64), String> {
    let file: File = toml::from_str(text).map_err(|error| error.to_string().trim().to_owned())?;
    let version = file.schema_version.unwrap_or(SCHEMA_VERSION);
    let Some(tables) = file.tables else {
        return Ok((RowTables::default(), version));
    };
    let mut described = BTreeMap::new();
    for (name, table) in tables {
        let place = |fault: String| format!("[tables.\"{name}\"]: {fault}");
        let key = table_key(&name).map_err(place)?;
        let place = |fault: String| format!("[tables.\"{name}\"]: {fault}");
        described.insert(key, read(table).map_err(place)?);
    }
    for ((app, table), described_table) in &described {
        for (field, parent) in &described_table.references {
            if !described.contains_key(parent) {
                let (parent_app, parent) = parent;
                return Err(format!(
                    "[tables.\"{app}.{table}\"]: {field} refers to {parent_app}.{parent}, which is not in this file: add \
                     [tables.\"{parent_app}.{parent}\"], or take the reference away"
                ));
            }
        }
    }
    let tables = RowTables {
        described: Some(described),
        ..RowTables::default()
    };
    one_table_each(&tables)?;
    Ok((tables, version))
}

/// Checks that no two tables are written into one.
fn one_table_each(tables: &RowTables) -> Result<(), String> {
    let mut names = BTreeSet::new();
    for ((app, table), into) in written(tables) {
        if !names.insert((&into.schema, &into.name)) {
            return Err(format!(
                "[tables.\"{app}.{table}\"]: another table is written into {}.{} already: rows of two tables in one would \
                 write each other over, so give each its own",
                into.schema, into.name
            ));
        }
    }
    Ok(())
}

fn read(table: Table) -> Result<RowTable, String> {
    let references = table
        .references
        .iter()
        .map(|(field, parent)| Ok::<_, String>((field_name(field)?, table_key(parent)?)));
    Ok(RowTable {
        references: references.collect::<Result<_, _>>()?,
        business: business(&table)?,
    })
}

fn business(table: &Table) -> Result<Option<BusinessTable>, String> {
    let Some(into) = &table.into else {
        if table.user.is_some() || table.key.is_some() || table.columns.is_some() {
            return Err("`user`, `key` and `columns` are about a business table: name it with `into`, or take them away".to_owned());
        }
        return Ok(None);
    };
    let (schema, name) = into
        .split_once('.')
        .filter(|(_, name)| !name.contains('.'))
        .ok_or_else(|| {
            format!("`into` must be schema.name of a business table, and {into:?} is not")
        })?;
    let Some(user) = &table.user else {
        return Err(
            "`into` wants `user`: the column that holds the user, since rows of several users may have one pk".to_owned(),
        );
    };
    let key = table.key.as_deref().unwrap_or("id");
    for name in [schema, name, user, key] {
        check_name(name)?;
    }
    if user == key {
        return Err(format!(
            "`user` and `key` are both column {user}: they must be two"
        ));
    }
    let Some(columns) = table.columns.clone() else {
        return Err(
            "`into` wants `columns`: without it clients could write any column of the table, is_admin as well as name; write \
             columns = [\"name\", …] with the payload keys that are theirs to write, or { key = \"column\", … } where names \
             differ"
                .to_owned(),
        );
    };
    Ok(Some(BusinessTable {
        schema: schema.to_owned(),
        name: name.to_owned(),
        user: user.clone(),
        key: key.to_owned(),
        columns: columns_of(columns, user, key)?,
    }))
}

fn columns_of(
    columns: Columns,
    user: &str,
    key: &str,
) -> Result<BTreeMap<FieldName, String>, String> {
    let mut seen = BTreeSet::new();
    let mut named = BTreeMap::new();
    for (field, column) in columns.pairs() {
        check_name(&column)?;
        if column == user || column == key {
            return Err(format!(
                "`columns` has {field} = {column:?}, and the server itself writes user and pk: take it away"
            ));
        }
        if !seen.insert(column.clone()) {
            return Err(format!("`columns` has column {column:?} twice"));
        }
        named.insert(field_name(&field)?, column);
    }
    Ok(named)
}

fn field_name(text: &str) -> Result<FieldName, String> {
    FieldName::new(text).map_err(|error| format!("the payload key {text:?} {error}"))
}

/// A table as clients name it.
fn table_key(text: &str) -> Result<TableKey, String> {
    let fault =
        || format!("{text:?} must be schema.table, each of a-z, 0-9 and _ as clients name them");
    let (app, table) = text.split_once('.').ok_or_else(fault)?;
    if !is_row_name(app) || !is_row_name(table) {
        return Err(fault());
    }
    let app = AppId::new(app).map_err(|_| fault())?;
    Ok((app, TableName::new(table).map_err(|_| fault())?))
}

/// Whether PostgreSQL can have this name.
fn check_name(name: &str) -> Result<(), String> {
    if name.is_empty() || name.len() > MAX_NAME_BYTES || name.contains('\0') {
        return Err(format!(
            "{name:?} cannot be a name in PostgreSQL, which has 1 to {MAX_NAME_BYTES} bytes"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::tests::settings;

    const GOOD: &str = r#"
schema_version = 3
[tables."business.users"]
into = "crm.Users"
user = "user_id"
columns = { name = "full_name" }
[tables."business.posts"]
into = "business.posts"
user = "owner"
key = "post"
columns = ["title", "author_id"]
references = { author_id = "business.users" }
[tables."business.tags"]
"#;

    fn key(table: &str) -> TableKey {
        table_key(table).expect("a name")
    }

    fn field(name: &str) -> FieldName {
        FieldName::new(name).expect("a name")
    }

    fn from(text: &str, database: &str) -> Result<(RowTables, i64), String> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("tables.toml");
        std::fs::write(&path, text).expect("a file");
        let path = path.to_str().expect("a path in UTF-8");
        tables(&settings(&[
            "--sync-tables",
            path,
            "--database-url",
            database,
        ]))
    }

    #[test]
    fn a_file_describes_tables() {
        let into = |schema: &str, name: &str, user: &str, key: &str, columns| BusinessTable {
            schema: schema.to_owned(),
            name: name.to_owned(),
            user: user.to_owned(),
            key: key.to_owned(),
            columns: Vec::into_iter(columns).collect(),
        };
        let full_name = [(field("name"), "full_name".to_owned())];
        let same = ["title", "author_id"].map(|name| (field(name), name.to_owned()));
        let users = RowTable {
            references: BTreeMap::new(),
            business: Some(into("crm", "Users", "user_id", "id", full_name.to_vec())),
        };
        let posts = RowTable {
            references: BTreeMap::from([(field("author_id"), key("business.users"))]),
            business: Some(into("business", "posts", "owner", "post", same.to_vec())),
        };
        let described = BTreeMap::from([
            (key("business.users"), users),
            (key("business.posts"), posts),
            (key("business.tags"), RowTable::default()),
        ]);
        let expected = RowTables {
            described: Some(described),
            ..RowTables::default()
        };
        assert_eq!(from(GOOD, "postgresql://host/name"), Ok((expected, 3)));
    }

    #[test]
    fn without_a_file_or_tables_in_it_every_table_is_taken() {
        let all = Ok((RowTables::default(), 1));
        assert_eq!(tables(&settings(&[])), all);
        assert_eq!(from("", "sqlite:x"), all);
        let version = from("schema_version = 7", "sqlite:x");
        assert_eq!(version, Ok((RowTables::default(), 7)));
        let (none, _) = from("[tables]", "sqlite:x").expect("a file");
        assert_eq!(none.described, Some(BTreeMap::new()));
    }

    #[test]
    fn what_is_wrong_in_a_file_is_said_with_its_place() {
        let into = |more: &str| format!("[tables.\"a.b\"]\ninto = \"s.t\"\nuser = \"u\"\n{more}");
        for (text, told) in [
            ("schema = 1".to_owned(), "unknown field `schema`"),
            (
                "[tables.\"a.b\"]\nfoo = 1".to_owned(),
                "unknown field `foo`",
            ),
            ("[tables".to_owned(), "line 1"),
            ("schema_version = \"x\"".to_owned(), "expected i64"),
            (
                "[tables.users]".to_owned(),
                "[tables.\"users\"]: \"users\" must be schema.table",
            ),
            ("[tables.\"A.b\"]".to_owned(), "must be schema.table"),
            ("[tables.\"a.b.c\"]".to_owned(), "must be schema.table"),
            (
                "[tables.\"a.b\"]\nreferences = { x = \"a.c\" }".to_owned(),
                "[tables.\"a.b\"]: x refers to a.c, which is not in this file",
            ),
            (
                "[tables.\"a.b\"]\nreferences = { \"\" = \"a.b\" }".to_owned(),
                "the payload key \"\" is empty",
            ),
            (
                "[tables.\"a.b\"]\ninto = \"s.t\"".to_owned(),
                "[tables.\"a.b\"]: `into` wants `user`",
            ),
            (
                "[tables.\"a.b\"]\ninto = \"t\"\nuser = \"u\"".to_owned(),
                "`into` must be schema.name",
            ),
            (
                "[tables.\"a.b\"]\nuser = \"u\"".to_owned(),
                "name it with `into`",
            ),
            (into("key = \"u\""), "both column u"),
            (into("key = \"\""), "cannot be a name"),
            (into(""), "`into` wants `columns`: without it clients could"),
            (into("columns = \"x\""), "`columns` must be a list"),
            (into("columns = [\"c\", \"c\"]"), "\"c\" twice"),
            (into("columns = [\"id\"]"), "writes user and pk"),
            (into("columns = { x = \"u\" }"), "writes user and pk"),
            (into("columns = { x = \"c\", y = \"c\" }"), "\"c\" twice"),
            (
                into("columns = []\n[tables.\"a.c\"]\ninto = \"s.t\"\nuser = \"u\"\ncolumns = []"),
                "[tables.\"a.c\"]: another table is written into s.t",
            ),
        ] {
            let fault = from(&text, "postgresql://host/name").expect_err(&text);
            assert!(
                fault.starts_with("SYNC_TABLES: ") && fault.contains(told),
                "{fault}"
            );
            assert!(fault.contains("tables.toml"), "{fault}");
        }
    }

    #[test]
    fn business_tables_want_postgresql() {
        let fault = from(GOOD, "sqlite:x").expect_err("SQLite");
        assert!(
            fault.contains("[tables.\"business.posts\"]: `into` wants PostgreSQL"),
            "{fault}"
        );
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let fault = tables(&settings(&["--sync-tables", "/nowhere/tables.toml"]));
        let fault = fault.expect_err("no file");
        assert!(
            fault.starts_with("SYNC_TABLES: /nowhere/tables.toml: it cannot be read"),
            "{fault}"
        );
    }
}
