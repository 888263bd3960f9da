//! A server of the real parts on a real port, the services beside it, and what all clients of a run share.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sync_access::{
    Clock, DevelopmentIssuer, DevelopmentKeys, Memberships, ServiceKeys, UpstreamSettings,
    Verifier, VerifierSettings,
};
use sync_notify::Hub;
use sync_protocol::Millis;
use sync_store::Store;
use sync_transport::{Drained, Limits, Members, Metrics, Origins, Proxies, Service, serve};
use test_services::Services;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::business::tables;
use crate::chance::Chance;
use crate::model::{Model, Nanos};
use crate::names::{Names, USERS};
use crate::walls::{Built, Walls};

/// 2026-01-01T00:00:00Z: when runs begin.
const BEGINNING: i64 = 1_767_225_600_000_000_000;
/// The clock of a run is that much faster, so that answers about memberships grow old and doubts are settled within it.
pub(crate) const SPEED: i64 = 60;
/// The key by which the played services call.
pub(crate) const SERVICE_KEY: &str = "0123456789abcdef-isolation";
/// What is remembered of cursors, event ids and positions, for others to take.
const REMEMBERED: usize = 400;
const DAY: Duration = Duration::from_secs(24 * 3600);

/// What all clients of a run share.
pub(crate) struct World {
    pub(crate) names: Names,
    pub(crate) model: Model,
    pub(crate) services: Services,
    pub(crate) address: SocketAddr,
    pub(crate) http: reqwest::Client,
    /// Who changes the memberships of a user does it alone.
    pub(crate) changing: Vec<tokio::sync::Mutex<()>>,
    pub(crate) cursors: Pool,
    pub(crate) event_ids: Pool,
    pub(crate) positions: Pool,
    /// Numbers of failures, and whose they are.
    pub(crate) failures: Pool,
    issuer: DevelopmentIssuer,
    stranger: DevelopmentIssuer,
    clock: Fast,
}

/// A server of a run.
pub(crate) struct Server {
    pub(crate) world: Arc<World>,
    pub(crate) built: Built,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<Drained>,
}

/// A clock that is faster than the day.
#[derive(Clone, Copy)]
struct Fast(Instant);

impl Fast {
    fn now(self) -> Nanos {
        let passed = i64::try_from(self.0.elapsed().as_nanos()).expect("a run ends within years");
        BEGINNING + passed * SPEED
    }
}

/// What was told to anybody, for anybody to use.
#[derive(Default)]
pub(crate) struct Pool(Mutex<Vec<String>>);

impl Pool {
    pub(crate) fn put(&self, chance: &mut Chance, text: &str) {
        let mut texts = self.0.lock().unwrap();
        if texts.len() < REMEMBERED {
            texts.push(text.to_owned());
        } else {
            texts[chance.below(REMEMBERED)] = text.to_owned();
        }
    }

    pub(crate) fn any(&self, chance: &mut Chance) -> Option<String> {
        let texts = self.0.lock().unwrap();
        (!texts.is_empty()).then(|| chance.one(&texts).clone())
    }
}

impl World {
    pub(crate) fn now(&self) -> Nanos {
        self.clock.now()
    }

    pub(crate) fn token(&self, user: usize) -> String {
        let now = Millis(self.now() / 1_000_000);
        let name = &self.names.users[user];
        self.issuer.issue(name, None, now, DAY).unwrap()
    }

    /// One that names a device.
    pub(crate) fn device_token(&self, user: usize, device: &str) -> String {
        let now = Millis(self.now() / 1_000_000);
        let name = &self.names.users[user];
        self.issuer.issue(name, Some(device), now, DAY).unwrap()
    }

    /// Something that looks like a token of a user, and is none.
    pub(crate) fn wrong_token(&self, chance: &mut Chance, user: usize) -> String {
        let now = Millis(self.now() / 1_000_000);
        let long_ago = Millis(now.0 - 30 * 24 * 3600 * 1000);
        let name = &self.names.users[user];
        match chance.below(4) {
            0 => self.stranger.issue(name, None, now, DAY).unwrap(),
            1 => self.issuer.issue(name, None, long_ago, DAY).unwrap(),
            2 => {
                let (own, other) = (self.token(user), self.token((user + 1) % USERS));
                let (head, signature) = (other.rsplit_once('.'), own.rsplit_once('.'));
                format!("{}.{}", head.unwrap().0, signature.unwrap().1)
            }
            _ => "e30.e30.".to_owned(),
        }
    }
}

impl Server {
    pub(crate) async fn start(walls: Walls) -> Self {
        let names = Names::new();
        let hub = Hub::new(100);
        let built = Built::new(walls, &names, &hub).await;
        let services = Services::start().await.unwrap();
        let clock = Fast(Instant::now());
        let issuer = DevelopmentIssuer::generate().unwrap();
        let service = service(&built, hub, &services.url(), &issuer, (clock, &names));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let world = World {
            names,
            model: Model::default(),
            services,
            address: listener.local_addr().unwrap(),
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            changing: (0..USERS).map(|_| tokio::sync::Mutex::default()).collect(),
            cursors: Pool::default(),
            event_ids: Pool::default(),
            positions: Pool::default(),
            failures: Pool::default(),
            issuer,
            stranger: DevelopmentIssuer::generate().unwrap(),
            clock,
        };
        let (stop, stopped) = oneshot::channel();
        let shutdown = async move { drop(stopped.await) };
        Self {
            world: Arc::new(world),
            ended: tokio::spawn(serve(listener, Arc::new(service), shutdown)),
            built,
            stop,
        }
    }

    /// Stops it; the database past the store is still there.
    pub(crate) async fn stop(self) {
        let _ = self.stop.send(());
        let _ = self.ended.await;
    }
}

/// The parts of a server, wired as the binary does.
fn service(
    built: &Built,
    hub: Arc<Hub>,
    services: &str,
    issuer: &DevelopmentIssuer,
    (clock, names): (Fast, &Names),
) -> Service {
    let store: Arc<dyn Store> = Arc::clone(&built.store);
    let clock: Clock = Arc::new(move || Millis(clock.now() / 1_000_000));
    let settings = VerifierSettings {
        fixed_keys: Some(issuer.key_set()),
        ..VerifierSettings::default()
    };
    let members = Members {
        store: Arc::clone(&store),
        hub: Arc::clone(&hub),
        relay: built.relay.clone(),
        clock: Arc::clone(&clock),
        write_roles: ["owner", "member"].map(str::to_owned).into(),
    };
    let upstream = UpstreamSettings::at(services);
    let memberships = Memberships::new(&upstream, Arc::clone(&clock), members.take()).unwrap();
    let keys = format!("mana:{SERVICE_KEY}");
    Service {
        billing: None,
        exempt_apps: BTreeSet::new(),
        memberships: Some(memberships),
        service_keys: ServiceKeys::parse(&keys, DevelopmentKeys::Refused).unwrap(),
        store,
        verifier: Arc::new(Verifier::new(settings, Arc::clone(&clock)).unwrap()),
        clock,
        origins: Origins::parse("").unwrap(),
        proxies: Proxies::parse("").unwrap(),
        development_issuer: None,
        hub,
        relay: built.relay.clone(),
        rows: Arc::new(tables(names)),
        schema_version: 1,
        metrics: Metrics::new(),
        limits: Limits::default(),
    }
}
