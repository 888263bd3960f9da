//! The table of a replaced service, read in order from its own database: one snapshot, nothing written.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use sync_store::{Mark, ReplacedRow, SpacesOfUsers, StoreError};
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;

use crate::endpoint::{Direct, Endpoint};
use crate::failure::store_error;
use crate::queries::replaced::{self, Columns};
use crate::uuid::Uuid;

/// How many rows are fetched at once: each may be of many MiB.
const FETCH: usize = 128;
/// About how many bytes of values are given out at once.
const BYTES: usize = 8 * 1024 * 1024;
/// How long that database may take for an answer: it may have to sort the whole table first.
const ANSWER_LIMIT: Duration = Duration::from_secs(31 * 60);
/// Spaces of this prefix are a client's own name for what is personal.
const PERSONAL_PREFIX: &str = "_personal:";

/// The table, open at a row.
pub struct ReplacedTable {
    client: Direct,
    fetched: Vec<ReplacedRow>,
    is_at_end: bool,
    overview: Overview,
}

/// What a table holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overview {
    /// How many rows.
    pub rows: u64,
    /// Of how many users.
    pub users: usize,
    /// Of how many apps.
    pub apps: usize,
    /// Of how many spaces, without those that clients call personal.
    pub spaces: usize,
    /// The spaces into which each user has written.
    pub spaces_of_users: Arc<SpacesOfUsers>,
}

impl ReplacedTable {
    /// Opens the table of the database at this URL, behind a row.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] if the database is away; [`StoreError::Fault`] says why this is not the table to be read,
    /// or what its user lacks.
    pub async fn open(url: &str, after: Option<&Mark>) -> Result<Self, StoreError> {
        let client = Endpoint::parse(url)?.connect().await?;
        answered(client.batch_execute(replaced::OPEN)).await?;
        let columns = answered(client.query(replaced::COLUMNS, &[])).await?;
        let columns = columns.iter().map(|row| (row.get(0), row.get(1)));
        let columns = Columns(columns.collect());
        if let Some(fault) = columns.fault() {
            return Err(StoreError::fault(fault));
        }
        let groups = answered(client.query(&columns.overview(), &[])).await?;
        let unplaced: i64 = groups.iter().map(|group| group.get::<_, i64>(4)).sum();
        if unplaced > 0 {
            return Err(StoreError::fault(replaced::unplaced_fault(unplaced)));
        }
        if let Some(mark) = after {
            check_has(&client, mark).await?;
        }
        let (created, id) = (
            after.map(|mark| mark.created.as_str()),
            after.map(|mark| Uuid(mark.id)),
        );
        answered(client.execute(&columns.rows(), &[&created, &id])).await?;
        Ok(Self {
            client,
            fetched: Vec::new(),
            is_at_end: false,
            overview: overview(&groups),
        })
    }

    /// What it holds, the rows before the mark among it.
    #[must_use]
    pub fn overview(&self) -> &Overview {
        &self.overview
    }

    /// The next rows, so many at the most; none at the end.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn next(&mut self, rows: usize) -> Result<Vec<ReplacedRow>, StoreError> {
        let mut bytes: usize = self.fetched.iter().map(ReplacedRow::size).sum();
        while self.fetched.len() < rows && bytes < BYTES && !self.is_at_end {
            let wanted = FETCH.min(rows - self.fetched.len());
            let found = answered(self.client.query(&replaced::fetch(wanted), &[])).await?;
            self.is_at_end = found.len() < wanted;
            let found = found.iter().map(read).collect::<Vec<_>>();
            bytes += found.iter().map(ReplacedRow::size).sum::<usize>();
            self.fetched.extend(found);
        }
        Ok(std::mem::take(&mut self.fetched))
    }
}

async fn check_has(client: &Direct, mark: &Mark) -> Result<(), StoreError> {
    let id = Uuid(mark.id);
    let found = answered(client.query_one(replaced::HAS, &[&id, &mark.created])).await?;
    if found.get(0) {
        return Ok(());
    }
    Err(StoreError::fault(format!(
        "the import goes on behind row {}, which is not in that table: is it the same database as before?",
        mark.id
    )))
}

fn overview(groups: &[Row]) -> Overview {
    let (mut users, mut apps, mut spaces) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let mut spaces_of_users = SpacesOfUsers::new();
    let mut rows = 0;
    for group in groups {
        let (user, app): (&str, &str) = (group.get(0), group.get(1));
        let space: Option<&str> = group.get(2);
        rows += u64::try_from(group.get::<_, i64>(3)).unwrap_or(0);
        users.insert(user);
        apps.insert(app);
        let is_shared = |space: &&str| !space.is_empty() && !space.starts_with(PERSONAL_PREFIX);
        if let Some(space) = space.filter(is_shared) {
            spaces.insert(space);
            let of_user = spaces_of_users.entry(user.to_owned()).or_default();
            of_user.insert(space.to_owned());
        }
    }
    Overview {
        rows,
        users: users.len(),
        apps: apps.len(),
        spaces: spaces.len(),
        spaces_of_users: Arc::new(spaces_of_users),
    }
}

fn read(row: &Row) -> ReplacedRow {
    let text = |column| row.get::<_, String>(column);
    ReplacedRow {
        mark: Mark {
            created: text(0),
            id: row.get::<_, Uuid>(1).0,
        },
        created_nanos: row.get::<_, i64>(2).saturating_mul(1000),
        app: text(3),
        user: text(4),
        client: text(5),
        space: row.get(6),
        table: text(7),
        record: text(8),
        op: text(9),
        data: row.get(10),
        times: row.get(11),
        schema_version: row.get(12),
        actor: row.get(13),
        origin: row.get(14),
    }
}

/// One wait on that database.
async fn answered<T>(
    wait: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, StoreError> {
    let answer = tokio::time::timeout(ANSWER_LIMIT, wait)
        .await
        .map_err(|_| StoreError::unavailable("the database did not answer in time"))?;
    answer.map_err(|error| match error.code() {
        Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
            let told = crate::failure::describe(&error);
            StoreError::fault(format!("{told}: {}", replaced::REMEDY))
        }
        _ => store_error(error),
    })
}
