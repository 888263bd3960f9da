//! Changes that can never be rows, kept for their authors.

use rusqlite::Connection;
use sync_protocol::{AppId, Millis, Parked, UserId, Value};
use sync_store::ParkedChange;

use super::queries;
use crate::failure::{Failure, Outcome};

/// How many are kept for one user, over all apps: far more than a client that is mistaken sends, few enough that one
/// that means harm fills no disk. The oldest go.
const MAX_PER_USER: usize = 10_000;
/// How many bytes of them.
const MAX_BYTES_PER_USER: usize = 64 * 1024 * 1024;

/// Keeps what is not kept already.
pub(crate) fn keep(
    connection: &Connection,
    user: &UserId,
    app: &AppId,
    parked: &[Parked],
    now: Millis,
) -> Outcome<()> {
    if parked.is_empty() {
        return Ok(());
    }
    let mut statement = connection.prepare_cached(queries::KEEP_ASIDE)?;
    for change in parked {
        statement.execute((
            user.as_str(),
            app.as_str(),
            digest(change),
            change.raw.as_str(),
            &change.reason,
            as_i64(change.raw.as_str().len()),
            now.0,
        ))?;
    }
    forget_oldest(connection, user, MAX_PER_USER, MAX_BYTES_PER_USER)
}

/// What is kept for a user of an app, oldest first.
pub(crate) fn of(
    connection: &Connection,
    user: &UserId,
    app: &AppId,
) -> Outcome<Vec<ParkedChange>> {
    let mut statement = connection.prepare_cached(queries::PARKED)?;
    let mut rows = statement.query((user.as_str(), app.as_str()))?;
    let mut parked = Vec::new();
    while let Some(row) = rows.next()? {
        let raw = Value::parse(row.get_ref(0)?.as_str()?)
            .map_err(|error| Failure::fault(format!("a parked change is no JSON: {error}")))?;
        parked.push(ParkedChange {
            raw,
            reason: row.get(1)?,
        });
    }
    Ok(parked)
}

fn forget_oldest(connection: &Connection, user: &UserId, kept: usize, bytes: usize) -> Outcome<()> {
    connection
        .prepare_cached(queries::FORGET_OLDEST_PARKED)?
        .execute((user.as_str(), as_i64(kept), as_i64(bytes)))?;
    Ok(())
}

fn as_i64(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// By what the same change is known again: it is compared with those of its author only, so nobody gains by a clash.
fn digest(change: &Parked) -> i64 {
    let text = [change.raw.as_str(), &change.reason].join("\n");
    i64::from_le_bytes(sync_merge::digest(text.as_bytes()).to_le_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(index: usize, raw: &str) -> Parked {
        Parked {
            index,
            raw: Value::parse(raw).unwrap(),
            reason: "too long".to_owned(),
        }
    }

    fn left(kept: usize, bytes: usize) -> Vec<String> {
        let mut connection = Connection::open_in_memory().unwrap();
        crate::migrations::bring_up_to_date(&mut connection).unwrap();
        let names = ["anna", "ben"].map(|name| UserId::new(name).unwrap());
        let app = AppId::new("todo").unwrap();
        for user in &names {
            let all = ["1111", "2222", "1111", "3333"]
                .iter()
                .enumerate()
                .map(|(index, raw)| change(index, raw));
            let all: Vec<_> = all.collect();
            keep(&connection, user, &app, &all, Millis(0)).unwrap();
        }
        forget_oldest(&connection, &names[0], kept, bytes).unwrap();
        assert_eq!(of(&connection, &names[1], &app).unwrap().len(), 3);
        let left = of(&connection, &names[0], &app).unwrap();
        left.iter()
            .map(|kept| kept.raw.as_str().to_owned())
            .collect()
    }

    #[test]
    fn of_what_is_kept_aside_for_a_user_the_oldest_goes() {
        assert_eq!(left(3, 12), ["1111", "2222", "3333"]);
        assert_eq!(left(2, 12), ["2222", "3333"]);
        assert_eq!(left(3, 11), ["2222", "3333"]);
        assert_eq!(left(3, 3), Vec::<String>::new());
    }
}
