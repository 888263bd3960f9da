//! A database of a test's own on the server that all tests of a run share; it goes with that server.

use std::hash::{BuildHasher, RandomState};

use tokio_postgres::{Config, NoTls};

/// Makes one: its URL.
pub(crate) async fn fresh() -> String {
    let server = test_postgres::shared_url();
    let name = format!("spaces_{:016x}", RandomState::new().hash_one(0));
    let config: Config = server.parse().unwrap();
    let (client, connection) = config.connect(NoTls).await.unwrap();
    let making = async move {
        let create = format!("CREATE DATABASE {name}");
        client.batch_execute(&create).await.unwrap();
        name
    };
    let (name, _) = tokio::join!(making, connection);
    let (base, _) = server.rsplit_once('/').unwrap();
    format!("{base}/{name}")
}
