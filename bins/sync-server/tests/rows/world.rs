//! A server of the real parts on a real port, with a store of its own, and tokens for it.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use openssl::base64::encode_block;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Signer;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};
use sync_access::{
    Clock, DevelopmentIssuer, DevelopmentKeys, ServiceKeys, Verifier, VerifierSettings,
};
use sync_notify::Hub;
use sync_protocol::Millis;
use sync_store::{RowTables, Rules, Store};
use sync_store_postgres::{Config, PostgresStore, migrate};
use sync_store_sqlite::SqliteStore;
use sync_transport::{Limits, Metrics, Origins, Proxies, Service, serve};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_postgres::NoTls;

use crate::device::Device;

/// 2026-01-01T00:00:00Z: when worlds begin.
const BEGINNING: i64 = 1_767_225_600_000;
/// By which tokens of rows clients are signed.
const SECRET: &str = "a secret of more than 32 bytes, for rows";

/// Where a server keeps what it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In a file.
    Sqlite,
    /// In a database of its own.
    Postgres,
}

/// A server; it ends with this value.
pub(crate) struct World {
    address: SocketAddr,
    http: Client,
    began: Instant,
    serving: JoinHandle<()>,
    store: Arc<dyn Store>,
    _folder: Option<TempDir>,
}

impl World {
    /// A server that knows of no tables.
    pub(crate) async fn start(place: Place) -> Self {
        Self::with(place, RowTables::default()).await
    }

    /// A server that knows this of tables.
    pub(crate) async fn with(place: Place, rows: RowTables) -> Self {
        let (store, folder) = store(place).await;
        let mut world = Self::of(store, rows).await;
        world._folder = folder;
        world
    }

    /// Another server of the same rows, which knows something else of tables.
    pub(crate) async fn beside(&self, rows: RowTables) -> Self {
        Self::of(Arc::clone(&self.store), rows).await
    }

    /// A server of this store.
    pub(crate) async fn of(store: Arc<dyn Store>, rows: RowTables) -> Self {
        let began = Instant::now();
        let service = service(Arc::clone(&store), rows, began);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(async move {
            let never = std::future::pending::<()>();
            serve(listener, Arc::new(service), never).await;
        });
        Self {
            address,
            http: Client::builder().no_proxy().build().unwrap(),
            began,
            serving,
            store,
            _folder: None,
        }
    }

    /// A device of a user.
    pub(crate) fn device(&self, user: &str, name: &str) -> Device {
        let token = hs256(&self.claims(user, name));
        Device::new(self.address, self.http.clone(), token)
    }

    /// What the token of a device says.
    pub(crate) fn claims(&self, user: &str, device: &str) -> Value {
        let now = now(self.began).0 / 1000;
        json!({"sub": user, "did": device, "iat": now, "nbf": now, "exp": now + 300})
    }

    /// A request without a token.
    pub(crate) fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        self.http
            .request(method, format!("http://{}{path}", self.address))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// A token as issuers of rows clients make it.
pub(crate) fn hs256(claims: &Value) -> String {
    signed("HS256", SECRET, claims)
}

/// One that says so and so of its algorithm, signed by a secret.
pub(crate) fn signed(algorithm: &str, secret: &str, claims: &Value) -> String {
    let header = json!({"alg": algorithm, "typ": "JWT"}).to_string();
    let text = format!(
        "{}.{}",
        base64url(header.as_bytes()),
        base64url(claims.to_string().as_bytes())
    );
    let key = PKey::hmac(secret.as_bytes()).unwrap();
    let mut signer = Signer::new(MessageDigest::sha256(), &key).unwrap();
    let signature = signer.sign_oneshot_to_vec(text.as_bytes()).unwrap();
    format!("{text}.{}", base64url(&signature))
}

fn base64url(bytes: &[u8]) -> String {
    let text = encode_block(bytes).replace('+', "-").replace('/', "_");
    text.trim_end_matches('=').to_owned()
}

fn now(began: Instant) -> Millis {
    Millis(BEGINNING + i64::try_from(began.elapsed().as_millis()).unwrap())
}

async fn store(place: Place) -> (Arc<dyn Store>, Option<TempDir>) {
    match place {
        Place::Sqlite => {
            let folder = tempfile::tempdir().unwrap();
            let store = SqliteStore::open(folder.path().join("rows.db"), Rules::default());
            (Arc::new(store.unwrap()), Some(folder))
        }
        Place::Postgres => {
            let config = Config::new(database().await);
            migrate(&config).await.unwrap();
            let store = PostgresStore::connect(config).await.unwrap();
            (Arc::new(store), None)
        }
    }
}

/// A database of a test's own on the server that all tests of a run share; it goes with that server.
pub(crate) async fn database() -> String {
    let server = test_postgres::shared_url();
    let name = format!("rows_{:016x}", RandomState::new().hash_one(0));
    let (client, connection) = tokio_postgres::connect(&server, NoTls).await.unwrap();
    tokio::spawn(connection);
    let create = format!("create database {name}");
    client.batch_execute(&create).await.unwrap();
    let (base, _) = server.rsplit_once('/').unwrap();
    format!("{base}/{name}")
}

/// The parts of a server, wired as the binary does.
fn service(store: Arc<dyn Store>, rows: RowTables, began: Instant) -> Service {
    let clock: Clock = Arc::new(move || now(began));
    let issuer = DevelopmentIssuer::generate().unwrap();
    let settings = VerifierSettings {
        fixed_keys: Some(issuer.key_set()),
        rows_secret: Some(SECRET.to_owned()),
        ..VerifierSettings::default()
    };
    Service {
        store,
        verifier: Arc::new(Verifier::new(settings, Arc::clone(&clock)).unwrap()),
        clock,
        origins: Origins::parse("").unwrap(),
        proxies: Proxies::parse("").unwrap(),
        development_issuer: Some(issuer),
        hub: Hub::new(100),
        relay: None,
        billing: None,
        exempt_apps: BTreeSet::new(),
        memberships: None,
        service_keys: ServiceKeys::parse("", DevelopmentKeys::Refused).unwrap(),
        rows: Arc::new(rows),
        schema_version: 1,
        metrics: Metrics::new(),
        limits: Limits::default(),
    }
}
