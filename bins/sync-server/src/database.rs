//! Which store the database URL names.

use std::sync::Arc;

use sync_store::{Finding, Phase, Store, StoreError};
use sync_store_postgres::PostgresStore;
use sync_store_sqlite::SqliteStore;

use crate::settings::{Database, Migration, Settings};
use crate::tables;

/// Opens the store, brought to its schema unless the operator does that by hand.
///
/// # Errors
///
/// A sentence for the operator.
pub(crate) async fn open(settings: &Settings) -> Result<Arc<dyn Store>, String> {
    match settings.database()? {
        Database::Sqlite(path) => {
            let store = SqliteStore::open(&path, settings.rules()).map_err(told)?;
            Ok(Arc::new(store))
        }
        Database::Postgres(url) => {
            let config = with_tables(settings, url)?;
            if settings.sync_migrate == Migration::Auto {
                for line in sync_store_postgres::migrate(&config).await.map_err(told)? {
                    tracing::info!("database: applied {line}");
                }
            }
            Ok(Arc::new(
                PostgresStore::connect(config).await.map_err(told)?,
            ))
        }
    }
}

/// Opens the store of a database that is there, for an operator's own work.
///
/// # Errors
///
/// A sentence for the operator.
pub(crate) async fn existing(settings: &Settings) -> Result<Arc<dyn Store>, String> {
    match settings.database()? {
        Database::Sqlite(path) if !path.exists() => Err(format!(
            "DATABASE_URL: there is no database at {}",
            path.display()
        )),
        Database::Sqlite(path) => {
            let store = SqliteStore::open(&path, settings.rules()).map_err(told)?;
            Ok(Arc::new(store))
        }
        Database::Postgres(url) => {
            let store = PostgresStore::connect(postgres(settings, url)).await;
            Ok(Arc::new(store.map_err(told)?))
        }
    }
}

/// Checks that the database was not left in the middle of an import.
///
/// # Errors
///
/// A sentence for the operator.
pub(crate) async fn check_that_no_import_is_under_way(store: &dyn Store) -> Result<(), String> {
    let Some(importer) = store.importer() else {
        return Ok(());
    };
    match importer.state().await.map_err(told)?.phase {
        Phase::UnderWay => Err(
            "DATABASE_URL: an import into this database has not ended: run `sync-server import` again to go on, or \
             `sync-server import --abandon` to serve what has been taken over so far"
                .to_owned(),
        ),
        Phase::Never | Phase::Ended(_) => Ok(()),
    }
}

/// Brings the database to this version's schema; a line for each thing done.
///
/// # Errors
///
/// A sentence for the operator.
pub(crate) async fn migrate(settings: &Settings) -> Result<Vec<String>, String> {
    let applied = match settings.database()? {
        Database::Sqlite(path) => sync_store_sqlite::migrate(&path).map_err(told)?,
        Database::Postgres(url) => sync_store_postgres::migrate(&postgres(settings, url))
            .await
            .map_err(told)?,
    };
    if applied.is_empty() {
        return Ok(vec![
            "nothing to do: the database has this version's schema".to_owned(),
        ]);
    }
    Ok(applied
        .into_iter()
        .map(|name| format!("applied {name}"))
        .collect())
}

/// What there is to say of the database.
///
/// # Errors
///
/// A sentence for the operator.
pub(crate) async fn check(settings: &Settings) -> Result<Vec<Finding>, String> {
    match settings.database()? {
        Database::Sqlite(path) => sync_store_sqlite::check(&path).map_err(told),
        Database::Postgres(url) => {
            // A file that cannot be read is a fault of the settings, which are reported beside.
            let config = with_tables(settings, url.clone());
            let config = config.unwrap_or_else(|_| postgres(settings, url));
            sync_store_postgres::check(&config).await.map_err(told)
        }
    }
}

/// How the settings say that PostgreSQL is used.
pub(crate) fn postgres(settings: &Settings, url: String) -> sync_store_postgres::Config {
    sync_store_postgres::Config {
        rules: settings.rules(),
        pool_size: usize::from(settings.sync_pool_size),
        ..sync_store_postgres::Config::new(url)
    }
}

/// The same, with the business tables that rows are written into.
fn with_tables(settings: &Settings, url: String) -> Result<sync_store_postgres::Config, String> {
    let (tables, _) = tables::tables(settings)?;
    Ok(sync_store_postgres::Config {
        tables: Arc::new(tables),
        ..postgres(settings, url)
    })
}

/// The error for the operator.
pub(crate) fn told(error: StoreError) -> String {
    format!("DATABASE_URL: {}", detail(error))
}

/// What the error says.
pub(crate) fn detail(error: StoreError) -> String {
    let (StoreError::Unavailable(detail)
    | StoreError::Fault(detail)
    | StoreError::TooLarge(detail)) = error;
    detail
}
