//! A database per test, and the requests that tests make.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;

use sync_protocol::{
    Answer, AppId, Changeset, ClientId, EventIds, Millis, RecordId, SpaceId, Tables, UserId,
};
use sync_store::{Caller, Cursor, MAX_PAGE, PAGE_BYTES, Pull, Push, Role, Store};
use sync_store_postgres::{Config, PostgresStore, migrate};
use tokio_postgres::{Client, NoTls};

/// A moment in January 2025: what the tests call now.
pub(crate) const NOW: Millis = Millis(1_736_000_000_000);

/// A database of one test on the shared server; dropped with this value.
pub(crate) struct Database {
    server: String,
    name: String,
    owner: Option<String>,
}

impl Database {
    /// An empty one.
    pub(crate) async fn empty() -> Self {
        let server = test_postgres::shared_url();
        let name = format!("sync_test_{:016x}", random());
        let admin = connect(&server).await;
        admin
            .batch_execute(&format!("create database {name}"))
            .await
            .unwrap();
        Self {
            server,
            name,
            owner: None,
        }
    }

    /// An empty one that belongs to a new user, who has no rights beyond it and signs in here; both are dropped with it.
    pub(crate) async fn owned_by(owner: &str) -> Self {
        let mut database = Self::empty().await;
        let name = &database.name;
        let sql = format!(
            "create role {owner} login password 'owner'; alter database {name} owner to {owner}"
        );
        database.raw().await.batch_execute(&sql).await.unwrap();
        database.owner = Some(owner.to_owned());
        database
    }

    /// One with the schema.
    pub(crate) async fn migrated() -> Self {
        let database = Self::empty().await;
        migrate(&database.config()).await.unwrap();
        database
    }

    /// Its URL, as its owner: a superuser, unless it has one of its own.
    pub(crate) fn url(&self) -> String {
        let (base, _) = self.server.rsplit_once('/').unwrap();
        let (_, server) = base.rsplit_once('@').unwrap();
        match &self.owner {
            None => format!("{base}/{}", self.name),
            Some(owner) => format!("postgresql://{owner}:owner@{server}/{}", self.name),
        }
    }

    /// What a check of it finds, as text.
    pub(crate) async fn report(&self) -> Vec<String> {
        let findings = sync_store_postgres::check(&self.config()).await.unwrap();
        findings.iter().map(ToString::to_string).collect()
    }

    pub(crate) fn config(&self) -> Config {
        Config::new(self.url())
    }

    pub(crate) async fn store(&self) -> Arc<PostgresStore> {
        Arc::new(PostgresStore::connect(self.config()).await.unwrap())
    }

    /// A connection past the store, as its owner.
    pub(crate) async fn raw(&self) -> Client {
        connect(&self.url()).await
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let (server, name) = (self.server.clone(), self.name.clone());
        let owner = self.owner.take();
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let admin = connect(&server).await;
                let sql = format!("drop database {name} with (force)");
                admin.batch_execute(&sql).await.unwrap();
                if let Some(owner) = owner {
                    let sql = format!("drop role {owner}");
                    admin.batch_execute(&sql).await.unwrap();
                }
            });
        });
        dropping.join().unwrap();
    }
}

/// A plain connection, which lives as long as the runtime.
pub(crate) async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

pub(crate) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

pub(crate) fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

pub(crate) fn space(name: &str) -> SpaceId {
    SpaceId::new(name).unwrap()
}

pub(crate) fn caller(user_name: &str, client: &str) -> Caller {
    Caller {
        user: user(user_name),
        client: ClientId::new(client).unwrap(),
    }
}

pub(crate) fn app() -> AppId {
    AppId::new("app").unwrap()
}

/// A push of changes written as JSON.
pub(crate) fn push(user: &str, client: &str, since: &str, changes: &str) -> Push {
    let body = format!(r#"{{"clientId":"x","appId":"app","since":"","changes":{changes}}}"#);
    let changeset = Changeset::parse(body.as_bytes()).unwrap();
    Push {
        caller: caller(user, client),
        app: app(),
        since: Cursor::parse(since),
        changes: changeset.changes,
        parked: changeset.parked,
        now: NOW,
        ids: EventIds::new(NOW, u128::from(random()) << 64 | u128::from(random())),
    }
}

/// A pull of all tables from a cursor.
pub(crate) fn pull(user: &str, client: &str, since: &str) -> Pull {
    Pull {
        caller: caller(user, client),
        app: app(),
        tables: Tables::All,
        bytes: PAGE_BYTES,
        since: Cursor::parse(since),
        limit: MAX_PAGE,
        now: NOW,
    }
}

/// An insert of one value into `tasks`, as JSON.
pub(crate) fn insert(id: &str, title: &str) -> String {
    format!(r#"{{"table":"tasks","id":"{id}","op":"insert","data":{{"title":"{title}"}}}}"#)
}

/// The ids of the records in an answer.
pub(crate) fn ids(answer: &Answer) -> Vec<String> {
    answer
        .server_changes
        .iter()
        .map(|change| RecordId::as_str(&change.id).to_owned())
        .collect()
}

/// Gives roles in a space.
pub(crate) async fn grant(store: &dyn Store, space: &str, roles: &[(&str, Role)]) {
    for (name, role) in roles {
        sync_store::contract::grant(store, name, space, Some(*role), NOW).await;
    }
}
