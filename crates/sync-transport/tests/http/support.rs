//! What the tests share: a server on a port of its own, tokens for it, a store that fails on demand, and plain sockets.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::{Value, json};
use sync_access::{
    Billing, Clock, DevelopmentIssuer, DevelopmentKeys, Memberships, ServiceKeys, UpstreamSettings,
    Verifier, VerifierSettings,
};
use sync_notify::Hub;
use sync_protocol::{AppId, Millis, UserId};
use sync_store::{
    Erased, Erasure, Export, Exported, Grant, Membership, MemoryStore, ParkedChange, Pending,
    Promoted, Promotion, Pull, Push, Pushed, Regranted, RowTables, Rules, Stats, Store, StoreError,
    Swept,
};
use sync_transport::{Drained, Limits, Members, Metrics, Origins, Proxies, Service, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::task::JoinHandle;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// 2026-01-01T00:00:00Z.
pub(crate) const NOW: Millis = Millis(1_767_225_600_000);
/// What servers under test say of the tables of rows clients.
pub(crate) const SCHEMA_VERSION: i64 = 3;
const HOUR: Duration = Duration::from_secs(3600);
/// What takes longer than this never happens.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A server under test.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) client: Client,
    /// The server's time of day, in milliseconds.
    time: Arc<AtomicI64>,
    issuer: DevelopmentIssuer,
    stop: Option<oneshot::Sender<()>>,
    ended: JoinHandle<Drained>,
}

/// What a server is made of, where it matters to a test.
pub(crate) struct Make {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) limits: Limits,
    pub(crate) origins: &'static str,
    pub(crate) proxies: &'static str,
    pub(crate) keys: bool,
    pub(crate) key_host: Option<String>,
    pub(crate) development: bool,
    pub(crate) metrics: Metrics,
    pub(crate) hub: Arc<Hub>,
    /// Where billing and memberships are asked.
    pub(crate) services: Option<String>,
    pub(crate) exempt_apps: &'static [&'static str],
    pub(crate) service_keys: &'static str,
    /// The secret of tokens of rows clients.
    pub(crate) rows_secret: Option<&'static str>,
    pub(crate) rows: RowTables,
}

impl Default for Make {
    fn default() -> Self {
        Self {
            store: Arc::new(MemoryStore::new(Rules::default())),
            limits: Limits::default(),
            origins: "",
            proxies: "",
            keys: true,
            key_host: None,
            development: false,
            metrics: Metrics::new(),
            hub: Hub::new(100),
            services: None,
            exempt_apps: &[],
            service_keys: "",
            rows_secret: None,
            rows: RowTables::default(),
        }
    }
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::made(Make::default()).await
    }

    pub(crate) async fn with_store(store: impl Store) -> Self {
        Self::made(Make {
            store: Arc::new(store),
            ..Make::default()
        })
        .await
    }

    pub(crate) async fn with_limits(limits: Limits) -> Self {
        Self::made(Make {
            limits,
            ..Make::default()
        })
        .await
    }

    pub(crate) async fn made(make: Make) -> Self {
        let issuer = DevelopmentIssuer::generate().unwrap();
        let time = Arc::new(AtomicI64::new(NOW.0));
        let shown = Arc::clone(&time);
        let clock: Clock = Arc::new(move || Millis(shown.load(Ordering::SeqCst)));
        // In development the issuer's tokens count; the tests' own issuer is another one then.
        let own = DevelopmentIssuer::generate().unwrap();
        let trusted = if make.development { &own } else { &issuer };
        let settings = VerifierSettings {
            fixed_keys: make.keys.then(|| trusted.key_set()),
            key_addresses: make.key_host.into_iter().collect(),
            rows_secret: make.rows_secret.map(str::to_owned),
            ..VerifierSettings::default()
        };
        let upstream = make.services.as_deref().map(UpstreamSettings::at);
        let members = Members {
            store: Arc::clone(&make.store),
            hub: Arc::clone(&make.hub),
            relay: None,
            clock: Arc::clone(&clock),
            write_roles: ["owner", "member"].map(str::to_owned).into(),
        };
        let apps = make.exempt_apps.iter().map(|app| AppId::new(app).unwrap());
        let billing = upstream.as_ref();
        let billing = billing.map(|at| Billing::new(at, Arc::clone(&clock)).unwrap());
        let memberships = upstream.as_ref();
        let memberships =
            memberships.map(|at| Memberships::new(at, Arc::clone(&clock), members.take()).unwrap());
        let service_keys = ServiceKeys::parse(make.service_keys, DevelopmentKeys::Refused);
        let service = Service {
            billing,
            exempt_apps: apps.collect(),
            memberships,
            service_keys: service_keys.unwrap(),
            store: make.store,
            verifier: Arc::new(Verifier::new(settings, Arc::clone(&clock)).unwrap()),
            clock,
            origins: Origins::parse(make.origins).unwrap(),
            proxies: Proxies::parse(make.proxies).unwrap(),
            development_issuer: make.development.then_some(own),
            hub: Arc::clone(&make.hub),
            relay: None,
            metrics: make.metrics,
            limits: make.limits,
            rows: Arc::new(make.rows),
            schema_version: SCHEMA_VERSION,
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let shutdown = async move { drop(stopped.await) };
        Self {
            address,
            client: Client::builder().no_proxy().build().unwrap(),
            time,
            issuer,
            stop: Some(stop),
            ended: tokio::spawn(serve(listener, Arc::new(service), shutdown)),
        }
    }

    /// Lets so many milliseconds pass on the server's clock.
    pub(crate) fn step_by(&self, millis: i64) {
        self.time.fetch_add(millis, Ordering::SeqCst);
    }

    pub(crate) fn token(&self, user: &str) -> String {
        self.issuer.issue(user, None, NOW, HOUR).unwrap()
    }

    /// A token that names a device, as rows clients have.
    pub(crate) fn device_token(&self, user: &str, device: &str) -> String {
        self.issuer.issue(user, Some(device), NOW, HOUR).unwrap()
    }

    pub(crate) fn token_from(&self, user: &str, issued: Millis) -> String {
        self.issuer.issue(user, None, issued, HOUR).unwrap()
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let url = format!("http://{}{path}", self.address);
        self.client.request(method, url)
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.request("GET", path).send().await.unwrap()
    }

    /// A request of a user, from a device.
    pub(crate) fn as_user(&self, method: &str, path: &str, device: &str) -> RequestBuilder {
        self.request(method, path)
            .bearer_auth(self.token("alice"))
            .header("X-Client-Id", device)
    }

    pub(crate) async fn push(&self, device: &str, body: impl Into<reqwest::Body>) -> Response {
        let request = self.as_user("POST", "/sync/todo", device);
        request.body(body).send().await.unwrap()
    }

    pub(crate) async fn pull(&self, device: &str, table: &str) -> Value {
        let path = format!("/sync/todo/pull?collection={table}&since=1970-01-01T00:00:00Z");
        let response = self.as_user("GET", &path, device).send().await.unwrap();
        assert_eq!(response.status(), 200);
        response.json().await.unwrap()
    }

    /// The text of the metrics, once the request of this id is counted in them.
    pub(crate) async fn metrics_after(&self, request_id: &str) -> String {
        line(request_id).await;
        self.get("/metrics").await.text().await.unwrap()
    }

    pub(crate) fn stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }

    pub(crate) async fn ended(self) -> Drained {
        in_time(self.ended).await.unwrap()
    }

    pub(crate) async fn socket(&self) -> Socket {
        Socket(TcpStream::connect(self.address).await.unwrap())
    }
}

/// A plain connection.
pub(crate) struct Socket(pub(crate) TcpStream);

impl Socket {
    pub(crate) async fn say(&mut self, text: impl AsRef<[u8]>) {
        self.0.write_all(text.as_ref()).await.unwrap();
    }

    /// Everything until the server closes the connection, or breaks it off.
    pub(crate) async fn all(&mut self) -> String {
        let mut bytes = Vec::new();
        let _ = in_time(self.0.read_to_end(&mut bytes)).await;
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Reads until this has come.
    pub(crate) async fn until(&mut self, end: &str) -> String {
        let mut bytes = Vec::new();
        while !String::from_utf8_lossy(&bytes).contains(end) {
            let byte = in_time(self.0.read_u8()).await;
            bytes.push(byte.expect("the server goes on"));
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// One `GET /health` over a connection that stays.
    pub(crate) async fn ask(&mut self) -> String {
        self.say("GET /health HTTP/1.1\r\nHost: x\r\n\r\n").await;
        self.until("\"users\":0}").await
    }
}

/// The outcome of what must happen sooner or later.
pub(crate) async fn in_time<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what)
        .await
        .expect("it happens")
}

/// A changeset of one insert.
pub(crate) fn insert(table: &str, id: &str, data: &str) -> String {
    format!(
        r#"{{"since":"","changes":[{{"table":"{table}","id":"{id}","op":"insert","data":{data}}}]}}"#
    )
}

/// Status and body of an error, which must look as all of them do.
pub(crate) async fn refused(response: Response) -> (u16, Value) {
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert!(!response.headers()["x-request-id"].is_empty());
    let status = response.status().as_u16();
    let body: Value = response.json().await.unwrap();
    let names: Vec<_> = body.as_object().unwrap().keys().collect();
    assert_eq!(names, ["error", "message"], "{body}");
    assert_ne!(body["message"], json!(""));
    (status, body["error"].clone())
}

/// What a [`Faulty`] store does to pushes and pulls.
pub(crate) enum Fault {
    Away,
    Broken,
    TooLarge,
    Panics,
    /// Waits for a permit, and then goes on as usual; says how many calls have come.
    Held(Arc<Semaphore>, watch::Sender<usize>),
}

/// The store in memory, with a fault.
pub(crate) struct Faulty {
    fault: Fault,
    store: MemoryStore,
}

impl Faulty {
    pub(crate) fn new(fault: Fault) -> Self {
        let store = MemoryStore::new(Rules::default());
        Self { fault, store }
    }

    async fn pass(&self) -> Result<(), StoreError> {
        match &self.fault {
            Fault::Away => Err(StoreError::unavailable("connection to 10.0.0.7 refused")),
            Fault::Broken => Err(StoreError::fault("column \"secret\" does not exist")),
            Fault::TooLarge => Err(StoreError::TooLarge("push fewer changes at once".into())),
            Fault::Panics => panic!("the store has lost its mind"),
            Fault::Held(gate, calls) => {
                calls.send_modify(|calls| *calls += 1);
                gate.acquire().await.unwrap().forget();
                Ok(())
            }
        }
    }
}

impl Store for Faulty {
    fn push(&self, push: Push) -> Pending<'_, Pushed> {
        Box::pin(async {
            self.pass().await?;
            self.store.push(push).await
        })
    }

    fn upload(&self, upload: sync_store::Upload) -> Pending<'_, sync_store::Uploaded> {
        Box::pin(async {
            self.pass().await?;
            self.store.upload(upload).await
        })
    }

    fn download(
        &self,
        download: sync_store::Download,
    ) -> Pending<'_, sync_protocol::rows::DownloadPage> {
        Box::pin(async {
            self.pass().await?;
            self.store.download(download).await
        })
    }

    fn pull(&self, pull: Pull) -> Pending<'_, sync_protocol::Answer> {
        Box::pin(async {
            self.pass().await?;
            self.store.pull(pull).await
        })
    }

    fn regrant(&self, membership: Membership, now: Millis) -> Pending<'_, Regranted> {
        self.store.regrant(membership, now)
    }

    fn promote(&self, promotion: Promotion) -> Pending<'_, Promoted> {
        self.store.promote(promotion)
    }

    fn grants(&self, user: UserId) -> Pending<'_, Vec<Grant>> {
        self.store.grants(user)
    }

    fn parked(&self, user: UserId, app: AppId) -> Pending<'_, Vec<ParkedChange>> {
        self.store.parked(user, app)
    }

    fn export(&self, export: Export) -> Pending<'_, Exported> {
        Box::pin(async {
            self.pass().await?;
            self.store.export(export).await
        })
    }

    fn erase(&self, erasure: Erasure) -> Pending<'_, Erased> {
        Box::pin(async {
            self.pass().await?;
            self.store.erase(erasure).await
        })
    }

    fn sweep(&self, now: Millis) -> Pending<'_, Swept> {
        self.store.sweep(now)
    }

    fn stats(&self) -> Pending<'_, Stats> {
        Box::pin(async {
            self.pass().await?;
            self.store.stats().await
        })
    }

    fn ready(&self) -> Pending<'_, ()> {
        Box::pin(self.pass())
    }
}

/// The log of the whole process, line by line.
#[derive(Clone)]
struct Log(Arc<Mutex<Vec<u8>>>, watch::Sender<Vec<String>>);

fn log() -> &'static Log {
    static LOG: OnceLock<Log> = OnceLock::new();
    LOG.get_or_init(|| {
        let log = Log(Arc::default(), watch::Sender::default());
        let filter = EnvFilter::new("info,sync_transport=trace,sync_access=trace");
        tracing_subscriber::fmt()
            .json()
            .with_env_filter(filter)
            .with_writer(log.clone())
            .init();
        log
    })
}

/// Begins to keep the log. What was logged before is lost.
pub(crate) fn keep_log() {
    log();
}

/// The line of a request, when it is there.
pub(crate) async fn line(request_id: &str) -> Value {
    let mut lines = log().1.subscribe();
    let mark = format!("\"request_id\":\"{request_id}\"");
    let of_request = |line: &&String| line.contains(&mark);
    let seen = in_time(lines.wait_for(|lines| lines.iter().any(|line| of_request(&line)))).await;
    let seen = seen.unwrap();
    let found: Vec<_> = seen.iter().filter(of_request).collect();
    assert_eq!(found.len(), 1, "one line per request");
    serde_json::from_str::<Value>(found[0]).unwrap()
}

/// All that was logged.
pub(crate) fn whole_log() -> String {
    log().1.borrow().concat()
}

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut rest = self.0.lock().unwrap();
        rest.extend_from_slice(bytes);
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line = String::from_utf8(rest.drain(..=end).collect()).unwrap();
            self.1.send_modify(|lines| lines.push(line));
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
