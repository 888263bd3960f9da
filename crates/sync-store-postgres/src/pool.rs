//! Pools of connections, on each of which the statements are prepared once.

use std::time::Duration;

use deadpool_postgres::{
    ClientWrapper, Hook, HookError, Manager, ManagerConfig, Pool, RecyclingMethod, Runtime,
};
use futures_util::future::try_join_all;
use sync_store::StoreError;

use crate::endpoint::Endpoint;

/// How long a request waits for a free connection.
pub(crate) const POOL_WAIT: Duration = Duration::from_secs(5);
/// How long a new connection may take, with its sign-in and its statements.
pub(crate) const CREATE_LIMIT: Duration = Duration::from_secs(10);

/// A pool of at most `size` connections on which these statements are prepared.
pub(crate) fn pool(
    endpoint: &Endpoint,
    size: usize,
    statements: &'static [&'static str],
) -> Result<Pool, StoreError> {
    // Whether a connection is still there is seen without asking it; a request that meets a fresh loss answers 503.
    let recycling = ManagerConfig {
        recycling_method: RecyclingMethod::Fast,
    };
    let manager = Manager::from_config(endpoint.config.clone(), endpoint.tls.clone(), recycling);
    Pool::builder(manager)
        .max_size(size.max(1))
        .wait_timeout(Some(POOL_WAIT))
        .create_timeout(Some(CREATE_LIMIT))
        .recycle_timeout(Some(CREATE_LIMIT))
        .runtime(Runtime::Tokio1)
        .post_create(Hook::async_fn(move |client, _| {
            Box::pin(async move {
                prepare(client, statements)
                    .await
                    .map_err(HookError::Backend)
            })
        }))
        .build()
        .map_err(|error| StoreError::fault(format!("the pool: {error}")))
}

async fn prepare(client: &ClientWrapper, statements: &[&str]) -> Result<(), tokio_postgres::Error> {
    let prepared = statements.iter().map(|sql| client.prepare_cached(sql));
    try_join_all(prepared).await.map(|_| ())
}
