//! Everything of a user or a space, for the operator, a page at a time.

use rusqlite::{CachedStatement, Connection, Params, Row};
use sync_protocol::{AppId, Audience, IdentError, Millis, UserId, Value};
use sync_store::{
    EXPORT_ITEMS, Export, Exported, Item, ParkedChange, Place, Position, Scope, whole,
};

use super::{grants, queries, window};
use crate::failure::{Failure, Outcome};

/// Reads a page, and no further.
pub(crate) fn page(connection: &Connection, export: &Export) -> Outcome<Exported> {
    let items = i64::try_from(EXPORT_ITEMS).unwrap_or(i64::MAX);
    let scope = whole(&export.of).key();
    let name = match &export.of {
        Audience::User(user) => user.as_str(),
        Audience::Space(space) => space.as_str(),
    };
    let prepare = |sql| connection.prepare_cached(sql);
    match &export.after {
        Place::Grants(after) => {
            let sql = match &export.of {
                Audience::User(_) => queries::GRANTS_BEHIND,
                Audience::Space(_) => queries::MEMBERS_BEHIND,
            };
            fill(export, prepare(sql)?, (name, after, items), grant)
        }
        Place::Parked(after) => {
            let statement = prepare(queries::PARKED_BEHIND)?;
            fill(export, statement, (name, after, items), parked)
        }
        Place::Written(after) => {
            let Some(from) = after.map_or(Some(0), |id| id.bits().checked_add(1)) else {
                return Exported::fill::<Failure>(export, []);
            };
            let statement = prepare(queries::WRITTEN)?;
            fill(export, statement, (name, from.to_be_bytes(), items), change)
        }
        Place::Live(after) => {
            let (app, position) = match after {
                Some((app, position)) => (app.as_str(), *position),
                None => ("", Position::default()),
            };
            let statement = prepare(queries::LIVE_BEHIND)?;
            fill(export, statement, (scope, app, position.0, items), change)
        }
        Place::Dead(after) => {
            let statement = prepare(queries::DEAD_BEHIND)?;
            fill(export, statement, (scope, after.0, items), change)
        }
    }
}

fn fill(
    export: &Export,
    mut statement: CachedStatement<'_>,
    parameters: impl Params,
    item: fn(&Row<'_>) -> Outcome<(Item, i64)>,
) -> Outcome<Exported> {
    let rows = statement.query_and_then(parameters, item)?;
    let placed = rows.map(|found| {
        let (item, parked) = found?;
        let behind = export.after.behind(&item, &export.of, parked);
        Ok::<_, Failure>((item, behind))
    });
    Exported::fill(export, placed)
}

fn unreadable(error: IdentError) -> Failure {
    Failure::fault(format!("a name of a row {error}"))
}

fn grant(row: &Row<'_>) -> Outcome<(Item, i64)> {
    let user = UserId::new(row.get_ref(5)?.as_str()?).map_err(unreadable)?;
    Ok((Item::Grant(user, grants::grant(row)?), 0))
}

fn parked(row: &Row<'_>) -> Outcome<(Item, i64)> {
    let raw = Value::parse(row.get_ref(0)?.as_str()?)
        .map_err(|error| Failure::fault(format!("a parked change is no JSON: {error}")))?;
    let kept = ParkedChange {
        raw,
        reason: row.get(1)?,
    };
    let app = AppId::new(row.get_ref(2)?.as_str()?).map_err(unreadable)?;
    Ok((Item::Parked(app, kept), row.get(3)?))
}

fn change(row: &Row<'_>) -> Outcome<(Item, i64)> {
    let scope = Scope::from_key(row.get_ref(19)?.as_str()?);
    let scope = scope.ok_or_else(|| Failure::fault("a scope cannot be read"))?;
    let app = AppId::new(row.get_ref(20)?.as_str()?).map_err(unreadable)?;
    let entry = window::entry(row, &scope, &app)?;
    let dead_since: Option<i64> = row.get(21)?;
    Ok((Item::Change(Box::new(entry), dead_since.map(Millis)), 0))
}
