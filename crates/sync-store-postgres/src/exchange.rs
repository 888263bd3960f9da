//! Push and pull: one transaction each, with the pure middle of `sync-store` inside.

use std::collections::BTreeSet;

use deadpool_postgres::Object;
use futures_util::future::{try_join, try_join3, try_join4};
use sync_protocol::{Answer, AppId, Millis, UserId};
use sync_store::{
    Decision, Delta, Intake, Loaded, LoadedRow, MAX_LOAD_BYTES, Page, Position, Pull, Push, Pushed,
    Reach, RecordKey, RowAfter, Scope, StoreError, Window, pull_answer,
};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Row, Statement};

use crate::config::Fate;
use crate::failure::Failure;
use crate::materialise::materialise;
use crate::session::{After, Mode, Session, answered};
use crate::standing::read_standing;
use crate::store::PostgresStore;
use crate::write::{Pens, column, uuids, write};
use crate::{page, queries};

impl PostgresStore {
    /// Tries to push: starts over as often as scopes must be locked for writing that no change has named.
    pub(crate) async fn try_push(&self, push: &Push) -> Result<Pushed, Failure> {
        let session = Session::take(self.pool()).await?;
        let (mut written, mut after) = (BTreeSet::new(), After::Nothing);
        loop {
            match self.push_within(&session, push, &written, after).await {
                Err(Failure::ScopesMissing(scopes)) if !scopes.is_subset(&written) => {
                    written.extend(scopes);
                    after = After::Attempt;
                }
                outcome => return session.close(outcome).await,
            }
        }
    }

    async fn push_within(
        &self,
        session: &Session,
        push: &Push,
        written: &BTreeSet<Scope>,
        after: After,
    ) -> Result<Pushed, Failure> {
        let user = &push.caller.user;
        let granted = session.begin(user, Mode::ToWrite, after).await?;
        let (reach, granted) = self.code_wall().reach(granted);
        let imported = self.imported();
        let push = Push {
            since: push.since.after_import(imported),
            ..push.clone()
        };
        let intake = Intake::new(push, reach, written);
        self.take(session, intake, (granted, imported)).await
    }

    /// Takes in what locks the personal scope already, and commits: three waits. `imported` is where an import has ended as
    /// far as the cursor knows.
    pub(crate) async fn take(
        &self,
        session: &Session,
        intake: Intake,
        (granted, imported): (Option<Reach>, Position),
    ) -> Result<Pushed, Failure> {
        let (loaded, delta) = load(session, &intake, granted.as_ref()).await?;
        self.learn_import(imported, delta)?;
        let decision = intake
            .decide(&loaded, self.rules())?
            .map_err(|missing| Failure::ScopesMissing(missing.0))?;
        let push = decision.push();
        let base = self.drawer().draw(decision.positions(), push.now).await?;
        let window = decision.window(delta.horizon);
        let page = self.write(session, &decision, base, &window).await?;
        Ok(decision.answer((&window, &page), delta, base))
    }

    /// Writes, reads the page as it is then, and finishes.
    async fn write(
        &self,
        session: &Session,
        decision: &Decision,
        base: Position,
        window: &Window,
    ) -> Result<Page, Failure> {
        let writes = decision.writes(base);
        let pens = Pens::of(session).await?;
        let [read] = session.statements([page::statement(window)]).await?;
        let connection = session.connection();
        let push = decision.push();
        let of = (&push.caller.user, &push.app, push.now);
        let work = try_join(
            write(connection, &pens, of, &writes),
            page::read(connection, &read, window),
        );
        let changed = self.handlers().wanted(|| decision.rows_after());
        let of = (&push.caller.user, push.now);
        let ((), rows) = self.finish(session, of, &changed, work).await?;
        Ok(page::fill(&rows, &window.app)?)
    }

    /// Does the last work of a transaction, writes rows into business tables, and commits: one wait, unless there are such
    /// rows, or fault injection asks for its own.
    pub(crate) async fn finish<T>(
        &self,
        session: &Session,
        (user, now): (&UserId, Millis),
        rows: &[RowAfter],
        work: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, Failure> {
        let [commit] = session.statements([queries::COMMIT]).await?;
        let commit = session.connection().execute(&commit, &[]);
        if rows.is_empty() && self.before_commit().is_none() {
            return Ok(answered(try_join(work, commit)).await?.0);
        }
        let done = answered(work).await?;
        materialise(session, self.handlers(), user, now, rows).await?;
        if let Some(before_commit) = self.before_commit()
            && before_commit().await == Fate::RollBack
        {
            return Err(StoreError::unavailable("rolled back by fault injection").into());
        }
        answered(commit).await?;
        Ok(done)
    }

    /// Tries once to pull.
    pub(crate) async fn try_pull(&self, pull: &Pull) -> Result<Answer, Failure> {
        let session = Session::take(self.pool()).await?;
        let outcome = self.pull_within(&session, pull).await;
        session.close(outcome).await
    }

    async fn pull_within(&self, session: &Session, pull: &Pull) -> Result<Answer, Failure> {
        let imported = self.imported();
        let pull = &Pull {
            since: pull.since.after_import(imported),
            ..pull.clone()
        };
        let granted = session
            .begin(&pull.caller.user, Mode::ToRead, After::Nothing)
            .await?;
        let (reach, granted) = self.code_wall().reach(granted);
        let granted = granted.as_ref().unwrap_or(&reach);
        // Whatever is live in the scopes that are locked now is at or below the horizon.
        let window = pull.window(&reach, Position(i64::MAX));
        let [standing, read, commit] = session
            .statements([queries::STANDING, page::statement(&window), queries::COMMIT])
            .await?;
        let keys = keys(&reach);
        let connection = session.connection();
        let (_, standing, rows, _) = answered(try_join4(
            enter(session, granted, read_locks(granted)),
            connection.query(
                &standing,
                &[&keys, &pull.app.as_str(), &pull.since.position().0],
            ),
            page::read(connection, &read, &window),
            connection.execute(&commit, &[]),
        ))
        .await?;
        let delta = read_standing(&standing)?;
        self.learn_import(imported, delta)?;
        let page = page::fill(&rows, &pull.app)?;
        let read = (&window, &page);
        Ok(pull_answer(pull, &reach, read, delta, self.rules()))
    }
}

/// Enters the scopes of a reach: opens the second wall for them, then locks them in this order.
pub(crate) async fn enter(
    session: &Session,
    reach: &Reach,
    locks: Vec<(i64, bool)>,
) -> Result<(), tokio_postgres::Error> {
    let connection = session.connection();
    let (open, lock) = (
        connection.prepare_cached(queries::REACH).await?,
        connection.prepare_cached(queries::LOCK_OTHERS).await?,
    );
    let writable: Vec<String> = reach.writable().map(Scope::key).collect();
    let (lock_keys, exclusive): (Vec<i64>, Vec<bool>) = locks.into_iter().unzip();
    let locked = async {
        if lock_keys.is_empty() {
            return Ok(0);
        }
        connection.execute(&lock, &[&lock_keys, &exclusive]).await
    };
    let readable = keys(reach);
    try_join(connection.execute(&open, &[&readable, &writable]), locked)
        .await
        .map(|_| ())
}

/// Enters the scopes and loads what a push is decided on: one wait.
async fn load(
    session: &Session,
    intake: &Intake,
    granted: Option<&Reach>,
) -> Result<(Loaded, Delta), Failure> {
    let [load, taken, standing] = session
        .statements([queries::LOAD, queries::TAKEN, queries::STANDING])
        .await?;
    let push = intake.push();
    let wanted = intake.keys();
    let event_ids = uuids(&intake.event_ids());
    let reach = keys(intake.reach());
    let (app, since) = (push.app.as_str(), push.since.position().0);
    let connection = session.connection();
    let loaded = records(connection, &load, &push.app, &wanted);
    let taken = async {
        if event_ids.is_empty() {
            return Ok(Vec::new());
        }
        connection.query(&taken, &[&event_ids]).await
    };
    let ((), (loaded, taken, standing)) = answered(try_join(
        enter(
            session,
            granted.unwrap_or(intake.reach()),
            write_locks(intake, granted),
        ),
        try_join3(
            loaded,
            taken,
            connection.query(&standing, &[&reach, &app, &since]),
        ),
    ))
    .await?;
    Ok((
        read_loaded(&loaded, &taken, &wanted)?,
        read_standing(&standing)?,
    ))
}

/// The records of these keys with their live rows.
pub(crate) async fn records(
    connection: &Object,
    load: &Statement,
    app: &AppId,
    wanted: &[RecordKey],
) -> Result<Vec<Row>, tokio_postgres::Error> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let scopes = column(wanted, |key| key.scope.key());
    let tables = column(wanted, |key| key.table.as_str());
    let records = column(wanted, |key| key.record.as_str());
    let most = page::number(MAX_LOAD_BYTES);
    let parameters: [&(dyn ToSql + Sync); 5] = [&app.as_str(), &scopes, &tables, &records, &most];
    connection.query(load, &parameters).await
}

/// What was loaded, of the records of these keys.
pub(crate) fn read_loaded(
    rows: &[Row],
    taken: &[Row],
    wanted: &[RecordKey],
) -> Result<Loaded, StoreError> {
    let mut loaded = Loaded::default();
    for row in rows {
        if let Some(state) = row.get(1) {
            let key = usize::try_from(row.get::<_, i64>(0) - 1)
                .ok()
                .and_then(|place| wanted.get(place))
                .ok_or_else(|| StoreError::fault("a record was loaded that nobody asked for"))?;
            loaded.record(key.clone(), state, row.get(2));
        }
        if let Some(position) = row.get(3) {
            loaded.row(loaded_row(row, Position(position))?)?;
        }
    }
    for row in taken {
        loaded.event(page::event_id(row, 0));
    }
    Ok(loaded)
}

/// A live row of a record; one that came without its values has no room.
fn loaded_row(row: &Row, position: Position) -> Result<LoadedRow<'_>, StoreError> {
    let (Some(data), Some(field_timestamps)) = (row.get(6), row.get(7)) else {
        return Err(Loaded::too_large());
    };
    Ok(LoadedRow {
        position,
        user: row.get(4),
        to_everyone: row.get(5),
        data,
        field_timestamps,
    })
}

/// The keys of all scopes in reach.
fn keys(reach: &Reach) -> Vec<String> {
    reach.readable().map(Scope::key).collect()
}

/// The locks of a writer beside the personal one: of what is granted only, if that is less than what the code goes by.
fn write_locks(intake: &Intake, granted: Option<&Reach>) -> Vec<(i64, bool)> {
    let mut locks = intake.locks();
    if let Some(granted) = granted {
        let granted: BTreeSet<i64> = granted.readable().map(Scope::lock_key).collect();
        locks.retain(|(key, _)| granted.contains(key));
    }
    locks
}

/// The locks of a reader beside the personal one, in key order, each once.
fn read_locks(reach: &Reach) -> Vec<(i64, bool)> {
    let locks: BTreeSet<i64> = reach.readable().skip(1).map(Scope::lock_key).collect();
    locks.into_iter().map(|key| (key, false)).collect()
}
