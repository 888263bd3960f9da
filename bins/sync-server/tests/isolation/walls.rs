//! The builds of the store: which walls stand, and where the truth is read past the store.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::PathBuf;
use std::sync::Arc;

use sync_notify::{Hub, Relay};
use sync_store::{Rules, Scope, Store};
use sync_store_postgres::{CodeWall, Config, Lookout, PostgresRelay, PostgresStore, migrate};
use sync_store_sqlite::SqliteStore;
use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};

use crate::business::{BUSINESS, tables};
use crate::names::Names;

/// A build of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Walls {
    /// PostgreSQL as it ships.
    Both,
    /// PostgreSQL without row-level security.
    Code,
    /// PostgreSQL, where the code takes everybody to reach everything.
    Rls,
    /// PostgreSQL with neither: what comes through must be found.
    Neither,
    /// SQLite, which has the code's wall alone.
    Sqlite,
}

impl Walls {
    /// The build of a word.
    pub(crate) fn parse(word: &str) -> Option<Self> {
        match word {
            "both" => Some(Self::Both),
            "code" => Some(Self::Code),
            "rls" => Some(Self::Rls),
            "neither" => Some(Self::Neither),
            "sqlite" => Some(Self::Sqlite),
            _ => None,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Both => "both walls",
            Self::Code => "code only",
            Self::Rls => "RLS only",
            Self::Neither => "neither wall",
            Self::Sqlite => "SQLite (code only)",
        }
    }

    fn has_code(self) -> bool {
        matches!(self, Self::Both | Self::Code | Self::Sqlite)
    }

    pub(crate) fn has_rls(self) -> bool {
        matches!(self, Self::Both | Self::Rls)
    }
}

/// What row-level security stands on.
const GUARDED: [&str; 6] = [
    "sync_changes",
    "sync_records",
    "sync_grants",
    "sync_parked",
    "sync_uploads",
    "sync_failures",
];

/// Those of them whose rows are of one user each, whatever the spaces.
const PERSONAL: [&str; 3] = ["sync_parked", "sync_uploads", "sync_failures"];

/// A store of a build, with nothing in it, and what goes with it in a server.
pub(crate) struct Built {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) relay: Option<Arc<dyn Relay>>,
    pub(crate) truth: Source,
    _lookout: Option<Lookout>,
}

/// The database past the store.
pub(crate) enum Source {
    Postgres(Database),
    Sqlite(
        PathBuf,
        #[expect(dead_code, reason = "the folder goes with it")] TempDir,
    ),
}

/// A database of one run on the shared server; dropped with this value.
pub(crate) struct Database {
    server: String,
    name: String,
    pub(crate) client: Client,
}

impl Built {
    pub(crate) async fn new(walls: Walls, names: &Names, hub: &Arc<Hub>) -> Self {
        if walls == Walls::Sqlite {
            return Self::sqlite();
        }
        let database = Database::new().await;
        let scopes = names.keys().map(|key| Scope::from_key(key).unwrap());
        let config = Config {
            code_wall: if walls.has_code() {
                CodeWall::Standing
            } else {
                CodeWall::Removed(scopes.collect())
            },
            tables: Arc::new(tables(names)),
            ..Config::new(database.url())
        };
        migrate(&config).await.unwrap();
        database.client.batch_execute(BUSINESS).await.unwrap();
        if !walls.has_rls() {
            for table in GUARDED {
                let sql = format!("alter table {table} disable row level security");
                database.client.batch_execute(&sql).await.unwrap();
            }
        }
        Self {
            store: Arc::new(PostgresStore::connect(config.clone()).await.unwrap()),
            relay: Some(Arc::new(
                PostgresRelay::start(&config, Arc::clone(hub)).unwrap(),
            )),
            _lookout: Some(Lookout::start(&config, Arc::clone(hub)).unwrap()),
            truth: Source::Postgres(database),
        }
    }

    fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("isolation.db");
        let store = SqliteStore::open(&path, Rules::default()).unwrap();
        Self {
            store: Arc::new(store),
            relay: None,
            truth: Source::Sqlite(path, folder),
            _lookout: None,
        }
    }
}

impl Database {
    async fn new() -> Self {
        let server = test_postgres::shared_url();
        let name = format!(
            "sync_isolation_{:016x}",
            RandomState::new().build_hasher().finish()
        );
        let admin = connect(&server).await;
        let sql = format!("create database {name}");
        admin.batch_execute(&sql).await.unwrap();
        let client = connect(&url(&server, &name)).await;
        Self {
            server,
            name,
            client,
        }
    }

    fn url(&self) -> String {
        url(&self.server, &self.name)
    }

    /// How many rows of the guarded tables a transaction in the role of requests sees that has said nothing of itself; and
    /// how many there are.
    pub(crate) async fn seen_without_settings(&self) -> (i64, i64) {
        let counts = GUARDED.map(|table| format!("(select count(*) from {table})"));
        let count = &format!("select {}", counts.join(" + "));
        let all = self.client.query_one(count, &[]).await.unwrap().get(0);
        let role = "begin; set local role sync_app";
        self.client.batch_execute(role).await.unwrap();
        let seen = self.client.query_one(count, &[]).await.unwrap().get(0);
        self.client.batch_execute("rollback").await.unwrap();
        (seen, all)
    }

    /// How many rows of others transactions in the role of requests see that say whose they are, in the tables that each user
    /// has alone.
    pub(crate) async fn seen_of_others(&self, names: &Names) -> i64 {
        let counts = PERSONAL
            .map(|table| format!("(select count(*) from {table} where user_id <> $1::text)"));
        let count = &format!("select {}", counts.join(" + "));
        let set = "select set_config('sync.user', $1::text, true)";
        let mut seen = 0;
        for user in &names.users {
            let role = "begin; set local role sync_app";
            self.client.batch_execute(role).await.unwrap();
            self.client.execute(set, &[user]).await.unwrap();
            let others: i64 = self.client.query_one(count, &[user]).await.unwrap().get(0);
            self.client.batch_execute("rollback").await.unwrap();
            seen += others;
        }
        seen
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let (server, name) = (self.server.clone(), self.name.clone());
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let admin = connect(&server).await;
                let sql = format!("drop database {name} with (force)");
                admin.batch_execute(&sql).await.unwrap();
            });
        });
        dropping.join().unwrap();
    }
}

fn url(server: &str, name: &str) -> String {
    let (base, _) = server.rsplit_once('/').unwrap();
    format!("{base}/{name}")
}

/// A plain connection, as a superuser, which lives as long as the runtime.
async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}
