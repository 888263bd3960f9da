//! The accept loop: connections under a cap, each with its time limits, and an end that lets requests finish.
//!
//! ```text
//! accept (waits for a free seat) -> a place of its address -> socket -> HTTP/1.1 or HTTP/2 -> router
//! no place left: 429, without a seat
//! idle: the client is told to go -> later it is cut off
//! upgraded: the conversation of the socket, on the same seat
//! shutdown: no more accepts -> idle connections close, requests under way finish, streams and sockets say so and end
//!           -> the rest is cut off
//! ```

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::activity::Activity;
use crate::connection::{Afterwards, Stopping};
use crate::error::Refusal;
use crate::farewell::Farewells;
use crate::metrics::Connected;
use crate::places::{Place, Places};
use crate::service::Service;
use crate::socket::Socket;
use crate::source::{Peer, Source};
use crate::{Limits, Loopback, router};

/// The longest head of a request, in bytes.
const MAX_HEAD_BYTES: u32 = 32 * 1024;
/// Requests at a time on one HTTP/2 connection.
const MAX_STREAMS: u32 = 100;
/// Streams that a client may have reset before we took them up, and that we may have reset ourselves, before its
/// connection is closed (CVE-2023-44487 and its kin).
const MAX_RESET_STREAMS: usize = 50;
/// How often an HTTP/2 client is asked whether it is there, and how long it may take to say so.
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_TIME: Duration = Duration::from_secs(10);
/// How many times as long as it may be idle a connection has to end after its client was told to go: for an answer that a
/// slow client is taking still.
const LINGER: u32 = 5;
/// After how much silence the system asks whether a client is there, and how often it then asks.
const PROBE_AFTER: Duration = Duration::from_secs(60);
const PROBE_EVERY: Duration = Duration::from_secs(15);
/// How many bytes the system takes of an answer before it can send them. With more, a slow client that takes all the time would
/// seem to take nothing until a third of a large buffer is free.
#[cfg(target_os = "linux")]
const UNSENT_BYTES: u32 = 64 * 1024;
/// How long nothing is accepted after the system had no means to.
const ACCEPT_BACK_OFF: Duration = Duration::from_millis(500);

/// How a listener ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// All requests were answered.
    Clean,
    /// Time was up, and so many connections were cut off.
    CutOff(usize),
}

/// Serves until `shutdown` resolves; then lets requests finish for as long as the limits say.
///
/// It returns with the listener closed and no connection left. What a connection does wrong ends that connection.
pub async fn serve(
    listener: TcpListener,
    service: Arc<Service>,
    shutdown: impl Future<Output = ()>,
) -> Drained {
    let limits = service.limits;
    let face = Face {
        builder: builder(&limits),
        routes: TowerToHyperService::new(router(Arc::clone(&service))),
        limits,
    };
    let face = Arc::new(face);
    let seats = Arc::new(Semaphore::new(limits.connections));
    let (stop, stopping) = watch::channel(());
    let stopping = Stopping::new(stopping);
    let mut connections = JoinSet::new();
    let mut door = Door::new(&service);
    tokio::pin!(shutdown);
    loop {
        let next = async { (seat(&seats).await, accept(&listener).await) };
        let (seat, (stream, peer)) = tokio::select! {
            biased;
            () = &mut shutdown => break,
            next = next => next,
        };
        while connections.try_join_next().is_some() {}
        let Some((stream, place)) = door.admit(stream, peer) else {
            continue;
        };
        let kept = (seat, place, service.metrics.connected());
        let came = (stream, peer);
        connections.spawn(Arc::clone(&face).connection(came, stopping.clone(), kept));
    }
    drop((listener, stopping));
    drain(stop, connections, limits.drain).await
}

/// Lets only so many in of each address.
struct Door {
    service: Arc<Service>,
    places: Arc<Places>,
    farewells: Farewells,
    warned: Option<Instant>,
}

impl Door {
    fn new(service: &Arc<Service>) -> Self {
        Self {
            service: Arc::clone(service),
            places: Places::new(service.limits.address_connections),
            farewells: Farewells::default(),
            warned: None,
        }
    }

    fn warn(&mut self, now: Instant) {
        if self.warned.is_none_or(|at| now >= at + WARN_EVERY) {
            self.warned = Some(now);
            tracing::warn!(
                "an address has as many connections as one may have (SYNC_CONNECTIONS_PER_ADDRESS), and further ones are \
                 refused; if it is a proxy, name it in SYNC_TRUSTED_PROXIES"
            );
        }
    }

    /// Gives the connection back if it may come in, with its place. A trusted proxy needs none: it brings many clients. Nor
    /// does what is spared on this machine.
    fn admit(&mut self, stream: TcpStream, peer: Peer) -> Option<(TcpStream, Option<Place>)> {
        let is_spared = self.service.limits.loopback == Loopback::Spared && peer.is_here();
        if is_spared || self.service.proxies.trust(peer.0) {
            return Some((stream, None));
        }
        let place = self.places.take(Source::new(peer.0));
        if place.is_some() {
            return Some((stream, place));
        }
        self.service.metrics.refused();
        self.warn(Instant::now());
        self.farewells.tell(stream, Refusal::CrowdedAddress);
        None
    }
}

/// How often it is said that connections are refused.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// What every connection is served with.
struct Face {
    builder: Builder<TokioExecutor>,
    routes: TowerToHyperService<axum::Router>,
    limits: Limits,
}

impl Face {
    /// Serves one connection to its end, and what it was upgraded to.
    async fn connection(
        self: Arc<Self>,
        came: (TcpStream, Peer),
        stopping: Stopping,
        _kept: (OwnedSemaphorePermit, Option<Place>, Connected),
    ) {
        let afterwards = Afterwards::default();
        self.speak_http(came, stopping.clone(), afterwards.clone())
            .await;
        if let Some(work) = afterwards.take() {
            work.await;
        }
        // Whoever stops the server waits until nobody listens for it.
        drop(stopping);
    }

    /// Speaks HTTP until it is over. Tasks that HTTP/2 starts for its streams end with it.
    async fn speak_http(
        &self,
        (stream, peer): (TcpStream, Peer),
        stopping: Stopping,
        afterwards: Afterwards,
    ) {
        let activity = Activity::new();
        let socket = TokioIo::new(Socket::new(stream, &self.limits, activity.clone()));
        let mut told = stopping.clone();
        let watched = service_fn(|mut request: Request<Incoming>| {
            let extensions = request.extensions_mut();
            extensions.insert(peer);
            extensions.insert(stopping.clone());
            extensions.insert(afterwards.clone());
            activity.clone().during(self.routes.call(request))
        });
        // In a box that is gone when HTTP is over: a socket may stay for days, and needs none of it.
        let mut connection = Box::pin(self.builder.serve_connection_with_upgrades(socket, watched));
        let idle = self.limits.idle;
        let ended = tokio::select! {
            ended = &mut connection => ended,
            () = told.told() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
            () = activity.quiet(idle) => {
                connection.as_mut().graceful_shutdown();
                let ended = timeout(idle.saturating_mul(LINGER), connection).await;
                ended.unwrap_or(Err("it was idle".into()))
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended early");
        }
    }
}

fn builder(limits: &Limits) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        // Without a timer the limit below would be inert.
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_buf_size(usize::try_from(MAX_HEAD_BYTES).unwrap_or(usize::MAX));
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(MAX_HEAD_BYTES)
        .max_concurrent_streams(MAX_STREAMS)
        .max_pending_accept_reset_streams(MAX_RESET_STREAMS)
        .max_local_error_reset_streams(MAX_RESET_STREAMS)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIME);
    builder
}

/// Beyond the cap nobody is accepted until somebody goes: clients wait in the system's queue, and cost nothing here.
async fn seat(seats: &Arc<Semaphore>) -> OwnedSemaphorePermit {
    let seat = Arc::clone(seats).acquire_owned().await;
    seat.expect("the semaphore is never closed")
}

async fn accept(listener: &TcpListener) -> (TcpStream, Peer) {
    loop {
        match listener.accept().await {
            Ok((stream, address)) => {
                tune(&stream);
                return (stream, Peer(address.ip()));
            }
            Err(error) if is_the_clients(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections, trying again");
                sleep(ACCEPT_BACK_OFF).await;
            }
        }
    }
}

/// What a system cannot do costs time or seats, not answers.
fn tune(stream: &TcpStream) {
    // Answers are written whole; waiting for more to send with them only costs time.
    let _ = stream.set_nodelay(true);
    // A client that vanished without a word (a phone that changes its network) is found out while nothing was sent to it. With
    // a heartbeat on its way the system tries for as long as it does by itself: a limit for that (TCP_USER_TIMEOUT) would end
    // clients with a small window, too, that read slowly and steadily.
    let socket = SockRef::from(stream);
    let keepalive = TcpKeepalive::new()
        .with_time(PROBE_AFTER)
        .with_interval(PROBE_EVERY);
    let _ = socket.set_tcp_keepalive(&keepalive);
    #[cfg(target_os = "linux")]
    let _ = socket.set_tcp_notsent_lowat(UNSENT_BYTES);
}

/// Whether the one connection failed that was to be accepted, and not the accepting.
fn is_the_clients(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    let kinds = [
        ConnectionAborted,
        ConnectionRefused,
        ConnectionReset,
        Interrupted,
    ];
    kinds.contains(&error.kind())
}

async fn drain(
    stop: watch::Sender<()>,
    mut connections: JoinSet<()>,
    time_limit: Duration,
) -> Drained {
    let _ = stop.send(());
    if timeout(time_limit, stop.closed()).await.is_ok() {
        return Drained::Clean;
    }
    while connections.try_join_next().is_some() {}
    let left = connections.len();
    connections.shutdown().await;
    tracing::warn!(
        connections = left,
        "cut off connections that did not finish in time"
    );
    Drained::CutOff(left)
}
