//! Everything of a user or a space, a page at a time: one short transaction each, without a lock.

use std::time::SystemTime;

use sync_protocol::{AppId, Audience, EventId, UserId};
use sync_store::{
    EXPORT_BYTES, EXPORT_ITEMS, Export, Exported, Item, Place, Position, StoreError, whole,
};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::failure::Failure;
use crate::instant::millis;
use crate::page::{self, number, unreadable};
use crate::queries::whole as queries;
use crate::session::{Acting, Session, answered, read_grant};
use crate::store::{PostgresStore, read_parked};
use crate::uuid::Uuid;

/// An item, with the place where it was kept aside if it was.
type Found = Result<(Item, i64), StoreError>;

impl PostgresStore {
    /// Tries once to read a page.
    pub(crate) async fn try_export(&self, export: &Export) -> Result<Exported, Failure> {
        let session = Session::take(self.pool()).await?;
        let outcome = async {
            answered(session.open(Acting::Maintenance, "")).await?;
            let found = find(&session, export).await?;
            session.commit().await?;
            Ok(found)
        };
        let outcome = outcome.await;
        let found = session.close(outcome).await?;
        let placed = found.into_iter().map(|found| {
            let (item, parked) = found?;
            let behind = export.after.behind(&item, &export.of, parked);
            Ok::<_, StoreError>((item, behind))
        });
        Ok(Exported::fill(export, placed)?)
    }
}

async fn find(session: &Session, export: &Export) -> Result<Vec<Found>, Failure> {
    let (items, bytes) = (number(EXPORT_ITEMS), number(EXPORT_BYTES));
    let scope = whole(&export.of).key();
    let name = match &export.of {
        Audience::User(user) => user.as_str(),
        Audience::Space(space) => space.as_str(),
    };
    match &export.after {
        Place::Grants(after) => {
            let sql = match &export.of {
                Audience::User(_) => queries::GRANTS,
                Audience::Space(_) => queries::MEMBERS,
            };
            read(session, sql, &[&name, after, &items], grant).await
        }
        Place::Parked(after) => {
            let parameters: [&(dyn ToSql + Sync); 4] = [&name, after, &items, &bytes];
            read(session, queries::PARKED, &parameters, parked).await
        }
        Place::Written(after) => {
            let next = after.map_or(Some(0), |id| id.bits().checked_add(1));
            let Some(from) = next.map(|bits| Uuid(EventId::from_bits(bits))) else {
                return Ok(Vec::new());
            };
            let parameters: [&(dyn ToSql + Sync); 4] = [&name, &from, &items, &bytes];
            read(session, queries::WRITTEN, &parameters, change).await
        }
        Place::Live(after) => {
            let (app, position) = match after {
                Some((app, position)) => (app.as_str(), *position),
                None => ("", Position::default()),
            };
            let parameters: [&(dyn ToSql + Sync); 5] = [&scope, &app, &position.0, &items, &bytes];
            read(session, queries::LIVE, &parameters, change).await
        }
        Place::Dead(after) => {
            let parameters: [&(dyn ToSql + Sync); 4] = [&scope, &after.0, &items, &bytes];
            read(session, queries::DEAD, &parameters, change).await
        }
    }
}

async fn read(
    session: &Session,
    sql: &str,
    parameters: &[&(dyn ToSql + Sync)],
    item: fn(&Row) -> Found,
) -> Result<Vec<Found>, Failure> {
    let [statement] = session.statements([sql]).await?;
    let rows = answered(session.connection().query(&statement, parameters)).await?;
    Ok(rows.iter().map(item).collect())
}

fn grant(row: &Row) -> Found {
    let user = UserId::new(row.get(5)).map_err(unreadable)?;
    Ok((Item::Grant(user, read_grant(row)?), 0))
}

fn parked(row: &Row) -> Found {
    let app = AppId::new(row.get(2)).map_err(unreadable)?;
    Ok((Item::Parked(app, read_parked(row)?), row.get(3)))
}

fn change(row: &Row) -> Found {
    let app = AppId::new(row.get(20)).map_err(unreadable)?;
    let dead_since: Option<SystemTime> = row.get(21);
    let entry = Box::new(page::entry(row, &app)?);
    Ok((Item::Change(entry, dead_since.map(millis)), 0))
}
