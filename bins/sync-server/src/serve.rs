//! `serve` and `dev`: the parts wired together, until a signal says stop.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use sync_access::{Clock, DevelopmentIssuer, Verifier, VerifierSettings};
use sync_notify::Hub;
use sync_protocol::Millis;
use sync_store_sqlite::READERS;
use sync_transport::{Drained, Limits, Members, Metrics, Service};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::commands::Command;
use crate::nodes::Nodes;

use crate::settings::{Database, KeyHosts, Settings};
use crate::{access, database, logging, sweep, tables, welcome};

/// Where `dev` keeps the key that it signs tokens with.
const DEVELOPMENT_KEY: &str = "sync-data/development-key.pem";

/// Serves until `SIGTERM` or `SIGINT`, then drains.
///
/// # Errors
///
/// A sentence for whoever started it.
pub(crate) async fn serve(command: &Command, settings: &Settings) -> Result<(), String> {
    let clock: Clock = Arc::new(now);
    let development_issuer = match command {
        Command::Dev => Some(development_issuer(settings)?),
        _ => {
            settings.off().iter().for_each(|line| logging::always(line));
            None
        }
    };
    let verifier = verifier(settings, development_issuer.as_ref(), clock.clone())?;
    let store = database::open(settings).await?;
    database::check_that_no_import_is_under_way(&*store).await?;
    let (listener, address) = listen(settings.address(command)?).await?;
    let hub = Hub::new(settings.limits.sync_live_per_user.into());
    let nodes = Nodes::join(settings, &hub)?;
    let members = Members {
        store: store.clone(),
        hub: hub.clone(),
        relay: nodes.relay.clone(),
        clock: clock.clone(),
        write_roles: settings.write_roles(),
    };
    let (rows, schema_version) = tables::tables(settings)?;
    let service = Service {
        store,
        verifier,
        billing: access::billing(settings, &clock)?,
        exempt_apps: settings.exempt_apps()?,
        memberships: access::memberships(settings, &clock, members.take())?,
        service_keys: access::service_keys(command, settings)?,
        clock,
        origins: settings.origins()?,
        proxies: settings.limits.proxies()?,
        development_issuer,
        hub,
        relay: nodes.relay.clone(),
        rows: Arc::new(rows),
        schema_version,
        metrics: Metrics::new(),
        limits: limits(command, settings)?,
    };
    let stop = stop_signal()?;
    if let (Command::Dev, Database::Sqlite(path)) = (command, settings.database()?) {
        print!("{}", welcome::development(address, &path));
    }
    tracing::info!(%address, version = env!("CARGO_PKG_VERSION"), "serving");
    serve_until(stop, command, settings, listener, Arc::new(service)).await;
    Ok(())
}

/// Serves, and keeps house beside it, until `stop`, then drains.
async fn serve_until(
    stop: impl Future<Output = ()> + Send + 'static,
    command: &Command,
    settings: &Settings,
    listener: TcpListener,
    service: Arc<Service>,
) {
    let (store, clock) = (service.store.clone(), service.clock.clone());
    let sweeper = tokio::spawn(sweep::sweep(store, clock, service.metrics.clone()));
    let keys = access::follow_keys(command.clone(), settings.clone(), service.clone());
    let keys = tokio::spawn(keys);
    let drained = sync_transport::serve(listener, service, stop).await;
    keys.abort();
    sweeper.abort();
    match drained {
        Drained::Clean => tracing::info!("stopped; every request was answered"),
        Drained::CutOff(connections) => {
            tracing::warn!(connections, "stopped; some connections were cut off")
        }
    }
}

/// A listener, and its address with the port that it has got.
async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), String> {
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| format!("PORT: {address} cannot be listened on: {error}"))?;
    let address = listener
        .local_addr()
        .map_err(|error| format!("the listener has no address: {error}"))?;
    Ok((listener, address))
}

/// The verifier that the settings describe; in development it knows the issuer's own key and asks nobody.
///
/// # Errors
///
/// A sentence that names the setting.
pub(crate) fn verifier(
    settings: &Settings,
    issuer: Option<&DevelopmentIssuer>,
    clock: Clock,
) -> Result<Arc<Verifier>, String> {
    let settings = VerifierSettings {
        key_addresses: settings.jwks_url.iter().cloned().collect(),
        key_hosts: match settings.sync_jwks_hosts {
            KeyHosts::Guarded => sync_access::KeyHosts::Guarded,
            KeyHosts::Anywhere => sync_access::KeyHosts::Anywhere,
        },
        fixed_keys: issuer.map(DevelopmentIssuer::key_set),
        rows_secret: settings.jwt_secret.clone(),
        issuer: settings.jwt_issuer.clone(),
        audience: settings.jwt_audience.clone(),
        ..VerifierSettings::default()
    };
    Verifier::new(settings, clock)
        .map(Arc::new)
        .map_err(|error| format!("JWKS_URL: {error}"))
}

/// An issuer whose tokens say what the verifier of the same settings asks for.
fn development_issuer(settings: &Settings) -> Result<DevelopmentIssuer, String> {
    let path = Path::new(DEVELOPMENT_KEY);
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)
        .map_err(|error| format!("{} cannot be made: {error}", folder.display()))?;
    let mut issuer = DevelopmentIssuer::from_file(path)
        .map_err(|error| format!("{DEVELOPMENT_KEY}: {error}"))?;
    if let Some(name) = &settings.jwt_issuer {
        issuer = issuer.with_issuer(name.clone());
    }
    if let Some(audience) = &settings.jwt_audience {
        issuer = issuer.with_audience(audience.clone());
    }
    Ok(issuer)
}

/// A development server turns nobody away for asking often: there is nobody else on it.
fn limits(command: &Command, settings: &Settings) -> Result<Limits, String> {
    let limits = Limits {
        connections: settings.limits.connections(),
        stream_reads: stream_reads(settings)?,
        ..Limits::default()
    };
    Ok(match command {
        Command::Dev => limits,
        _ => settings.limits.for_each(limits),
    })
}

/// Streams and sockets read with half of what the store can do at once, so that the rest is for requests.
fn stream_reads(settings: &Settings) -> Result<usize, String> {
    Ok(match settings.database()? {
        Database::Sqlite(_) => READERS / 2,
        Database::Postgres(_) => usize::from(settings.sync_pool_size) / 2,
    })
}

/// Resolves at the first signal to stop.
fn stop_signal() -> Result<impl Future<Output = ()>, String> {
    let listen =
        |kind| signal(kind).map_err(|error| format!("signals cannot be listened for: {error}"));
    let (mut terminate, mut interrupt) = (
        listen(SignalKind::terminate())?,
        listen(SignalKind::interrupt())?,
    );
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping");
    })
}

/// The wall clock: the one place where it is read.
#[expect(
    clippy::disallowed_methods,
    reason = "the binary is where the clock is read, and passed down from"
)]
pub(crate) fn now() -> Millis {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
