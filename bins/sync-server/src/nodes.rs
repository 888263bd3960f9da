//! How this node and the others hear of each other's commits: the relay that the settings choose, and looks at the log.
//! With SQLite there is one node, which hears its own pushes and needs neither.

use std::sync::Arc;
use std::time::Duration;

use sync_notify::{Hub, Interest, News, Relay};
use sync_notify_nats::NatsRelay;
use sync_protocol::{Tables, UserId};
use sync_store_postgres::{Lookout, PostgresRelay};
use tokio::time::timeout;

use crate::database;
use crate::settings::{Database, Settings};

/// How long `check` waits for a relay to be there.
const CHECK_TIME: Duration = Duration::from_secs(5);
const CHECK_PAUSE: Duration = Duration::from_millis(100);

/// What connects a node with the others; it does so for as long as it lives.
pub(crate) struct Nodes {
    /// Carries news; a single node has none.
    pub(crate) relay: Option<Arc<dyn Relay>>,
    _lookout: Option<Lookout>,
}

impl Nodes {
    /// Joins the other nodes of the same database.
    ///
    /// # Errors
    ///
    /// A sentence that names the setting.
    pub(crate) fn join(settings: &Settings, hub: &Arc<Hub>) -> Result<Self, String> {
        let Database::Postgres(url) = settings.database()? else {
            return Ok(Self {
                relay: None,
                _lookout: None,
            });
        };
        let config = database::postgres(settings, url);
        let told = |error| format!("DATABASE_URL: {error}");
        let relay: Arc<dyn Relay> = match &settings.nats_url {
            None => Arc::new(PostgresRelay::start(&config, Arc::clone(hub)).map_err(told)?),
            Some(url) => Arc::new(nats(settings, url, hub)?),
        };
        Ok(Self {
            relay: Some(relay),
            _lookout: Some(Lookout::start(&config, Arc::clone(hub)).map_err(told)?),
        })
    }
}

fn nats(settings: &Settings, url: &str, hub: &Arc<Hub>) -> Result<NatsRelay, String> {
    NatsRelay::start(settings.nats(url), Arc::clone(hub))
        .map_err(|error| format!("NATS_URL: {error}"))
}

/// Tries the relay, with two nodes that must hear each other; what carries notices, in words for the operator.
///
/// # Errors
///
/// What is wrong, in words for the operator.
pub(crate) async fn check(settings: &Settings) -> Result<String, String> {
    let (near, far) = (Hub::new(1), Hub::new(1));
    let (one, _other) = (Nodes::join(settings, &near)?, Nodes::join(settings, &far)?);
    let Some(relay) = one.relay else {
        return Ok("this is the only node, nobody has to be told".to_owned());
    };
    let carrier = match settings.nats_url {
        None => "PostgreSQL",
        Some(_) => "NATS",
    };
    match timeout(CHECK_TIME, hear(relay.as_ref(), &far)).await {
        Ok(()) => Ok(format!("{carrier} carries notices between nodes")),
        Err(_) => Err(format!(
            "{carrier} does not carry notices: it cannot be reached, or does not let us tell and hear"
        )),
    }
}

/// Tells somebody who is not there what harms nobody, until it is heard.
async fn hear(relay: &dyn Relay, far: &Arc<Hub>) {
    let user = UserId::new(&format!("sync-server-check-{}", std::process::id()));
    let user = user.expect("words and numbers are an identifier");
    let listener = far.listen(Interest {
        user: user.clone(),
        client: None,
        app: None,
        tables: Tables::All,
    });
    let listener = listener.expect("nobody else listens");
    loop {
        relay.publish(News::Access(user.clone()));
        if timeout(CHECK_PAUSE, listener.waiting()).await.is_ok() {
            return;
        }
    }
}
