//! Upload and download of the rows dialect: one transaction each, on the user's personal scope alone.

use std::collections::BTreeMap;

use futures_util::TryStreamExt;
use futures_util::future::{try_join, try_join_all, try_join3};
use sync_protocol::rows::DownloadPage;
use sync_protocol::{AppId, Op, RecordId, TableName};
use sync_store::{
    Download, DownloadBegun, FoundRow, Loaded, Logged, Merged, Position, Reach, RecordKey,
    RowAfter, Scope, StoreError, Upload, UploadDecision, UploadIntake, UploadLoaded, UploadWrites,
    Uploaded, Wanted, imported,
};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::exchange::{enter, read_loaded, records};
use crate::failure::Failure;
use crate::instant::{instant, millis};
use crate::page::{number, unreadable};
use crate::queries::{self, rows as sql};
use crate::session::{After, Mode, Session, answered};
use crate::store::PostgresStore;
use crate::write::{Pens, column, write};

impl PostgresStore {
    /// Tries once to take an upload.
    pub(crate) async fn try_upload(&self, upload: &Upload) -> Result<Uploaded, Failure> {
        let session = Session::take(self.pool()).await?;
        let outcome = self.upload_within(&session, upload).await;
        session.close(outcome).await
    }

    async fn upload_within(&self, session: &Session, upload: &Upload) -> Result<Uploaded, Failure> {
        let user = &upload.caller.user;
        session.begin(user, Mode::ToWrite, After::Nothing).await?;
        let intake = UploadIntake::new(upload.clone());
        let loaded = load(session, &intake).await?;
        let decision = intake.decide(&loaded)?;
        let base = self
            .drawer()
            .draw(decision.positions(), decision.now())
            .await?;
        let writes = decision.writes(base);
        let rows = self.handlers().wanted(|| decision.rows_after());
        self.write_upload(session, &decision, &writes, &rows)
            .await?;
        Ok(decision.answer(base))
    }

    /// Writes and commits: one wait, unless there are business tables to be written, too.
    async fn write_upload(
        &self,
        session: &Session,
        decision: &UploadDecision,
        writes: &UploadWrites,
        rows: &[RowAfter],
    ) -> Result<(), Failure> {
        let (caller, now) = (decision.caller(), decision.now());
        let pens = Pens::of(session).await?;
        let [keep] = session.statements([sql::KEEP_UPLOADS]).await?;
        let connection = session.connection();
        let apps = writes.apps.iter();
        let apps =
            apps.map(|(app, of_app)| write(connection, &pens, (&caller.user, app, now), of_app));
        let logged: Vec<_> = writes.logged.iter().collect();
        let kept = async {
            if logged.is_empty() {
                return Ok(0);
            }
            let parameters: [&(dyn ToSql + Sync); 6] = [
                &caller.user.as_str(),
                &caller.client.as_str(),
                &instant(now),
                &column(&logged, |(id, _)| **id),
                &column(&logged, |(_, logged)| signed(logged.digest)),
                &column(&logged, |(_, logged)| logged.version),
            ];
            connection.execute(&keep, &parameters).await
        };
        let work = try_join(try_join_all(apps), kept);
        let of = (&caller.user, now);
        self.finish(session, of, rows, work).await.map(|_| ())
    }

    /// Tries once to answer a download.
    pub(crate) async fn try_download(&self, download: &Download) -> Result<DownloadPage, Failure> {
        let session = Session::take(self.pool()).await?;
        let outcome = download_within(&session, download).await;
        session.close(outcome).await
    }
}

/// Enters the personal scope and loads what an upload is decided on: one wait.
async fn load(session: &Session, intake: &UploadIntake) -> Result<UploadLoaded, Failure> {
    let [load, uploads, standing] = session
        .statements([queries::LOAD, sql::UPLOADS, sql::ROWS_STANDING])
        .await?;
    let caller = &intake.upload().caller;
    let reach = Reach::new(&caller.user, &[]);
    let ids = intake.change_ids();
    let (user, source, scope) = (
        caller.user.as_str(),
        caller.client.as_str(),
        intake.scope().key(),
    );
    let connection = session.connection();
    let wanted: Vec<_> = intake.keys().iter().collect();
    let loads = wanted
        .iter()
        .map(|(app, keys)| records(connection, &load, app, keys));
    let uploads = async {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        connection.query(&uploads, &[&user, &source, &ids]).await
    };
    let none: Option<&str> = None;
    let ((), (loaded, uploads, standing)) = answered(try_join(
        enter(session, &reach, Vec::new()),
        try_join3(
            try_join_all(loads),
            uploads,
            connection.query_one(&standing, &[&scope, &none]),
        ),
    ))
    .await?;
    let mut records: BTreeMap<AppId, Loaded> = BTreeMap::new();
    for ((app, keys), rows) in wanted.into_iter().zip(loaded) {
        records.insert(app.clone(), read_loaded(&rows, &[], keys)?);
    }
    let logged = uploads.iter().map(|row| {
        let logged = Logged {
            digest: unsigned(row.get(1)),
            version: row.get(2),
        };
        (row.get(0), logged)
    });
    Ok(UploadLoaded {
        records,
        logged: logged.collect(),
        greatest: standing_of(&standing)?,
    })
}

async fn download_within(session: &Session, download: &Download) -> Result<DownloadPage, Failure> {
    let user = &download.caller.user;
    session.begin(user, Mode::ToRead, After::Nothing).await?;
    let reach = Reach::new(user, &[]);
    let scope = reach.personal().clone();
    let mut begun = DownloadBegun::new(download.clone());
    let (standing, apps) = match &download.app {
        Some(app) => {
            let (standing, found) = first_page(session, &reach, app, &begun).await?;
            if let Some((rows, is_cut)) = found {
                begun.take(rows, is_cut)?;
            }
            (standing, vec![app.clone()])
        }
        None => {
            let standing = standing(session, &reach, None).await?;
            let apps: Option<Vec<String>> = standing.get(2);
            let apps = apps.unwrap_or_default();
            let apps = apps.iter().map(|app| AppId::new(app).map_err(unreadable));
            (standing, apps.collect::<Result<_, _>>()?)
        }
    };
    let horizon = standing_of(&standing)?;
    while let Some(wanted) = begun.wanted() {
        let mut merged = Merged::new(wanted);
        for app in &apps {
            let found = find(session, &scope, app, wanted, begun.left_out()).await?;
            merged.add(found.0, found.1);
        }
        let (rows, is_cut) = merged.finish();
        begun.take(rows, is_cut)?;
    }
    loop {
        let missing = begun.missing_parents();
        if missing.is_empty() {
            break;
        }
        for (app, keys) in missing {
            let rows = find_by_key(session, &scope, &app, &keys).await?;
            let found = rows.iter().map(|row| read_row(row, &app));
            let found = found.collect::<Result<_, _>>()?;
            begun.take_parents(found)?;
        }
    }
    session.commit().await?;
    Ok(begun.answer(horizon))
}

/// Enters the personal scope, and reads where an app stands and its first page: one wait. Whatever is live in the scope, which
/// is locked, is at or below where it stands.
async fn first_page(
    session: &Session,
    reach: &Reach,
    app: &AppId,
    begun: &DownloadBegun,
) -> Result<(Row, Option<Found>), Failure> {
    let rows = async {
        let Some(wanted) = begun.wanted() else {
            return Ok(None);
        };
        let found = find(session, reach.personal(), app, wanted, begun.left_out());
        found.await.map(Some)
    };
    try_join(standing(session, reach, Some(app)), rows).await
}

/// Enters the personal scope, and reads where it stands.
async fn standing(session: &Session, reach: &Reach, app: Option<&AppId>) -> Result<Row, Failure> {
    let [statement] = session.statements([sql::ROWS_STANDING]).await?;
    let (scope, app) = (reach.personal().key(), app.map(AppId::as_str));
    let connection = session.connection();
    let ((), row) = answered(try_join(
        enter(session, reach, Vec::new()),
        connection.query_one(&statement, &[&scope, &app]),
    ))
    .await?;
    Ok(row)
}

/// The newest position, unless an import is under way.
fn standing_of(row: &Row) -> Result<Position, StoreError> {
    imported(Position(row.get(1)))?;
    Ok(Position(row.get(0)))
}

/// Rows, and whether some were left out that do not fit.
type Found = (Vec<FoundRow>, bool);

/// The records of an app that are wanted, read as they come.
async fn find(
    session: &Session,
    scope: &Scope,
    app: &AppId,
    wanted: Wanted,
    left_out: Option<&str>,
) -> Result<Found, Failure> {
    let [statement] = session.statements([sql::ROWS]).await?;
    let (scope, rows) = (scope.key(), number(wanted.rows));
    let parameters: [&(dyn ToSql + Sync); 6] = [
        &scope,
        &app.as_str(),
        &wanted.after.0,
        &wanted.until.0,
        &rows,
        &left_out,
    ];
    let read = async {
        let rows = session.connection().query_raw(&statement, parameters);
        let mut rows = std::pin::pin!(rows.await?);
        let (mut found, mut room) = (Vec::new(), wanted.bytes);
        while let Some(row) = rows.try_next().await? {
            let row = read_row(&row, app);
            let bytes = row.as_ref().map_or(0, FoundRow::bytes);
            if bytes > room && !found.is_empty() {
                return Ok((found, true));
            }
            room = room.saturating_sub(bytes);
            found.push(row);
        }
        Ok((found, false))
    };
    let (found, is_cut) = answered(read).await?;
    Ok((found.into_iter().collect::<Result<_, _>>()?, is_cut))
}

async fn find_by_key(
    session: &Session,
    scope: &Scope,
    app: &AppId,
    keys: &[RecordKey],
) -> Result<Vec<Row>, Failure> {
    let [statement] = session.statements([sql::ROWS_BY_KEY]).await?;
    let tables = column(keys, |key| key.table.as_str());
    let records = column(keys, |key| key.record.as_str());
    let (scope, app) = (scope.key(), app.as_str());
    let parameters: [&(dyn ToSql + Sync); 4] = [&scope, &app, &tables, &records];
    answered(session.connection().query(&statement, &parameters)).await
}

/// Reads a row, in the order of the columns of [`sql::ROWS`].
fn read_row(row: &Row, app: &AppId) -> Result<FoundRow, StoreError> {
    let earlier: Option<Vec<String>> = row.get(10);
    let mut data = earlier.unwrap_or_default();
    data.push(row.get(11));
    Ok(FoundRow {
        position: Position(row.get(0)),
        app: app.clone(),
        table: TableName::new(row.get(1)).map_err(unreadable)?,
        record: RecordId::new(row.get(2)).map_err(unreadable)?,
        op: Op::parse(row.get(3)).ok_or_else(|| unreadable("an op"))?,
        client: row.get(4),
        source_change_id: row.get(5),
        to_everyone: row.get(6),
        received: millis(row.get(7)),
        version: row.get(8),
        state: row.get(9),
        data,
    })
}

/// A digest as its column has it.
fn signed(digest: u64) -> i64 {
    i64::from_le_bytes(digest.to_le_bytes())
}

fn unsigned(digest: i64) -> u64 {
    u64::from_le_bytes(digest.to_le_bytes())
}
