//! The standing access of users to spaces.

use rusqlite::Connection;
use sync_protocol::{Millis, SpaceId, UserId};
use sync_store::{Grant, Role};

use super::{clock, queries};
use crate::failure::{Failure, Outcome};

/// The grants of a user, by space.
pub(crate) fn of(connection: &Connection, user: &UserId) -> Outcome<Vec<Grant>> {
    let mut statement = connection.prepare_cached(queries::GRANTS)?;
    let mut rows = statement.query([user.as_str()])?;
    let mut grants = Vec::new();
    while let Some(row) = rows.next()? {
        let space = SpaceId::new(row.get_ref(0)?.as_str()?);
        let role = Role::parse(row.get_ref(1)?.as_str()?);
        match (space, role) {
            (Ok(space), Some(role)) => grants.push(Grant { space, role }),
            _ => return Err(Failure::fault("a grant cannot be read")),
        }
    }
    Ok(grants)
}

/// Gives a role in a space at a position of its own; a change of role keeps the position.
pub(crate) fn give(
    connection: &Connection,
    user: &UserId,
    space: &SpaceId,
    role: Role,
    now: Millis,
) -> Outcome<()> {
    let position = clock::draw(connection, 1, now)?;
    connection.prepare_cached(queries::GRANT)?.execute((
        user.as_str(),
        space.as_str(),
        role.as_str(),
        position.0,
    ))?;
    Ok(())
}

/// Takes the access to a space away.
pub(crate) fn take_away(connection: &Connection, user: &UserId, space: &SpaceId) -> Outcome<()> {
    connection
        .prepare_cached(queries::REVOKE)?
        .execute((user.as_str(), space.as_str()))?;
    Ok(())
}
