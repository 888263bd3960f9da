//! The contract of all stores.

use std::sync::Arc;

use sync_store::Store;

use crate::support::Database;

async fn fresh() -> (Arc<dyn Store>, Database) {
    let database = Database::migrated().await;
    let store: Arc<dyn Store> = database.store().await;
    (store, database)
}

sync_store::contract_suite!(fresh);
