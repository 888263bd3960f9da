//! Writing what a push has decided: one statement per table, one array per column.

use std::collections::BTreeSet;
use std::time::SystemTime;

use deadpool_postgres::Object;
use futures_util::future::try_join5;
use openssl::sha::sha256;
use sync_protocol::{AppId, EventId, Millis, Parked, SpaceId, UserId};
use sync_store::{Entry, RecordKey, RecordState, Writes};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Statement};

use crate::failure::Failure;
use crate::instant::instant;
use crate::queries;
use crate::session::Session;
use crate::uuid::Uuid;

/// How many changes are kept aside for one user; beyond that the oldest go. A client that parks more has a fault of its own,
/// and each of these was answered with a warning.
const MAX_PARKED: i64 = 10_000;
/// How many bytes are kept aside for one user; beyond that the oldest go.
const MAX_PARKED_BYTES: i64 = 64 * 1024 * 1024;

/// The statements of [`write`].
pub(crate) struct Pens {
    append: Statement,
    bury: Statement,
    keep: Statement,
    remove: Statement,
    park: Statement,
    clear: Statement,
}

impl Pens {
    /// Takes them from a session.
    pub(crate) async fn of(session: &Session) -> Result<Self, Failure> {
        let sql = [
            queries::APPEND,
            queries::BURY,
            queries::KEEP,
            queries::moves::REMOVE,
            queries::own::PARK,
            queries::own::CLEAR_PARKED,
        ];
        let [append, bury, keep, remove, park, clear] = session.statements(sql).await?;
        Ok(Self {
            append,
            bury,
            keep,
            remove,
            park,
            clear,
        })
    }
}

/// Writes all of it, in this order: rows, those that they replace, records, those that are gone, what is kept aside. Sends at once all that there
/// is to send.
pub(crate) async fn write(
    connection: &Object,
    pens: &Pens,
    (user, app, now): (&UserId, &AppId, Millis),
    writes: &Writes,
) -> Result<(), Error> {
    let now = instant(now);
    try_join5(
        append(connection, pens, (app, now), &writes.entries),
        bury(connection, pens, now, writes),
        keep(connection, pens, (app, now), &writes.records),
        remove(connection, pens, app, &writes.gone),
        park(connection, pens, (user, app, now), &writes.parked),
    )
    .await
    .map(|_| ())
}

async fn append(
    connection: &Object,
    pens: &Pens,
    (app, now): (&AppId, SystemTime),
    entries: &[Entry],
) -> Result<(), Error> {
    if entries.is_empty() {
        return Ok(());
    }
    let parameters: [&(dyn ToSql + Sync); 21] = [
        &app.as_str(),
        &now,
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
        &column(entries, |entry| entry.source_change_id),
    ];
    connection
        .execute(&pens.append, &parameters)
        .await
        .map(|_| ())
}

async fn bury(
    connection: &Object,
    pens: &Pens,
    now: SystemTime,
    writes: &Writes,
) -> Result<(), Error> {
    if writes.dead.is_empty() {
        return Ok(());
    }
    let positions = column(&writes.dead, |position| position.0);
    let written = writes.records.iter().map(|(key, _)| key);
    let scopes: BTreeSet<String> = written
        .chain(&writes.gone)
        .map(|key| key.scope.key())
        .collect();
    let scopes: Vec<String> = scopes.into_iter().collect();
    connection
        .execute(&pens.bury, &[&now, &positions, &scopes])
        .await
        .map(|_| ())
}

async fn keep(
    connection: &Object,
    pens: &Pens,
    (app, now): (&AppId, SystemTime),
    records: &[(RecordKey, RecordState)],
) -> Result<(), Error> {
    if records.is_empty() {
        return Ok(());
    }
    let parameters: [&(dyn ToSql + Sync); 9] = [
        &app.as_str(),
        &now,
        &column(records, |(key, _)| key.scope.key()),
        &column(records, |(key, _)| key.table.as_str()),
        &column(records, |(key, _)| key.record.as_str()),
        &column(records, |(_, state)| array_literal(&state.rows)),
        &column(records, |(_, state)| state.state.as_str()),
        &column(records, |(_, state)| state.version),
        &column(records, |(_, state)| state.deleted),
    ];
    connection
        .execute(&pens.keep, &parameters)
        .await
        .map(|_| ())
}

async fn remove(
    connection: &Object,
    pens: &Pens,
    app: &AppId,
    gone: &[RecordKey],
) -> Result<(), Error> {
    if gone.is_empty() {
        return Ok(());
    }
    let scopes = column(gone, |key| key.scope.key());
    let tables = column(gone, |key| key.table.as_str());
    let records = column(gone, |key| key.record.as_str());
    let app = app.as_str();
    connection
        .execute(&pens.remove, &[&app, &scopes, &tables, &records])
        .await
        .map(|_| ())
}

/// Keeps changes aside for one user and app.
pub(crate) async fn park(
    connection: &Object,
    pens: &Pens,
    (user, app, now): (&UserId, &AppId, SystemTime),
    parked: &[Parked],
) -> Result<(), Error> {
    if parked.is_empty() {
        return Ok(());
    }
    let parameters: [&(dyn ToSql + Sync); 7] = [
        &user.as_str(),
        &app.as_str(),
        &now,
        &column(parked, digest),
        &column(parked, |parked| parked.raw.as_str()),
        &column(parked, |parked| parked.reason.as_str()),
        &column(parked, |parked| size(parked.raw.as_str().len())),
    ];
    let limits: [&(dyn ToSql + Sync); 3] = [&user.as_str(), &MAX_PARKED, &MAX_PARKED_BYTES];
    futures_util::future::try_join(
        connection.execute(&pens.park, &parameters),
        connection.execute(&pens.clear, &limits),
    )
    .await
    .map(|_| ())
}

/// What tells two changes apart that are kept aside: text and reason.
fn digest(parked: &Parked) -> Vec<u8> {
    let told = [parked.raw.as_str(), "\0", parked.reason.as_str()].concat();
    sha256(told.as_bytes()).to_vec()
}

/// Positions as PostgreSQL writes an array, since arrays of arrays must not be ragged there.
pub(crate) fn array_literal(positions: &[i64]) -> String {
    let numbers: Vec<String> = positions.iter().map(i64::to_string).collect();
    format!("{{{}}}", numbers.join(","))
}

/// Event ids as an array.
pub(crate) fn uuids(ids: &[EventId]) -> Vec<Uuid> {
    column(ids, |id| Uuid(*id))
}

/// One column of rows, as the array that a statement takes.
pub(crate) fn column<'a, T, C>(rows: &'a [T], cell: impl FnMut(&'a T) -> C) -> Vec<C> {
    rows.iter().map(cell).collect()
}

/// A size as its column has it.
pub(crate) fn size(bytes: usize) -> i32 {
    i32::try_from(bytes).unwrap_or(i32::MAX)
}
