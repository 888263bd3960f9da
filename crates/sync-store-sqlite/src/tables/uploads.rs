//! What devices have uploaded, so that an upload that is sent again is known.

use std::collections::{BTreeMap, HashMap};

use rusqlite::{Connection, OptionalExtension};
use sync_protocol::{Millis, UserId};
use sync_store::{Caller, Logged};

use super::queries;
use crate::failure::Outcome;

/// How many are forgotten at once.
const FORGOTTEN_AT_ONCE: i64 = 1000;

/// What is remembered of these changes of a device.
pub(crate) fn find(
    connection: &Connection,
    caller: &Caller,
    ids: &[i64],
) -> Outcome<HashMap<i64, Logged>> {
    let mut statement = connection.prepare_cached(queries::UPLOAD)?;
    let mut found = HashMap::new();
    for id in ids {
        let key = (caller.user.as_str(), caller.client.as_str(), id);
        let logged = statement.query_row(key, |row| {
            Ok(Logged {
                digest: u64::from_le_bytes(row.get::<_, i64>(0)?.to_le_bytes()),
                version: row.get(1)?,
            })
        });
        found.extend(logged.optional()?.map(|logged| (*id, logged)));
    }
    Ok(found)
}

/// Remembers changes of a device, over what was remembered of the same numbers.
pub(crate) fn keep(
    connection: &Connection,
    caller: &Caller,
    logged: &BTreeMap<i64, Logged>,
    now: Millis,
) -> Outcome<()> {
    let mut statement = connection.prepare_cached(queries::KEEP_UPLOAD)?;
    for (id, Logged { digest, version }) in logged {
        let digest = i64::from_le_bytes(digest.to_le_bytes());
        let (user, source) = (caller.user.as_str(), caller.client.as_str());
        statement.execute((user, source, id, digest, version, now.0))?;
    }
    Ok(())
}

/// Forgets some of what was uploaded at this time or before; whether there may be more.
pub(crate) fn forget(connection: &Connection, before: Millis) -> Outcome<bool> {
    let mut statement = connection.prepare_cached(queries::FORGET_UPLOADS)?;
    let forgotten = statement.execute((before.0, FORGOTTEN_AT_ONCE))?;
    Ok(i64::try_from(forgotten).is_ok_and(|forgotten| forgotten >= FORGOTTEN_AT_ONCE))
}

/// Forgets all that a user has uploaded.
pub(crate) fn erase(connection: &Connection, user: &UserId) -> Outcome<()> {
    let mut statement = connection.prepare_cached(queries::ERASE_UPLOADS)?;
    statement.execute([user.as_str()])?;
    Ok(())
}
