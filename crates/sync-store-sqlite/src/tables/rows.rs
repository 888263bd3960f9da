//! Records as rows of the rows dialect, found by the position of their newest row.

use rusqlite::{Connection, OptionalExtension, Row};
use sync_protocol::rows::is_canonical_uuid;
use sync_protocol::{AppId, IdentError, Millis, Op, RecordId, TableName};
use sync_store::{FoundRow, Position, RecordKey, Scope, Wanted};

use super::{queries, records, window};
use crate::failure::{Failure, Outcome};

/// The apps of which a scope has live rows.
pub(crate) fn apps(connection: &Connection, scope: &Scope) -> Outcome<Vec<AppId>> {
    let mut statement = connection.prepare_cached(queries::NEXT_APP)?;
    let mut apps = Vec::new();
    let mut last = String::new();
    loop {
        let next: Option<String> = statement.query_row((scope.key(), &last), |row| row.get(0))?;
        let Some(next) = next else {
            return Ok(apps);
        };
        apps.push(AppId::new(&next).map_err(unreadable)?);
        last = next;
    }
}

/// The last position of these apps in a scope.
pub(crate) fn newest(connection: &Connection, scope: &Scope, apps: &[AppId]) -> Outcome<Position> {
    let mut statement = connection.prepare_cached(queries::HORIZON)?;
    let mut newest = Position::default();
    for app in apps {
        let last: Option<i64> =
            statement.query_row((scope.key(), app.as_str()), |row| row.get(0))?;
        newest = newest.max(Position(last.unwrap_or_default()));
    }
    Ok(newest)
}

/// The records of an app that are wanted, without the uploads of a device; and whether some were left out that do not fit.
pub(crate) fn find(
    connection: &Connection,
    scope: &Scope,
    app: &AppId,
    wanted: Wanted,
    left_out: Option<&str>,
) -> Outcome<(Vec<FoundRow>, bool)> {
    let mut statement = connection.prepare_cached(queries::ROWS)?;
    let parameters = (
        scope.key(),
        app.as_str(),
        wanted.after.0,
        wanted.until.0,
        left_out,
    );
    let mut rows = statement.query(parameters)?;
    let (mut found, mut room) = (Vec::new(), wanted.bytes);
    while let Some(row) = rows.next()? {
        let id = row.get_ref(2)?.as_str()?;
        if !is_canonical_uuid(id) {
            continue;
        }
        let key = RecordKey {
            scope: scope.clone(),
            table: TableName::new(row.get_ref(1)?.as_str()?).map_err(unreadable)?,
            record: RecordId::new(id).map_err(unreadable)?,
        };
        let stored = records::find(connection, app, &key)?;
        let position: i64 = row.get(0)?;
        let Some(stored) = stored.filter(|stored| stored.rows.last() == Some(&position)) else {
            continue;
        };
        if found.len() == wanted.rows {
            break;
        }
        let record = read(connection, app, key, stored, row)?;
        let bytes = record.bytes();
        if bytes > room && !found.is_empty() {
            return Ok((found, true));
        }
        room = room.saturating_sub(bytes);
        found.push(record);
    }
    Ok((found, false))
}

/// A record by its key, if there is one.
pub(crate) fn find_by_key(
    connection: &Connection,
    app: &AppId,
    key: RecordKey,
) -> Outcome<Option<FoundRow>> {
    let Some(stored) = records::find(connection, app, &key)? else {
        return Ok(None);
    };
    let Some(newest) = stored.rows.last().copied() else {
        return Ok(None);
    };
    let mut statement = connection.prepare_cached(queries::ROW_HEAD)?;
    let mut rows = statement.query((key.scope.key(), app.as_str(), newest))?;
    let row = rows.next()?.ok_or_else(|| window::gone(newest))?;
    read(connection, app, key, stored, row).map(Some)
}

/// Reads a record whose newest row has these columns.
fn read(
    connection: &Connection,
    app: &AppId,
    key: RecordKey,
    stored: records::Stored,
    row: &Row<'_>,
) -> Outcome<FoundRow> {
    let mut statement = connection.prepare_cached(queries::DATA)?;
    let mut data = Vec::with_capacity(stored.rows.len());
    for position in &stored.rows {
        let text = statement
            .query_row((key.scope.key(), app.as_str(), position), |row| row.get(0))
            .optional()?;
        data.push(text.ok_or_else(|| window::gone(*position))?);
    }
    let op = Op::parse(row.get_ref(3)?.as_str()?);
    Ok(FoundRow {
        position: Position(row.get(0)?),
        app: app.clone(),
        table: key.table,
        record: key.record,
        op: op.ok_or_else(|| Failure::fault("a row has an unknown op"))?,
        client: row.get(4)?,
        received: Millis(row.get(5)?),
        source_change_id: row.get(6)?,
        to_everyone: row.get(7)?,
        version: stored.version,
        state: stored.state,
        data,
    })
}

fn unreadable(error: IdentError) -> Failure {
    Failure::fault(format!("a name of a row {error}"))
}
