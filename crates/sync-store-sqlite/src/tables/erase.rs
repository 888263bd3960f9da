//! What erasing finds, removes and writes over, for the operator.

use rusqlite::{Connection, OptionalExtension, Row};
use sync_protocol::{AppId, IdentError, RecordId, SpaceId, TableName, UserId};
use sync_store::{RecordKey, RecordPlace, Scope, claim_mark};

use super::{queries, records};
use crate::failure::{Failure, Outcome};

/// A row that a user has written, and the record that it is of.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) position: i64,
    pub(crate) app: AppId,
    pub(crate) key: RecordKey,
}

/// A member of a space, if there is one.
pub(crate) fn a_member(connection: &Connection, space: &SpaceId) -> Outcome<Option<UserId>> {
    let mut statement = connection.prepare_cached(queries::A_MEMBER)?;
    let found: Option<String> = statement
        .query_row([space.as_str()], |row| row.get(0))
        .optional()?;
    found
        .map(|name| UserId::new(&name).map_err(unreadable))
        .transpose()
}

/// Some records of a scope, with the positions of their rows.
pub(crate) fn some_records(
    connection: &Connection,
    scope: &Scope,
    limit: usize,
) -> Outcome<Vec<(AppId, RecordKey, Vec<i64>)>> {
    let mut statement = connection.prepare_cached(queries::SOME_RECORDS)?;
    let mut rows = statement.query((scope.key(), bound(limit)))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let (app, table, record) = place(row, 0)?;
        let key = RecordKey {
            scope: scope.clone(),
            table,
            record,
        };
        found.push((app, key, records::positions(row.get_ref(3)?.as_str()?)?));
    }
    Ok(found)
}

/// Some rows that a user has written, wherever.
pub(crate) fn some_written(
    connection: &Connection,
    user: &UserId,
    limit: usize,
) -> Outcome<Vec<Written>> {
    let mut statement = connection.prepare_cached(queries::SOME_WRITTEN)?;
    let mut rows = statement.query((user.as_str(), bound(limit)))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let scope = Scope::from_key(row.get_ref(1)?.as_str()?);
        let (app, table, record) = place(row, 2)?;
        let key = RecordKey {
            scope: scope.ok_or_else(|| Failure::fault("a scope cannot be read"))?,
            table,
            record,
        };
        let position = row.get(0)?;
        found.push(Written { position, app, key });
    }
    Ok(found)
}

/// Some rows of a scope, the dead ones first.
pub(crate) fn some_rows(connection: &Connection, scope: &Scope, limit: usize) -> Outcome<Vec<i64>> {
    let mut found = Vec::new();
    for sql in [queries::SOME_DEAD, queries::SOME_LIVE] {
        let mut statement = connection.prepare_cached(sql)?;
        let left = bound(limit - found.len());
        let rows = statement.query_map((scope.key(), left), |row| row.get(0))?;
        for position in rows {
            found.push(position?);
        }
    }
    Ok(found)
}

/// Removes a row of a scope; whether it was there.
pub(crate) fn row(connection: &Connection, scope: &Scope, position: i64) -> Outcome<bool> {
    let mut statement = connection.prepare_cached(queries::ERASE_ROW)?;
    Ok(statement.execute((scope.key(), position))? > 0)
}

/// Takes the names off a row of a scope.
pub(crate) fn rename(
    connection: &Connection,
    scope: &Scope,
    position: i64,
    pseudonym: &UserId,
) -> Outcome<()> {
    let mut statement = connection.prepare_cached(queries::RENAME)?;
    statement.execute((scope.key(), position, pseudonym.as_str()))?;
    Ok(())
}

/// Removes what is kept aside for a user; how much it was.
pub(crate) fn parked(connection: &Connection, user: &UserId) -> Outcome<usize> {
    let mut statement = connection.prepare_cached(queries::ERASE_PARKED)?;
    Ok(statement.execute([user.as_str()])?)
}

/// Forgets that a user had access to a space; whether there was something to forget.
pub(crate) fn grant(connection: &Connection, user: &UserId, space: &SpaceId) -> Outcome<usize> {
    let mut statement = connection.prepare_cached(queries::ERASE_GRANT)?;
    Ok(statement.execute((user.as_str(), space.as_str()))?)
}

/// Some records of a scope behind a place, with the text of those that have a claim of the user.
pub(crate) fn claims(
    connection: &Connection,
    scope: &Scope,
    after: Option<&RecordPlace>,
    user: &UserId,
    limit: usize,
) -> Outcome<Vec<(RecordPlace, Option<String>)>> {
    let (app, table, record) = match after {
        Some((app, table, record)) => (app.as_str(), table.as_str(), record.as_str()),
        None => ("", "", ""),
    };
    let mut statement = connection.prepare_cached(queries::CLAIMS)?;
    let mark = claim_mark(user);
    let mut rows = statement.query((scope.key(), app, table, record, mark, bound(limit)))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push((place(row, 0)?, row.get(3)?));
    }
    Ok(found)
}

/// Writes the text of a record over.
pub(crate) fn restate(
    connection: &Connection,
    scope: &Scope,
    (app, table, record): &RecordPlace,
    text: &str,
) -> Outcome<()> {
    let mut statement = connection.prepare_cached(queries::RESTATE)?;
    let (app, table, record) = (app.as_str(), table.as_str(), record.as_str());
    statement.execute((scope.key(), app, table, record, text))?;
    Ok(())
}

fn place(row: &Row<'_>, first: usize) -> Outcome<RecordPlace> {
    let text = |column| -> Outcome<&str> { Ok(row.get_ref(column)?.as_str()?) };
    Ok((
        AppId::new(text(first)?).map_err(unreadable)?,
        TableName::new(text(first + 1)?).map_err(unreadable)?,
        RecordId::new(text(first + 2)?).map_err(unreadable)?,
    ))
}

fn unreadable(error: IdentError) -> Failure {
    Failure::fault(format!("a name of a row {error}"))
}

fn bound(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
