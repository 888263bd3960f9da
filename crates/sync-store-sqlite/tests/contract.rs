//! The contract of a store, held by this one: each clause on a database of its own.

use std::sync::Arc;

use sync_store::{Rules, Store};
use sync_store_sqlite::SqliteStore;
use tempfile::TempDir;

async fn fresh() -> (Arc<dyn Store>, TempDir) {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let store = SqliteStore::open(folder.path().join("sync.db"), Rules::default());
    (Arc::new(store.expect("a new database")), folder)
}

sync_store::contract_suite!(fresh);
