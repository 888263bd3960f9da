//! The standing access of users to spaces.

use rusqlite::{Connection, Row};
use sync_protocol::{Millis, SpaceId, UserId};
use sync_store::{Grant, Position, Role};

use super::queries;
use crate::failure::{Failure, Outcome};

/// The grants of a user, by space; also those that were taken away.
pub(crate) fn of(connection: &Connection, user: &UserId) -> Outcome<Vec<Grant>> {
    let mut statement = connection.prepare_cached(queries::GRANTS)?;
    let mut rows = statement.query([user.as_str()])?;
    let mut grants = Vec::new();
    while let Some(row) = rows.next()? {
        grants.push(grant(row)?);
    }
    Ok(grants)
}

/// Reads a grant, whose columns are those of `grants`.
pub(super) fn grant(row: &Row<'_>) -> Outcome<Grant> {
    let unreadable = || Failure::fault("a grant cannot be read");
    let role = |word| Role::parse(word).ok_or_else(unreadable);
    Ok(Grant {
        space: SpaceId::new(row.get_ref(0)?.as_str()?).map_err(|_| unreadable())?,
        role: row.get_ref(1)?.as_str_or_null()?.map(role).transpose()?,
        position: Position(row.get(2)?),
        asked: Millis(row.get(3)?),
        doubted: row.get::<_, Option<i64>>(4)?.map(Millis),
    })
}

/// Writes a grant over what was known of that user and space.
pub(crate) fn write(connection: &Connection, user: &UserId, grant: &Grant) -> Outcome<()> {
    connection.prepare_cached(queries::WRITE_GRANT)?.execute((
        user.as_str(),
        grant.space.as_str(),
        grant.role.map(Role::as_str),
        grant.position.0,
        grant.asked.0,
        grant.doubted.map(|doubted| doubted.0),
    ))?;
    Ok(())
}
