//! Removing what is dead for longer than the history window, in small batches that hold up no push.

use std::collections::BTreeMap;
use std::time::SystemTime;

use deadpool_postgres::Object;
use futures_util::future::try_join3;
use sync_merge::deleted_at;
use sync_protocol::{AppId, Millis};
use sync_store::{RecordState, Scope, StoreError, Swept, strip_deleted};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::failure::Failure;
use crate::instant::instant;
use crate::page::{self, number};
use crate::queries::{rows, upkeep};
use crate::session::{Acting, Session, answered};
use crate::store::PostgresStore;
use crate::write::{array_literal, size};

/// How many rows a sweep removes at most.
const ROWS: i64 = 1000;
/// How many bytes of rows a sweep removes at most, and the row with which it is more.
const ROW_BYTES: i64 = 64 * 1024 * 1024;
/// How many deleted records a sweep strips at most: fewer, since it has their last values in memory.
const RECORDS: i64 = 100;
/// How many bytes the rows of those records have at most; one that has more alone is stripped all the same.
const RECORD_BYTES: i64 = 16 * 1024 * 1024;

/// Tombstones to be written, one array per column, and the rows that die with it.
#[derive(Debug, Default)]
struct Stripped {
    scopes: Vec<String>,
    apps: Vec<String>,
    tables: Vec<String>,
    records: Vec<String>,
    rows: Vec<String>,
    states: Vec<String>,
    dead: Vec<i64>,
    dead_since: Vec<SystemTime>,
    /// The rows that the tombstones point at.
    left: Vec<i64>,
}

/// Rows of which only the delete is left, one array per column.
#[derive(Debug, Default)]
struct Shortened {
    positions: Vec<i64>,
    data: Vec<String>,
    field_timestamps: Vec<String>,
    sizes: Vec<i32>,
}

impl PostgresStore {
    /// Strips one batch of deleted records, then removes one batch of dead rows, then forgets one of uploads: three
    /// transactions.
    pub(crate) async fn sweep_once(&self, now: Millis) -> Result<Swept, Failure> {
        let before = instant(Millis(now.0.saturating_sub(self.rules().history_millis)));
        let session = Session::take(self.pool()).await?;
        let outcome = strip(&session, before).await;
        let stripped = session.close(outcome).await;
        let session = Session::take(self.pool()).await?;
        let outcome = remove_dead(&session, before).await;
        let (rows, more_rows) = session.close(outcome).await?;
        let remembered = instant(self.rules().remembers_since(now));
        let session = Session::take(self.pool()).await?;
        let outcome = forget_uploads(&session, remembered).await;
        let more_uploads = session.close(outcome).await?;
        // A record that cannot be stripped keeps no dead row from being removed.
        let (records, more_records) = stripped?;
        Ok(Swept {
            rows,
            records,
            more: more_rows || more_records || more_uploads,
        })
    }
}

/// Leaves the tombstones of deleted records, in those scopes that nobody works in at this moment: how many, and whether
/// there may be more.
async fn strip(session: &Session, before: SystemTime) -> Result<(usize, bool), Failure> {
    answered(session.open(Acting::Maintenance, "")).await?;
    let connection = session.connection();
    if session.is_importing().await? {
        session.commit().await?;
        return Ok((0, false));
    }
    let scopes = lock_idle(session, before).await?;
    if scopes.is_empty() {
        session.commit().await?;
        return Ok((0, false));
    }
    // What was read before the locks may have changed since.
    let parameters: [&(dyn ToSql + Sync); 4] = [&before, &RECORDS, &scopes, &RECORD_BYTES];
    let rows = answered(connection.query(upkeep::DELETED, &parameters)).await?;
    let stripped = Stripped::of(&rows)?;
    let left =
        answered(connection.query(upkeep::ROWS, &[&stripped.left, &stripped.scopes])).await?;
    let shortened = Shortened::of(&left)?;
    answered(write(connection, &stripped, &shortened)).await?;
    session.commit().await?;
    let due = rows.first().map_or(0, |row| row.get::<_, i64>(8));
    Ok((rows.len(), due >= RECORDS || due > number(rows.len())))
}

async fn write(
    connection: &Object,
    stripped: &Stripped,
    shortened: &Shortened,
) -> Result<(), tokio_postgres::Error> {
    let tombstones: [&(dyn ToSql + Sync); 6] = [
        &stripped.scopes,
        &stripped.apps,
        &stripped.tables,
        &stripped.records,
        &stripped.rows,
        &stripped.states,
    ];
    let dead: [&(dyn ToSql + Sync); 3] = [&stripped.dead, &stripped.dead_since, &stripped.scopes];
    let rows: [&(dyn ToSql + Sync); 5] = [
        &shortened.positions,
        &shortened.data,
        &shortened.field_timestamps,
        &shortened.sizes,
        &stripped.scopes,
    ];
    try_join3(
        connection.execute(upkeep::STRIP, &tombstones),
        connection.execute(upkeep::BURY_STRIPPED, &dead),
        connection.execute(upkeep::SHORTEN, &rows),
    )
    .await
    .map(|_| ())
}

/// Locks scopes until enough records are due in them. Those that cannot be locked at once are passed over, however many of
/// their records come first: no more of them are busy than running requests reach.
async fn lock_idle(session: &Session, before: SystemTime) -> Result<Vec<String>, Failure> {
    let (mut tried, mut locked, mut due) = (Vec::new(), Vec::new(), 0);
    while due < RECORDS {
        let parameters: [&(dyn ToSql + Sync); 3] = [&before, &RECORDS, &tried];
        let found = answered(session.connection().query(upkeep::DUE, &parameters)).await?;
        if found.is_empty() {
            break;
        }
        let scopes: BTreeMap<String, i64> =
            found.iter().map(|row| (row.get(0), row.get(1))).collect();
        for scope in try_lock(session, scopes.keys()).await? {
            due += scopes[&scope];
            locked.push(scope);
        }
        tried.extend(scopes.into_keys());
    }
    Ok(locked)
}

/// Locks those of the scopes that can be locked at once.
async fn try_lock(
    session: &Session,
    scopes: impl Iterator<Item = &String>,
) -> Result<Vec<String>, Failure> {
    let mut by_key: BTreeMap<i64, Vec<String>> = BTreeMap::new();
    for key in scopes {
        let scope = Scope::from_key(key)
            .ok_or_else(|| StoreError::fault("the scope of a record cannot be read"))?;
        by_key
            .entry(scope.lock_key())
            .or_default()
            .push(key.clone());
    }
    let keys: Vec<i64> = by_key.keys().copied().collect();
    let locked = answered(session.connection().query(upkeep::TRY_LOCKS, &[&keys])).await?;
    let scopes = locked
        .iter()
        .filter_map(|row| by_key.remove(&row.get::<_, i64>(0)));
    Ok(scopes.flatten().collect())
}

impl Stripped {
    fn of(rows: &[Row]) -> Result<Self, StoreError> {
        let mut stripped = Self::default();
        for row in rows {
            stripped.add(row)?;
        }
        Ok(stripped)
    }

    fn add(&mut self, row: &Row) -> Result<(), StoreError> {
        let state = RecordState {
            rows: row.get(4),
            state: row.get(5),
            version: row.get(6),
            deleted: true,
        };
        let since: SystemTime = row.get(7);
        let left = strip_deleted(&state)?;
        for position in state.rows {
            if !left.rows.contains(&position) {
                self.dead.push(position);
                self.dead_since.push(since);
            }
        }
        self.left.extend(&left.rows);
        self.scopes.push(row.get(0));
        self.apps.push(row.get(1));
        self.tables.push(row.get(2));
        self.records.push(row.get(3));
        self.rows.push(array_literal(&left.rows));
        self.states.push(left.state);
        Ok(())
    }
}

impl Shortened {
    fn of(rows: &[Row]) -> Result<Self, StoreError> {
        let mut shortened = Self::default();
        for row in rows {
            shortened.add(row)?;
        }
        Ok(shortened)
    }

    fn add(&mut self, row: &Row) -> Result<(), StoreError> {
        let app = AppId::new(row.get(20)).map_err(page::unreadable)?;
        let mut entry = page::entry(row, &app)?;
        entry.fields.retain(|(name, ..)| name == deleted_at());
        self.positions.push(entry.position.0);
        self.data.push(entry.data());
        self.field_timestamps.push(entry.field_timestamps());
        self.sizes.push(size(entry.written_size()));
        Ok(())
    }
}

/// Removes dead rows: how many, and whether there may be more. Nothing refers to them, so no scope is locked; what another
/// sweep removes is passed over.
async fn remove_dead(session: &Session, before: SystemTime) -> Result<(usize, bool), Failure> {
    answered(session.open(Acting::Maintenance, "")).await?;
    let connection = session.connection();
    let limits: [&(dyn ToSql + Sync); 3] = [&before, &ROWS, &ROW_BYTES];
    let removed = answered(connection.query(upkeep::REMOVE_DEAD, &limits)).await?;
    session.commit().await?;
    let bytes: i64 = removed.iter().map(|row| row.get::<_, i64>(0)).sum();
    let more = number(removed.len()) >= ROWS || bytes >= ROW_BYTES;
    Ok((removed.len(), more))
}

/// Forgets uploads of this time or before; whether there may be more.
async fn forget_uploads(session: &Session, before: SystemTime) -> Result<bool, Failure> {
    answered(session.open(Acting::Maintenance, "")).await?;
    let limits: [&(dyn ToSql + Sync); 2] = [&before, &ROWS];
    let forgotten = session.connection().execute(rows::FORGET_UPLOADS, &limits);
    let forgotten = answered(forgotten).await?;
    session.commit().await?;
    Ok(i64::try_from(forgotten).is_ok_and(|forgotten| forgotten >= ROWS))
}
