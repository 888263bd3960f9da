//! Taking over the table of a replaced service: each batch is one transaction, with the mark of its last row.
//!
//! Rows are written as any user's are, in the role that row-level security holds to the scopes of the batch. Records are read
//! in the server's own role: row-level security would look up each of them in every one of so many scopes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::SystemTime;

use sync_protocol::{AppId, Millis, Parked, SpaceId, UserId};
use sync_store::{
    Entry, Import, ImportBatch, ImportState, ImportWrites, Importer, KeptRecord, Loaded, Mark,
    Pending, Phase, Position, RecordKey, Scope, StoreError, Tally,
};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::exchange;
use crate::failure::Failure;
use crate::instant::instant;
use crate::queries::{self, import as sql};
use crate::session::{Acting, Session, answered};
use crate::store::{PostgresStore, until_done};
use crate::uuid::Uuid;
use crate::write::{Pens, array_literal, column, park, size};

impl Importer for PostgresStore {
    fn state(&self) -> Pending<'_, ImportState> {
        Box::pin(until_done(|| {
            self.in_import(async |session| read_state(session, sql::IMPORT_STATE).await)
        }))
    }

    fn begin(&self) -> Pending<'_, ImportState> {
        Box::pin(until_done(|| self.in_import(begin)))
    }

    fn take(&self, import: Import) -> Pending<'_, ImportState> {
        Box::pin(async move {
            until_done(|| self.in_import(async |session| self.take_within(session, &import).await))
                .await
        })
    }

    fn end(&self, now: Millis) -> Pending<'_, ImportState> {
        Box::pin(until_done(move || {
            self.in_import(async move |session| end(session, now).await)
        }))
    }
}

impl PostgresStore {
    /// One transaction, which begins in the role of the server itself.
    async fn in_import<T>(
        &self,
        work: impl AsyncFnOnce(&Session) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let session = Session::take(self.pool()).await?;
        let outcome = async {
            answered(session.open(Acting::Maintenance, "")).await?;
            let done = work(&session).await?;
            session.commit().await?;
            Ok(done)
        }
        .await;
        session.close(outcome).await
    }

    async fn take_within(
        &self,
        session: &Session,
        import: &Import,
    ) -> Result<ImportState, Failure> {
        let state = read_state(session, sql::LOCK_IMPORT).await?;
        state.check_follows(import)?;
        let batch = ImportBatch::read(import.clone());
        let scopes: Vec<String> = batch.scopes().iter().map(Scope::key).collect();
        stop_sweeps(session).await?;
        let loaded = load(session, batch.keys()).await?;
        let writes = batch.decide(loaded, self.rules(), state.last)?;
        become_role(session, Acting::ForUser).await?;
        reach(session, &scopes).await?;
        write(session, &writes, &scopes).await?;
        become_role(session, Acting::Maintenance).await?;
        let state = state.behind(&writes);
        remember(session, &state).await?;
        Ok(state)
    }
}

async fn begin(session: &Session) -> Result<ImportState, Failure> {
    let [stop] = session.statements([sql::STOP_REQUESTS]).await?;
    answered(session.connection().execute(&stop, &[])).await?;
    let state = read_state(session, sql::LOCK_IMPORT).await?;
    let (greatest, clock) = ends(session).await?;
    let state = state.begun(greatest, clock)?;
    remember(session, &state).await?;
    Ok(state)
}

async fn end(session: &Session, now: Millis) -> Result<ImportState, Failure> {
    let state = read_state(session, sql::LOCK_IMPORT).await?;
    let (_, clock) = ends(session).await?;
    let state = state.ended(now, clock);
    remember(session, &state).await?;
    Ok(state)
}

/// Where the log ends, and where the clock stands.
async fn ends(session: &Session) -> Result<(Position, Position), Failure> {
    let [ends] = session.statements([sql::ENDS]).await?;
    let row = answered(session.connection().query_one(&ends, &[])).await?;
    Ok((Position(row.get(0)), Position(row.get(1))))
}

async fn read_state(session: &Session, text: &str) -> Result<ImportState, Failure> {
    let [read] = session.statements([text]).await?;
    let row = answered(session.connection().query_one(&read, &[])).await?;
    Ok(state(&row)?)
}

fn state(row: &Row) -> Result<ImportState, StoreError> {
    let mark: Option<&str> = row.get(2);
    let unreadable = || StoreError::fault("the mark of the import cannot be read");
    let mark = mark.map(|text| Mark::parse(text).ok_or_else(unreadable));
    Ok(ImportState {
        phase: Phase::from_until(Position(row.get(0))),
        last: Position(row.get(1)),
        mark: mark.transpose()?,
        tally: Tally::parse(row.get(3))?,
    })
}

/// Keeps the state, and moves the clock above all that belongs to the import.
async fn remember(session: &Session, state: &ImportState) -> Result<(), Failure> {
    let [remember, advance] = session.statements([sql::REMEMBER, sql::ADVANCE]).await?;
    let mark = state.mark.as_ref().map(ToString::to_string);
    let (until, tally) = (state.until().0, state.tally.text());
    let parameters: [&(dyn ToSql + Sync); 4] = [&until, &state.last.0, &mark, &tally];
    let connection = session.connection();
    answered(connection.execute(&remember, &parameters)).await?;
    answered(connection.execute(&advance, &[&state.last.0])).await?;
    Ok(())
}

async fn become_role(session: &Session, acting: Acting) -> Result<(), Failure> {
    let [become_role] = session.statements([sql::BECOME]).await?;
    let connection = session.connection();
    answered(connection.execute(&become_role, &[&acting.role()])).await?;
    Ok(())
}

async fn stop_sweeps(session: &Session) -> Result<(), Failure> {
    let [stop] = session.statements([sql::STOP_SWEEPS]).await?;
    answered(session.connection().execute(&stop, &[])).await?;
    Ok(())
}

/// Opens the second wall for the scopes.
async fn reach(session: &Session, scopes: &[String]) -> Result<(), Failure> {
    let [open] = session.statements([queries::REACH]).await?;
    let parameters: [&(dyn ToSql + Sync); 2] = [&scopes, &scopes];
    answered(session.connection().execute(&open, &parameters)).await?;
    Ok(())
}

/// Loads records, in the server's own role.
async fn load(
    session: &Session,
    keys: BTreeMap<AppId, BTreeSet<RecordKey>>,
) -> Result<HashMap<AppId, Loaded>, Failure> {
    let [load] = session.statements([queries::LOAD]).await?;
    let mut loaded = HashMap::new();
    for (app, wanted) in keys {
        let wanted: Vec<RecordKey> = wanted.into_iter().collect();
        let rows = exchange::records(session.connection(), &load, &app, &wanted);
        let rows = answered(rows).await?;
        loaded.insert(app, exchange::read_loaded(&rows, &[], &wanted)?);
    }
    Ok(loaded)
}

async fn write(session: &Session, writes: &ImportWrites, scopes: &[String]) -> Result<(), Failure> {
    append(session, &writes.entries).await?;
    if !writes.dead.is_empty() {
        let [bury] = session.statements([sql::IMPORT_BURY]).await?;
        let positions = column(&writes.dead, |(position, _)| position.0);
        let since = column(&writes.dead, |(_, since)| instant(*since));
        let parameters: [&(dyn ToSql + Sync); 3] = [&positions, &since, &scopes];
        answered(session.connection().execute(&bury, &parameters)).await?;
    }
    keep(session, &writes.records).await?;
    if !writes.gone.is_empty() {
        let [remove] = session.statements([sql::IMPORT_REMOVE]).await?;
        let gone = &writes.gone;
        let parameters: [&(dyn ToSql + Sync); 4] = [
            &column(gone, |(app, _)| app.as_str()),
            &column(gone, |(_, key)| key.scope.key()),
            &column(gone, |(_, key)| key.table.as_str()),
            &column(gone, |(_, key)| key.record.as_str()),
        ];
        answered(session.connection().execute(&remove, &parameters)).await?;
    }
    keep_aside(session, writes).await
}

async fn append(session: &Session, entries: &[Entry]) -> Result<(), Failure> {
    if entries.is_empty() {
        return Ok(());
    }
    let [append] = session.statements([sql::IMPORT_APPEND]).await?;
    let parameters: [&(dyn ToSql + Sync); 20] = [
        &column(entries, |entry| entry.app.as_str()),
        &column(entries, |entry| instant(entry.received)),
        &column(entries, |entry| entry.position.0),
        &column(entries, |entry| entry.scope.key()),
        &column(entries, |entry| entry.table.as_str()),
        &column(entries, |entry| entry.record.as_str()),
        &column(entries, |entry| Uuid(entry.event_id)),
        &column(entries, |entry| entry.op.as_str()),
        &column(entries, Entry::data),
        &column(entries, Entry::field_timestamps),
        &column(entries, |entry| entry.user.as_str()),
        &column(entries, |entry| entry.client.as_str()),
        &column(entries, |entry| entry.space.as_ref().map(SpaceId::as_str)),
        &column(entries, |entry| entry.schema_version),
        &column(entries, |entry| {
            entry.actor.as_ref().map(|value| value.as_str())
        }),
        &column(entries, |entry| {
            entry.origin.as_ref().map(|value| value.as_str())
        }),
        &column(entries, |entry| entry.opens),
        &column(entries, |entry| entry.to_everyone),
        &column(entries, |entry| entry.undated),
        &column(entries, |entry| size(entry.written_size())),
    ];
    answered(session.connection().execute(&append, &parameters)).await?;
    Ok(())
}

async fn keep(session: &Session, records: &[KeptRecord]) -> Result<(), Failure> {
    if records.is_empty() {
        return Ok(());
    }
    let [keep] = session.statements([sql::IMPORT_KEEP]).await?;
    let parameters: [&(dyn ToSql + Sync); 8] = [
        &column(records, |kept| kept.app.as_str()),
        &column(records, |kept| kept.key.scope.key()),
        &column(records, |kept| kept.key.table.as_str()),
        &column(records, |kept| kept.key.record.as_str()),
        &column(records, |kept| array_literal(&kept.state.rows)),
        &column(records, |kept| kept.state.state.as_str()),
        &column(records, |kept| kept.state.version),
        &column(records, |kept| kept.deleted_since.map(instant)),
    ];
    answered(session.connection().execute(&keep, &parameters)).await?;
    Ok(())
}

/// Keeps aside what can never be a row, for one user and app after the other.
async fn keep_aside(session: &Session, writes: &ImportWrites) -> Result<(), Failure> {
    let mut of: BTreeMap<(&UserId, &AppId), (SystemTime, Vec<Parked>)> = BTreeMap::new();
    for row in &writes.parked {
        let received = instant(row.received);
        let (_, parked) = of
            .entry((&row.user, &row.app))
            .or_insert_with(|| (received, Vec::new()));
        parked.push(row.parked.clone());
    }
    if of.is_empty() {
        return Ok(());
    }
    let pens = Pens::of(session).await?;
    let [work_for] = session.statements([sql::WORK_FOR]).await?;
    let connection = session.connection();
    for ((user, app), (received, parked)) in of {
        answered(connection.execute(&work_for, &[&user.as_str()])).await?;
        answered(park(connection, &pens, (user, app, received), &parked)).await?;
    }
    Ok(())
}
