//! [`PostgresStore`]: the store's methods, each one unit of work.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};

use deadpool_postgres::{Object, Pool};
use sync_protocol::rows::DownloadPage;
use sync_protocol::{Answer, AppId, Millis, UserId, Value};
use sync_store::{
    Delta, Download, Erased, Erasure, Export, Exported, FailureList, Failures, Grant, Importer,
    Membership, ParkedChange, Pending, Position, Promoted, Promotion, Pull, Push, Pushed,
    Regranted, Retried, Retry, Rules, Stats, Store, StoreError, Swept, Upload, Uploaded,
};
use tokio_postgres::Row;

use crate::config::{BeforeCommit, CodeWall, Config};
use crate::draw::Drawer;
use crate::endpoint::Endpoint;
use crate::failure::{Failure, Tries};
use crate::materialise::Handlers;
use crate::pool::pool;
use crate::queries::{self, upkeep};
use crate::session::{Acting, Session, answered, read_grants};
use crate::{migrations, page};

/// Up to so many dead rows are counted; beyond that their number is an estimate.
const COUNTED_DEAD_ROWS: i64 = 10_000;

/// The statements that are prepared on each connection.
const STATEMENTS: &[&str] = &[
    queries::BEGIN,
    queries::OPEN,
    queries::LOCK_TO_READ,
    queries::LOCK_TO_WRITE,
    queries::LOCK_OTHERS,
    queries::own::GRANTS,
    queries::REACH,
    queries::LOAD,
    queries::TAKEN,
    queries::STANDING,
    queries::PAGE,
    queries::PAGE_OF_FEW_TABLES,
    queries::APPEND,
    queries::BURY,
    queries::KEEP,
    queries::moves::REMOVE,
    queries::own::PARK,
    queries::own::CLEAR_PARKED,
    queries::own::PARKED,
    queries::rows::UPLOADS,
    queries::rows::KEEP_UPLOADS,
    queries::rows::ROWS_STANDING,
    queries::rows::ROWS,
    queries::business::CLEAR_FAILURES,
    queries::business::KEEP_FAILURES,
    queries::COMMIT,
    queries::ROLLBACK,
];

/// The store in a PostgreSQL database that `sync-server migrate` has prepared. It holds no connection open that it does not
/// need at the start, survives the database's absence, and goes on when it is back.
pub struct PostgresStore {
    pool: Pool,
    drawer: Drawer,
    rules: Rules,
    /// Where an import has ended, as the last request has read it.
    imported: AtomicI64,
    before_commit: Option<BeforeCommit>,
    code_wall: CodeWall,
    /// Who writes rows into business tables.
    handlers: Handlers,
}

impl PostgresStore {
    /// Connects, and checks that the schema is the one that this server was built for.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] if the database is away; [`StoreError::Fault`] if the URL cannot be read or the schema
    /// is another one: the text names `sync-server migrate`.
    pub async fn connect(config: Config) -> Result<Self, StoreError> {
        let endpoint = Endpoint::parse(&config.url)?;
        migrations::verify(&endpoint).await?;
        Ok(Self {
            pool: pool(&endpoint, config.pool_size, STATEMENTS)?,
            drawer: Drawer::start(&endpoint)?,
            rules: config.rules,
            imported: AtomicI64::new(0),
            before_commit: config.before_commit,
            code_wall: config.code_wall,
            handlers: Handlers::new(config.handlers, config.tables),
        })
    }

    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }

    pub(crate) fn drawer(&self) -> &Drawer {
        &self.drawer
    }

    pub(crate) fn rules(&self) -> Rules {
        self.rules
    }

    /// Where an import has ended, as far as is known here.
    pub(crate) fn imported(&self) -> Position {
        Position(self.imported.load(Ordering::Relaxed))
    }

    /// Learns where an import has ended, for a request that knew something else: it must be made again, from another cursor.
    pub(crate) fn learn_import(&self, known: Position, delta: Delta) -> Result<(), Failure> {
        if delta.imported == known {
            return Ok(());
        }
        self.imported.store(delta.imported.0, Ordering::Relaxed);
        let error = StoreError::unavailable("an import has ended since the last request");
        Err(Failure::Repeat(error))
    }

    pub(crate) fn before_commit(&self) -> Option<&BeforeCommit> {
        self.before_commit.as_ref()
    }

    pub(crate) fn handlers(&self) -> &Handlers {
        &self.handlers
    }

    pub(crate) fn code_wall(&self) -> &CodeWall {
        &self.code_wall
    }

    /// Reads something of one user's own, without a lock.
    async fn read_own(
        &self,
        user: &UserId,
        sql: &str,
        app: Option<&AppId>,
    ) -> Result<Vec<Row>, Failure> {
        let session = Session::take(&self.pool).await?;
        let outcome = async {
            answered(session.open(Acting::ForUser, user.as_str())).await?;
            let [read] = session.statements([sql]).await?;
            let connection = session.connection();
            let user = user.as_str();
            let rows = match app {
                Some(app) => answered(connection.query(&read, &[&user, &app.as_str()])).await?,
                None => answered(connection.query(&read, &[&user])).await?,
            };
            session.commit().await?;
            Ok(rows)
        }
        .await;
        session.close(outcome).await
    }

    async fn connection(&self) -> Result<Object, StoreError> {
        let connection = self.pool.get().await.map_err(Failure::from);
        connection.map_err(Failure::into_error)
    }

    async fn is_ready(&self) -> Result<(), StoreError> {
        let connection = self.connection().await?;
        let row = answered(connection.query_one(upkeep::READY, &[])).await;
        if row.map_err(Failure::into_error)?.get(0) {
            return Err(StoreError::unavailable(
                "the database is a standby: it takes no writes",
            ));
        }
        Ok(())
    }

    async fn figures(&self) -> Result<Stats, Failure> {
        let session = Session::take(&self.pool).await?;
        let outcome = async {
            answered(session.open(Acting::Maintenance, "")).await?;
            let counted = session
                .connection()
                .query_one(upkeep::DEAD_ROWS, &[&COUNTED_DEAD_ROWS]);
            let dead: i64 = answered(counted).await?.get(0);
            session.commit().await?;
            Ok(dead)
        }
        .await;
        let dead = session.close(outcome).await?;
        let status = self.pool.status();
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        Ok(Stats {
            dead_rows: u64::try_from(dead).unwrap_or(0),
            pool_size: count(status.size),
            pool_available: count(status.available),
            pool_waiting: count(status.waiting),
        })
    }
}

impl Store for PostgresStore {
    fn push(&self, push: Push) -> Pending<'_, Pushed> {
        Box::pin(async move { until_done(|| self.try_push(&push)).await })
    }

    fn upload(&self, upload: Upload) -> Pending<'_, Uploaded> {
        Box::pin(async move { until_done(|| self.try_upload(&upload)).await })
    }

    fn download(&self, download: Download) -> Pending<'_, DownloadPage> {
        Box::pin(async move { until_done(|| self.try_download(&download)).await })
    }

    fn pull(&self, pull: Pull) -> Pending<'_, Answer> {
        Box::pin(async move { until_done(|| self.try_pull(&pull)).await })
    }

    fn failures(&self, list: FailureList) -> Pending<'_, Failures> {
        let names = [&list.app, &list.table];
        let is_name = |name: &String| !name.contains('\0');
        if !names.into_iter().flatten().all(is_name) {
            return Box::pin(std::future::ready(Ok(Failures::new())));
        }
        Box::pin(async move { until_done(|| self.try_failures(&list)).await })
    }

    fn retry(&self, retry: Retry) -> Pending<'_, Retried> {
        Box::pin(async move { until_done(|| self.try_retry(&retry)).await })
    }

    fn regrant(&self, membership: Membership, now: Millis) -> Pending<'_, Regranted> {
        Box::pin(async move { until_done(|| self.try_regrant(&membership, now)).await })
    }

    fn promote(&self, promotion: Promotion) -> Pending<'_, Promoted> {
        Box::pin(async move { until_done(|| self.try_promote(&promotion)).await })
    }

    fn grants(&self, user: UserId) -> Pending<'_, Vec<Grant>> {
        Box::pin(async move {
            let rows = until_done(|| self.read_own(&user, queries::own::GRANTS, None)).await?;
            read_grants(&rows)
        })
    }

    fn parked(&self, user: UserId, app: AppId) -> Pending<'_, Vec<ParkedChange>> {
        Box::pin(async move {
            let read = || self.read_own(&user, queries::own::PARKED, Some(&app));
            let rows = until_done(read).await?;
            rows.iter().map(read_parked).collect()
        })
    }

    fn export(&self, export: Export) -> Pending<'_, Exported> {
        Box::pin(async move { until_done(|| self.try_export(&export)).await })
    }

    fn erase(&self, erasure: Erasure) -> Pending<'_, Erased> {
        Box::pin(async move { until_done(|| self.try_erase(&erasure)).await })
    }

    fn sweep(&self, now: Millis) -> Pending<'_, Swept> {
        Box::pin(async move { until_done(|| self.sweep_once(now)).await })
    }

    fn stats(&self) -> Pending<'_, Stats> {
        Box::pin(until_done(|| self.figures()))
    }

    fn importer(&self) -> Option<&dyn Importer> {
        Some(self)
    }

    fn ready(&self) -> Pending<'_, ()> {
        Box::pin(self.is_ready())
    }
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("PostgresStore")
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}

/// Makes attempts until one succeeds, or fails in a way that another one would not mend, or there were enough of them.
pub(crate) async fn until_done<T, A>(mut attempt: impl FnMut() -> A) -> Result<T, StoreError>
where
    A: Future<Output = Result<T, Failure>>,
{
    let mut tries = Tries::default();
    loop {
        match attempt().await {
            Ok(done) => return Ok(done),
            Err(Failure::Repeat(error)) => tries.pause(error).await?,
            Err(failure) => return Err(failure.into_error()),
        }
    }
}

pub(crate) fn read_parked(row: &Row) -> Result<ParkedChange, StoreError> {
    let raw = Value::parse(row.get(0)).map_err(page::unreadable)?;
    Ok(ParkedChange {
        raw,
        reason: row.get(1),
    })
}
