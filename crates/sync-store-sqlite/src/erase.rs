//! Erasing a user or a space, one batch at a time. The one writer has every lock there is.

use rusqlite::Connection;
use sync_protocol::{Audience, SpaceId, UserId};
use sync_store::{
    Erased, Erasure, RecordPlace, RecordState, Regrant, Scope, Stage, personal, whole,
};

use crate::failure::Outcome;
use crate::tables::erase as table;
use crate::tables::{clock, grants, records, uploads};

/// How many records go at once.
const RECORDS: usize = 200;
/// How many of their rows, the last record's not counted, and how many other rows.
const ROWS: usize = 500;
/// How many records are looked through for claims at once.
const LOOKED_THROUGH: usize = 500;

/// Erases a batch. What goes is written over with zeros, not left in the free room of the file.
pub(crate) fn erase(connection: &Connection, erasure: &Erasure) -> Outcome<Erased> {
    connection.execute_batch("PRAGMA secure_delete = ON")?;
    let erased = match &erasure.of {
        Audience::User(user) => erase_user(connection, user, erasure),
        Audience::Space(space) => erase_space(connection, space, erasure),
    };
    connection.execute_batch("PRAGMA secure_delete = OFF")?;
    erased
}

fn erase_user(connection: &Connection, user: &UserId, erasure: &Erasure) -> Outcome<Erased> {
    match &erasure.stage {
        Stage::Grants => {
            take_away(connection, user, None, erasure)?;
            Ok(then(Stage::Rows))
        }
        Stage::Rows => {
            let mut erased = erase_records(connection, &personal(user))?;
            erased.parked = table::parked(connection, user)?;
            uploads::erase(connection, user)?;
            // A live row never outlives its record.
            if erased.next.is_none() {
                erased += erase_written(connection, user, erasure)?;
            }
            Ok(erased)
        }
        Stage::Claims(place) => erase_claims(connection, user, place.as_ref()),
    }
}

fn erase_space(connection: &Connection, space: &SpaceId, erasure: &Erasure) -> Outcome<Erased> {
    let scope = whole(&erasure.of);
    if let Stage::Grants = erasure.stage {
        let Some(member) = table::a_member(connection, space)? else {
            return Ok(then(Stage::Rows));
        };
        let grants = take_away(connection, &member, Some(space), erasure)?;
        return Ok(Erased {
            grants,
            left: vec![member],
            ..then(Stage::Grants)
        });
    }
    let mut erased = erase_records(connection, &scope)?;
    if erased.next.is_none() {
        let rows = table::some_rows(connection, &scope, ROWS)?;
        erased.next = (rows.len() == ROWS).then_some(Stage::Rows);
        for position in rows {
            erased.rows += usize::from(table::row(connection, &scope, position)?);
        }
    }
    Ok(erased)
}

/// Nothing was done in this batch, or not yet; it goes on with this.
fn then(stage: Stage) -> Erased {
    Erased {
        next: Some(stage),
        ..Erased::default()
    }
}

/// Takes a space away from a user, or all; how many it was.
fn take_away(
    connection: &Connection,
    user: &UserId,
    space: Option<&SpaceId>,
    erasure: &Erasure,
) -> Outcome<usize> {
    let regrant = Regrant::away(&grants::of(connection, user)?, space, erasure.now);
    let base = clock::draw(connection, regrant.positions(), erasure.now)?;
    let (changed, _) = regrant.grants(base);
    for grant in &changed {
        grants::write(connection, user, grant)?;
    }
    Ok(changed.len())
}

/// Removes records with their rows; there is no next batch if these were all.
fn erase_records(connection: &Connection, scope: &Scope) -> Outcome<Erased> {
    let mut erased = Erased::default();
    let found = table::some_records(connection, scope, RECORDS)?;
    let mut is_full = found.len() == RECORDS;
    let mut rows = 0;
    for (app, key, positions) in found {
        if rows > ROWS {
            is_full = true;
            break;
        }
        rows += positions.len();
        for position in positions {
            erased.rows += usize::from(table::row(connection, scope, position)?);
        }
        records::forget(connection, &app, &key)?;
        erased.records += 1;
    }
    erased.next = is_full.then_some(Stage::Rows);
    Ok(erased)
}

/// Of what a user has written, removes what is its own, and takes its name off the rest.
fn erase_written(connection: &Connection, user: &UserId, erasure: &Erasure) -> Outcome<Erased> {
    let written = table::some_written(connection, user, ROWS)?;
    let mut erased = then(if written.len() == ROWS {
        Stage::Rows
    } else {
        Stage::Claims(None)
    });
    for table::Written { position, app, key } in written {
        if key.scope == personal(user) {
            erased.rows += usize::from(table::row(connection, &key.scope, position)?);
            continue;
        }
        table::rename(connection, &key.scope, position, &erasure.pseudonym)?;
        erased.renamed += 1;
        if let Some(found) = records::find(connection, &app, &key)? {
            let place = (app, key.table, key.record);
            erased.claims += drop_claims(connection, user, &key.scope, &place, &found.state)?;
        }
    }
    Ok(erased)
}

/// Removes a user's claims from some records of one of its spaces; at the end of the space, the grant.
fn erase_claims(
    connection: &Connection,
    user: &UserId,
    place: Option<&(SpaceId, Option<RecordPlace>)>,
) -> Outcome<Erased> {
    let known = grants::of(connection, user)?;
    let space = match place {
        Some((space, Some(_))) => Some(space),
        Some((done, None)) => known.iter().map(|it| &it.space).find(|it| *it > done),
        None => known.first().map(|grant| &grant.space),
    };
    let Some(space) = space else {
        return Ok(Erased::default());
    };
    let scope = whole(&Audience::Space(space.clone()));
    let after = place.and_then(|(_, after)| after.as_ref());
    let found = table::claims(connection, &scope, after, user, LOOKED_THROUGH)?;
    let behind = found.last().map(|(place, _)| place.clone());
    let mut erased = then(Stage::Claims(Some((space.clone(), behind.clone()))));
    if behind.is_none() {
        erased.grants = table::grant(connection, user, space)?;
    }
    for (place, text) in found {
        if let Some(text) = text {
            erased.claims += drop_claims(connection, user, &scope, &place, &text)?;
        }
    }
    Ok(erased)
}

/// Writes a record without the claims of a user; 1 if it had any.
fn drop_claims(
    connection: &Connection,
    user: &UserId,
    scope: &Scope,
    place: &RecordPlace,
    text: &str,
) -> Outcome<usize> {
    let Some(text) = RecordState::without_claims(text, user)? else {
        return Ok(0);
    };
    table::restate(connection, scope, place, &text)?;
    Ok(1)
}
