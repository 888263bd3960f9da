//! The rows of the log, one by one, and where it stands. Pages of it are read by `window`.

use rusqlite::{Connection, OptionalExtension, params};
use sync_merge::deleted_at;
use sync_protocol::{AppId, EventId, IdentError, Millis, RecordId, SpaceId, TableName, UserId};
use sync_store::{
    Cursor, Delta, Denied, Entry, Loaded, LoadedRow, Position, Promotion, Reach, Scope,
};

use super::{import, queries, window};
use crate::failure::{Failure, Outcome};

/// Where the log stands for a reader of these scopes who has read up to `since`. Dead rows do not count: one that is the
/// last of a scope was a value of a deleted record, and no answer brings it.
pub(crate) fn delta(
    connection: &Connection,
    app: &AppId,
    scopes: &[Scope],
    since: Cursor,
) -> Outcome<Delta> {
    let mut statement = connection.prepare_cached(queries::HORIZON)?;
    let mut horizon = Position::default();
    for scope in scopes {
        let last: Option<i64> =
            statement.query_row((scope.key(), app.as_str()), |row| row.get(0))?;
        horizon = horizon.max(Position(last.unwrap_or_default()));
    }
    let greatest = if since.position() > horizon {
        greatest(connection)?
    } else {
        horizon
    };
    Ok(Delta {
        horizon,
        greatest,
        imported: import::ended(connection)?,
    })
}

/// The last position of the whole log.
pub(crate) fn greatest(connection: &Connection) -> Outcome<Position> {
    let mut statement = connection.prepare_cached(queries::GREATEST)?;
    let greatest: Option<i64> = statement.query_row([], |row| row.get(0))?;
    Ok(Position(greatest.unwrap_or_default()))
}

/// Adds a live row of a record of this scope to what is loaded, if that has room for it.
pub(crate) fn load_fields(
    connection: &Connection,
    app: &AppId,
    scope: &Scope,
    position: i64,
    loaded: &mut Loaded,
) -> Outcome<()> {
    let mut statement = connection.prepare_cached(queries::FIELDS)?;
    let mut rows = statement.query((scope.key(), app.as_str(), position))?;
    let Some(row) = rows.next()? else {
        return Err(window::gone(position));
    };
    loaded.row(LoadedRow {
        position: Position(position),
        user: row.get_ref(0)?.as_str()?,
        to_everyone: row.get(1)?,
        data: row.get_ref(2)?.as_str()?,
        field_timestamps: row.get_ref(3)?.as_str()?,
    })?;
    Ok(())
}

/// Whether this user has a change of this event id.
pub(crate) fn event_is_taken(
    connection: &Connection,
    user: &UserId,
    event_id: EventId,
) -> Outcome<bool> {
    let mut statement = connection.prepare_cached(queries::EVENT_IS_TAKEN)?;
    let taken = statement
        .query_row((user.as_str(), event_id.bits().to_be_bytes()), |_| Ok(()))
        .optional()?;
    Ok(taken.is_some())
}

/// The rows of a user's personal scope that a promotion is to look at: those that are about a space into which the user
/// may write by now.
pub(crate) fn denied(
    connection: &Connection,
    promotion: &Promotion,
    reach: &Reach,
) -> Outcome<Vec<Denied>> {
    let spaces: Vec<_> = reach.writable().filter_map(Scope::space).collect();
    if spaces.is_empty() {
        return Ok(Vec::new());
    }
    let spaces = spaces.into_iter().map(SpaceId::as_str);
    let spaces = serde_json::Value::from_iter(spaces).to_string();
    let mut statement = connection.prepare_cached(queries::DENIED)?;
    let mut rows = statement.query((
        reach.personal().key(),
        promotion.after.0,
        spaces,
        promotion.received_since().0,
        i64::try_from(promotion.limit).unwrap_or(i64::MAX),
    ))?;
    let mut denied = Vec::new();
    while let Some(row) = rows.next()? {
        let text = |column| -> Outcome<&str> { Ok(row.get_ref(column)?.as_str()?) };
        let unreadable = |error: IdentError| Failure::fault(format!("a name of a row {error}"));
        denied.push(Denied {
            position: Position(row.get(0)?),
            app: AppId::new(text(1)?).map_err(unreadable)?,
            table: TableName::new(text(2)?).map_err(unreadable)?,
            record: RecordId::new(text(3)?).map_err(unreadable)?,
            space: SpaceId::new(text(4)?).map_err(unreadable)?,
        });
    }
    Ok(denied)
}

/// Appends a row.
pub(crate) fn append(connection: &Connection, entry: &Entry) -> Outcome<()> {
    connection
        .prepare_cached(queries::APPEND)?
        .execute(params![
            entry.position.0,
            entry.scope.key(),
            entry.event_id.bits().to_be_bytes(),
            entry.app.as_str(),
            entry.table.as_str(),
            entry.record.as_str(),
            entry.user.as_str(),
            entry.space.as_ref().map(|space| space.as_str()),
            entry.op.as_str(),
            entry.data(),
            entry.field_timestamps(),
            entry.client.as_str(),
            entry.received.0,
            entry.schema_version,
            entry.actor.as_ref().map(|actor| actor.as_str()),
            entry.origin.as_ref().map(|origin| origin.as_str()),
            entry.opens,
            entry.to_everyone,
            entry.undated,
            size(entry),
            entry.source_change_id,
        ])?;
    Ok(())
}

/// The column `size`, by which pages are filled: whoever writes values writes it, too.
fn size(entry: &Entry) -> i64 {
    i64::try_from(entry.written_size()).unwrap_or(i64::MAX)
}

/// How much room a row of this scope takes up in a page; none if it is not there.
pub(crate) fn size_of(
    connection: &Connection,
    app: &AppId,
    scope: &Scope,
    position: i64,
) -> Outcome<usize> {
    let mut statement = connection.prepare_cached(queries::SIZE_OF)?;
    let size: Option<i64> = statement
        .query_row((scope.key(), app.as_str(), position), |row| row.get(0))
        .optional()?;
    Ok(usize::try_from(size.unwrap_or(0)).unwrap_or(0))
}

/// Says that a row of this scope is dead since then.
pub(crate) fn bury(
    connection: &Connection,
    app: &AppId,
    scope: &Scope,
    position: i64,
    since: Millis,
) -> Outcome<()> {
    connection.prepare_cached(queries::BURY)?.execute((
        scope.key(),
        app.as_str(),
        position,
        since.0,
    ))?;
    Ok(())
}

/// Keeps of a row of this scope only that it is a delete.
pub(crate) fn keep_delete(
    connection: &Connection,
    app: &AppId,
    scope: &Scope,
    position: i64,
) -> Outcome<()> {
    let mut entry = window::row(connection, app, scope, position)?;
    entry.fields.retain(|(name, ..)| name == deleted_at());
    connection.prepare_cached(queries::KEEP_DELETE)?.execute((
        scope.key(),
        app.as_str(),
        position,
        entry.data(),
        entry.field_timestamps(),
        size(&entry),
    ))?;
    Ok(())
}
