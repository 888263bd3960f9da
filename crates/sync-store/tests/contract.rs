//! The in-memory store keeps the contract.

use std::sync::Arc;

use sync_store::{MemoryStore, Rules, Store};

async fn fresh() -> (Arc<dyn Store>, ()) {
    (Arc::new(MemoryStore::new(Rules::default())), ())
}

sync_store::contract_suite!(fresh);
