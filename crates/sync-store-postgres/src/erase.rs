//! Erasing a user or a space, one batch at a time: one transaction, under the locks of all that it touches, taken in the
//! order in which everybody takes them: the personal scope first, then spaces in key order.

use std::collections::BTreeSet;

use sync_protocol::{AppId, Audience, RecordId, SpaceId, TableName, UserId};
use sync_store::{
    Erased, Erasure, RecordPlace, RecordState, Regrant, Scope, Stage, StoreError, claim_mark,
    personal, whole,
};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::failure::Failure;
use crate::page::{number, unreadable};
use crate::queries::{self, own, rows, whole as sql};
use crate::session::{Acting, Session, answered, read_grants};
use crate::store::PostgresStore;
use crate::write::column;

/// How many records go at once.
const RECORDS: i64 = 500;
/// How many of their rows, and how many other rows.
const ROWS: i64 = 2000;
/// How many records are looked through for claims at once.
const LOOKED_THROUGH: i64 = 2000;
/// How many bytes of records that have claims are read at once.
const CLAIM_BYTES: i64 = 8 * 1024 * 1024;

impl PostgresStore {
    /// Tries once to erase a batch.
    pub(crate) async fn try_erase(&self, erasure: &Erasure) -> Result<Erased, Failure> {
        let session = Session::take(self.pool()).await?;
        let outcome = async {
            answered(session.open(Acting::Maintenance, "")).await?;
            if session.is_importing().await? {
                let why = "an import is under way: erase when it has ended";
                return Err(StoreError::unavailable(why).into());
            }
            let erased = match &erasure.of {
                Audience::User(user) => self.erase_user(&session, user, erasure).await?,
                Audience::Space(space) => self.erase_space(&session, space, erasure).await?,
            };
            session.commit().await?;
            Ok(erased)
        };
        let outcome = outcome.await;
        session.close(outcome).await
    }

    async fn erase_user(
        &self,
        session: &Session,
        user: &UserId,
        erasure: &Erasure,
    ) -> Result<Erased, Failure> {
        lock(session, [&personal(user)]).await?;
        match &erasure.stage {
            Stage::Grants => {
                let known = grants(session, user).await?;
                let regrant = Regrant::away(&known, None, erasure.now);
                self.write_grants(session, user, regrant, erasure.now)
                    .await?;
                Ok(then(Stage::Rows))
            }
            Stage::Rows => {
                let mut erased = erase_records(session, &personal(user)).await?;
                let name: [&(dyn ToSql + Sync); 1] = [&user.as_str()];
                erased.parked = execute(session, sql::ERASE_PARKED, &name).await?;
                execute(session, rows::ERASE_UPLOADS, &name).await?;
                execute(session, sql::ERASE_FAILURES, &name).await?;
                // A live row never outlives its record.
                if erased.next.is_none() {
                    erased += erase_written(session, user, erasure).await?;
                }
                Ok(erased)
            }
            Stage::Claims(place) => erase_claims(session, user, place.as_ref()).await,
        }
    }

    async fn erase_space(
        &self,
        session: &Session,
        space: &SpaceId,
        erasure: &Erasure,
    ) -> Result<Erased, Failure> {
        let scope = whole(&erasure.of);
        match &erasure.stage {
            Stage::Grants => {
                let name: [&(dyn ToSql + Sync); 1] = [&space.as_str()];
                let members = query(session, sql::A_MEMBER, &name).await?;
                let Some(member) = members.first() else {
                    return Ok(then(Stage::Rows));
                };
                let member = UserId::new(member.get(0)).map_err(unreadable)?;
                self.end_membership(session, member, space, erasure).await
            }
            Stage::Rows | Stage::Claims(_) => {
                lock(session, [&scope]).await?;
                let mut erased = erase_records(session, &scope).await?;
                if erased.next.is_none() {
                    erased += erase_scope_rows(session, &scope).await?;
                }
                Ok(erased)
            }
        }
    }

    /// Takes the space away from one member: a write in that user's personal scope.
    async fn end_membership(
        &self,
        session: &Session,
        member: UserId,
        space: &SpaceId,
        erasure: &Erasure,
    ) -> Result<Erased, Failure> {
        lock(session, [&personal(&member)]).await?;
        let known = grants(session, &member).await?;
        let regrant = Regrant::away(&known, Some(space), erasure.now);
        let taken = self.write_grants(session, &member, regrant, erasure.now);
        let left = taken.await?.left;
        Ok(Erased {
            grants: left.len(),
            left: left.iter().map(|_| member.clone()).collect(),
            ..then(Stage::Grants)
        })
    }
}

/// Nothing was done in this batch, or not yet; it goes on with this.
fn then(stage: Stage) -> Erased {
    Erased {
        next: Some(stage),
        ..Erased::default()
    }
}

/// Removes records with their rows; there is no next batch if these were all.
async fn erase_records(session: &Session, scope: &Scope) -> Result<Erased, Failure> {
    let batch: [&(dyn ToSql + Sync); 3] = [&scope.key(), &RECORDS, &ROWS];
    let gone = query(session, sql::ERASE_RECORDS, &batch).await?;
    let counted = |place: usize| gone.first().map_or(0, |row| row.get::<_, i64>(place));
    let (records, rows) = (counted(0), counted(1));
    let is_full = records >= RECORDS || counted(2) > ROWS;
    Ok(Erased {
        records: usize::try_from(records).unwrap_or(0),
        rows: usize::try_from(rows).unwrap_or(0),
        next: is_full.then_some(Stage::Rows),
        ..Erased::default()
    })
}

/// Removes what is left of a scope that has no records any more.
async fn erase_scope_rows(session: &Session, scope: &Scope) -> Result<Erased, Failure> {
    let batch: [&(dyn ToSql + Sync); 2] = [&scope.key(), &ROWS];
    let dead = execute(session, sql::ERASE_DEAD, &batch).await?;
    let live = execute(session, sql::ERASE_LIVE, &batch).await?;
    let is_full = number(dead.max(live)) >= ROWS;
    Ok(Erased {
        rows: dead + live,
        next: is_full.then_some(Stage::Rows),
        ..Erased::default()
    })
}

/// Of what a user has written, removes what is its own, and takes its name off the rest.
async fn erase_written(
    session: &Session,
    user: &UserId,
    erasure: &Erasure,
) -> Result<Erased, Failure> {
    let first: [&(dyn ToSql + Sync); 2] = [&user.as_str(), &ROWS];
    let written = query(session, sql::FIRST_WRITTEN, &first).await?;
    let is_full = number(written.len()) >= ROWS;
    let own = vec![personal(user).key()];
    let (gone, shared): (Vec<_>, Vec<_>) = written
        .iter()
        .partition(|row| row.get::<_, &str>(1) == own[0]);
    let scopes: BTreeSet<&str> = shared.iter().map(|row| row.get(1)).collect();
    let spaces = scopes.iter().map(|key| Scope::from_key(key));
    let spaces: Option<Vec<Scope>> = spaces.collect();
    lock(session, &spaces.ok_or_else(|| unreadable("a scope"))?).await?;
    let scopes: Vec<&str> = scopes.into_iter().collect();
    let position = |row: &&Row| row.get::<_, i64>(0);
    let removal: [&(dyn ToSql + Sync); 2] = [&column(&gone, position), &own];
    let positions = column(&shared, position);
    let renaming: [&(dyn ToSql + Sync); 3] = [&positions, &scopes, &erasure.pseudonym.as_str()];
    let cell = |place: usize| column(&shared, |row| row.get::<_, &str>(place));
    let mark = claim_mark(user);
    let keys: [&(dyn ToSql + Sync); 5] = [&cell(1), &cell(2), &cell(3), &cell(4), &mark];
    let claimed = query(session, sql::CLAIMED, &keys).await?;
    Ok(Erased {
        rows: execute(session, sql::ERASE_ROWS, &removal).await?,
        renamed: execute(session, sql::RENAME, &renaming).await?,
        claims: drop_claims(session, user, &claimed).await?,
        ..then(if is_full {
            Stage::Rows
        } else {
            Stage::Claims(None)
        })
    })
}

/// Removes a user's claims from some records of one of its spaces; at the end of the space, the grant.
async fn erase_claims(
    session: &Session,
    user: &UserId,
    place: Option<&(SpaceId, Option<RecordPlace>)>,
) -> Result<Erased, Failure> {
    let known = grants(session, user).await?;
    let space = match place {
        Some((space, Some(_))) => Some(space),
        Some((done, None)) => known.iter().map(|it| &it.space).find(|it| *it > done),
        None => known.first().map(|grant| &grant.space),
    };
    let Some(space) = space else {
        return Ok(Erased::default());
    };
    let scope = whole(&Audience::Space(space.clone()));
    lock(session, [&scope]).await?;
    let (app, table, record) = match place {
        Some((_, Some((app, table, record)))) => (app.as_str(), table.as_str(), record.as_str()),
        _ => ("", "", ""),
    };
    let (key, mark) = (scope.key(), claim_mark(user));
    let page: [&(dyn ToSql + Sync); 7] = [
        &key,
        &app,
        &table,
        &record,
        &mark,
        &LOOKED_THROUGH,
        &CLAIM_BYTES,
    ];
    let found = query(session, sql::CLAIMS, &page).await?;
    let Some(last) = found.last() else {
        let grant: [&(dyn ToSql + Sync); 2] = [&user.as_str(), &space.as_str()];
        return Ok(Erased {
            grants: execute(session, sql::FORGET_GRANT, &grant).await?,
            ..then(Stage::Claims(Some((space.clone(), None))))
        });
    };
    let behind = (space.clone(), Some(record_place(last)?));
    Ok(Erased {
        claims: drop_claims(session, user, &found).await?,
        ..then(Stage::Claims(Some(behind)))
    })
}

fn record_place(row: &Row) -> Result<RecordPlace, StoreError> {
    Ok((
        AppId::new(row.get(1)).map_err(unreadable)?,
        TableName::new(row.get(2)).map_err(unreadable)?,
        RecordId::new(row.get(3)).map_err(unreadable)?,
    ))
}

/// Writes records without the claims of a user: scope, app, table, record, and the text of those that have one.
async fn drop_claims(session: &Session, user: &UserId, rows: &[Row]) -> Result<usize, Failure> {
    let mut left: Vec<(&Row, String)> = Vec::new();
    for row in rows {
        let Some(text) = row.get::<_, Option<&str>>(4) else {
            continue;
        };
        if let Some(text) = RecordState::without_claims(text, user)? {
            left.push((row, text));
        }
    }
    if left.is_empty() {
        return Ok(0);
    }
    let cell = |place: usize| column(&left, |(row, _)| row.get::<_, &str>(place));
    let texts = column(&left, |(_, text)| text.as_str());
    let parameters: [&(dyn ToSql + Sync); 5] = [&cell(0), &cell(1), &cell(2), &cell(3), &texts];
    execute(session, sql::RESTATE, &parameters).await
}

async fn grants(session: &Session, user: &UserId) -> Result<Vec<sync_store::Grant>, Failure> {
    let rows = query(session, own::GRANTS, &[&user.as_str()]).await?;
    Ok(read_grants(&rows)?)
}

/// Locks scopes for writing, in key order.
async fn lock(session: &Session, scopes: impl IntoIterator<Item = &Scope>) -> Result<(), Failure> {
    let keys: BTreeSet<i64> = scopes.into_iter().map(Scope::lock_key).collect();
    let keys: Vec<i64> = keys.into_iter().collect();
    let exclusive = vec![true; keys.len()];
    query(session, queries::LOCK_OTHERS, &[&keys, &exclusive])
        .await
        .map(|_| ())
}

async fn query(
    session: &Session,
    sql: &str,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<Vec<Row>, Failure> {
    let [statement] = session.statements([sql]).await?;
    answered(session.connection().query(&statement, parameters)).await
}

/// How many rows a statement has changed.
async fn execute(
    session: &Session,
    sql: &str,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<usize, Failure> {
    let [statement] = session.statements([sql]).await?;
    let done = answered(session.connection().execute(&statement, parameters)).await?;
    Ok(usize::try_from(done).unwrap_or(usize::MAX))
}
