//! The schema's history: SQL files that are applied in order, each once, and never edited after that.

use openssl::sha::sha256;
use sync_store::StoreError;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, GenericClient, Transaction};

use crate::config::Config;
use crate::endpoint::Endpoint;
use crate::failure::store_error;
use crate::queries::upkeep;

/// What to do about a schema that is not current.
const REMEDY: &str = "run `sync-server migrate`";

/// One file under `migrations/`.
struct Migration {
    version: i32,
    name: &'static str,
    sql: &'static str,
}

const MIGRATIONS: [Migration; 8] = [
    Migration {
        version: 1,
        name: "roles",
        sql: include_str!("../migrations/0001_roles.sql"),
    },
    Migration {
        version: 2,
        name: "log",
        sql: include_str!("../migrations/0002_log.sql"),
    },
    Migration {
        version: 3,
        name: "walls",
        sql: include_str!("../migrations/0003_walls.sql"),
    },
    Migration {
        version: 4,
        name: "spaces",
        sql: include_str!("../migrations/0004_spaces.sql"),
    },
    Migration {
        version: 5,
        name: "erase",
        sql: include_str!("../migrations/0005_erase.sql"),
    },
    Migration {
        version: 6,
        name: "import",
        sql: include_str!("../migrations/0006_import.sql"),
    },
    Migration {
        version: 7,
        name: "rows",
        sql: include_str!("../migrations/0007_rows.sql"),
    },
    Migration {
        version: 8,
        name: "failures",
        sql: include_str!("../migrations/0008_failures.sql"),
    },
];

/// The version that this server was built for.
pub(crate) const CURRENT_VERSION: i32 = MIGRATIONS[MIGRATIONS.len() - 1].version;

impl Migration {
    /// As it is told to people: `0001_roles`.
    fn title(&self) -> String {
        format!("{:04}_{}", self.version, self.name)
    }

    fn digest(&self) -> String {
        let bytes = sha256(self.sql.as_bytes());
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Applies the migrations that the database lacks, each in a transaction of its own, and returns their names. Several
/// processes may do so at once.
///
/// # Errors
///
/// [`StoreError::Unavailable`] if the database is away; [`StoreError::Fault`] if a migration fails, or if one that was
/// applied is not the one that this server was built with.
pub async fn migrate(config: &Config) -> Result<Vec<String>, StoreError> {
    let mut client = Endpoint::parse(&config.url)?.connect().await?;
    let mut applied = Vec::new();
    while let Some(title) = migrate_one(&mut client).await? {
        applied.push(title);
    }
    Ok(applied)
}

/// Applies the next migration, if there is one.
async fn migrate_one(client: &mut Client) -> Result<Option<String>, StoreError> {
    let transaction = client.transaction().await.map_err(store_error)?;
    transaction
        .execute(upkeep::MIGRATION_LOCK, &[])
        .await
        .map_err(store_error)?;
    transaction
        .batch_execute(upkeep::MIGRATIONS_TABLE)
        .await
        .map_err(store_error)?;
    let done = compare(&applied(&transaction).await.map_err(store_error)?)?;
    let Some(next) = MIGRATIONS.get(done) else {
        transaction.commit().await.map_err(store_error)?;
        return Ok(None);
    };
    apply(&transaction, next).await.map_err(|error| {
        let error = store_error(error);
        StoreError::fault(format!("migration {}: {error}", next.title()))
    })?;
    transaction.commit().await.map_err(store_error)?;
    Ok(Some(next.title()))
}

async fn apply(
    transaction: &Transaction<'_>,
    migration: &Migration,
) -> Result<(), tokio_postgres::Error> {
    transaction.batch_execute(migration.sql).await?;
    transaction
        .execute(
            upkeep::RECORD_MIGRATION,
            &[&migration.version, &migration.name, &migration.digest()],
        )
        .await
        .map(|_| ())
}

/// The versions and digests of the migrations that were applied.
async fn applied(client: &impl GenericClient) -> Result<Vec<(i32, String)>, tokio_postgres::Error> {
    let rows = client.query(upkeep::APPLIED, &[]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// How many migrations were applied, if each is the one that we know.
fn compare(applied: &[(i32, String)]) -> Result<usize, StoreError> {
    for (place, (version, digest)) in applied.iter().enumerate() {
        let Some(known) = MIGRATIONS.get(place) else {
            return Err(StoreError::fault(format!(
                "the database has migration {version}, which is newer than this server: run a newer server"
            )));
        };
        if (known.version, &known.digest()) != (*version, digest) {
            return Err(StoreError::fault(format!(
                "migration {version} of the database is not the {} of this server",
                known.title()
            )));
        }
    }
    Ok(applied.len())
}

/// Checks that all migrations were applied, and no others.
///
/// # Errors
///
/// [`StoreError::Fault`] says what to do.
pub(crate) async fn verify(endpoint: &Endpoint) -> Result<(), StoreError> {
    let client = endpoint.connect().await?;
    verify_on(&client).await
}

/// [`verify`] on a connection that is there.
pub(crate) async fn verify_on(client: &Client) -> Result<(), StoreError> {
    let applied = match applied(client).await {
        Ok(applied) => compare(&applied)?,
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => 0,
        Err(error) => return Err(store_error(error)),
    };
    if applied < MIGRATIONS.len() {
        return Err(StoreError::fault(format!(
            "the database has {applied} of {} migrations: {REMEDY}",
            MIGRATIONS.len()
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrations_are_numbered_without_a_gap() {
        let versions = MIGRATIONS.map(|migration| migration.version);
        let expected: Vec<i32> = (1..=CURRENT_VERSION).collect();
        assert_eq!(versions.to_vec(), expected);
    }
}
