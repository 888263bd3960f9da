//! Three nodes on one PostgreSQL, with what carries notices between them.

use std::time::Duration;

use futures_util::future::join_all;
use sync_client::{Client, Options, Retry};
use tempfile::TempDir;
use test_nats::Server;
use test_postgres::Instance;

use crate::gate::Gate;
use crate::keys::Keys;
use crate::node::Node;
use crate::waiting::until;

const NODES: usize = 3;
/// The app of all clients.
const APP: &str = "todo";

/// What carries notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carrier {
    /// LISTEN and NOTIFY.
    Postgres,
    /// A real nats-server.
    Nats,
    /// A `NATS_URL` at which nobody listens.
    Nobody,
}

/// All of it; gone with this value.
pub(crate) struct Cluster {
    /// The nodes.
    pub(crate) nodes: Vec<Node>,
    /// What carries notices between them, if it is no Postgres.
    pub(crate) nats: Option<Server>,
    /// What stands before PostgreSQL.
    pub(crate) gate: Option<Gate>,
    /// The one database.
    pub(crate) postgres: Option<Instance>,
    keys: Keys,
    _folder: TempDir,
}

impl Cluster {
    /// Nodes that serve.
    pub(crate) async fn start(carrier: Carrier) -> Self {
        Self::start_with(carrier, &[]).await
    }

    /// The same, with these further settings.
    pub(crate) async fn start_with(carrier: Carrier, settings: &[(&str, &str)]) -> Self {
        let postgres = started_postgres().await;
        let url = postgres.url();
        Self::with(carrier, postgres, (url, None), settings).await
    }

    /// The same, with a gate before PostgreSQL.
    pub(crate) async fn start_behind_gate(carrier: Carrier) -> Self {
        let postgres = started_postgres().await;
        let url = postgres.url();
        let (server, path) = url.rsplit_once('/').unwrap();
        let (host, port) = server.rsplit_once(':').unwrap();
        let gate = Gate::before(port.parse().unwrap()).await;
        let url = format!("{host}:{}/{path}", gate.port);
        Self::with(carrier, postgres, (url, Some(gate)), &[]).await
    }

    async fn with(
        carrier: Carrier,
        postgres: Instance,
        (url, gate): (String, Option<Gate>),
        further: &[(&str, &str)],
    ) -> Self {
        let keys = Keys::serve();
        let nats = match carrier {
            Carrier::Postgres => None,
            Carrier::Nats => Some(Server::start(&[]).unwrap()),
            Carrier::Nobody => Some(Server::reserve(&[]).unwrap()),
        };
        let mut settings = vec![
            ("DATABASE_URL".to_owned(), url),
            ("JWKS_URL".to_owned(), keys.url.clone()),
        ];
        let further = further.iter();
        settings.extend(further.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        settings.extend(nats.iter().map(|nats| ("NATS_URL".to_owned(), nats.url())));
        let folder = tempfile::tempdir().unwrap();
        let http = reqwest::Client::new();
        let new = |number| Node::new(folder.path(), number, &settings, http.clone());
        let mut nodes: Vec<Node> = (0..NODES).map(new).collect();
        // All at once: they agree on who makes the schema.
        nodes.iter_mut().for_each(Node::start);
        join_all(nodes.iter_mut().map(Node::serves)).await;
        let cluster = Self {
            nodes,
            nats,
            gate,
            postgres: Some(postgres),
            keys,
            _folder: folder,
        };
        if carrier != Carrier::Nobody {
            cluster.relays_are_up().await;
        }
        cluster
    }

    /// A client of this user on a node.
    pub(crate) fn client(&self, node: usize, user: &str, client_id: &str) -> Client {
        self.client_at(&self.nodes[node].url(), user, client_id)
    }

    /// The same at another address of a node.
    pub(crate) fn client_at(&self, url: &str, user: &str, client_id: &str) -> Client {
        let options = Options {
            server: url.to_owned(),
            app: APP.to_owned(),
            client_id: client_id.to_owned(),
            token: Some(self.token(user)),
            retry: Retry {
                tries: 2,
                first: Duration::from_millis(100),
                longest: Duration::from_secs(1),
            },
        };
        Client::new(options).unwrap()
    }

    /// A token of this user.
    pub(crate) fn token(&self, user: &str) -> String {
        self.keys.token(user)
    }

    /// Until every node is connected with the others.
    pub(crate) async fn relays_are_up(&self) {
        until("every relay is up", async || {
            self.figures("sync_relay_up")
                .await
                .iter()
                .all(|up| *up == 1)
        })
        .await;
    }

    /// A figure of each node.
    pub(crate) async fn figures(&self, name: &str) -> Vec<u64> {
        join_all(self.nodes.iter().map(|node| node.figure(name))).await
    }

    /// Until this figure has risen so far on every node.
    pub(crate) async fn rises(&self, name: &str, by: u64) {
        let before = self.figures(name).await;
        until(name, async || {
            let now = self.figures(name).await;
            let mut pairs = before.iter().zip(&now);
            pairs.all(|(before, now)| *now >= before + by)
        })
        .await;
    }
}

async fn started_postgres() -> Instance {
    let starting =
        tokio::task::spawn_blocking(|| Instance::start(test_postgres::Options::default()));
    starting.await.unwrap().unwrap()
}
