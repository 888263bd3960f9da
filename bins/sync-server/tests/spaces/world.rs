//! The nodes, the services beside them, and who has a token.

use std::time::Duration;

use futures_util::future::join_all;
use reqwest::{RequestBuilder, Url};
use sync_client::{Client, Options, Retry};
use tempfile::TempDir;
use test_services::Services;

use crate::database;
use crate::device::{Device, within};
use crate::keys::Keys;
use crate::node::Node;
use crate::waiting::until;

/// The app of all devices, and its table.
pub(crate) const APP: &str = "journal";
pub(crate) const TABLE: &str = "notes";
/// An app that needs no subscription.
pub(crate) const EXEMPT: &str = "profile";
/// The key that the services beside the server share with it.
pub(crate) const KEY: &str = "the-key-that-they-share";

/// Where nodes run and keep what they have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// One node, on SQLite.
    File,
    /// One node, on PostgreSQL.
    Postgres,
    /// Two nodes, on one PostgreSQL.
    TwoNodes,
    /// The same, and what should carry notices between them is not there.
    Apart,
}

/// A `NATS_URL` at which nobody listens.
const NOBODY: &str = "nats://127.0.0.1:9";

/// All of it; gone with this value.
pub(crate) struct World {
    /// The nodes.
    pub(crate) nodes: Vec<Node>,
    /// Billing and memberships.
    pub(crate) services: Services,
    place: Place,
    http: reqwest::Client,
    keys: Keys,
    _folder: TempDir,
}

impl World {
    /// Nodes that serve, and services that are well.
    pub(crate) async fn start(place: Place) -> Self {
        Self::with(place, &[]).await
    }

    /// The same with further settings.
    pub(crate) async fn with(place: Place, further: &[(&str, &str)]) -> Self {
        let (keys, services) = (Keys::serve(), Services::start().await.unwrap());
        services.require_key(KEY);
        let (count, database) = match place {
            Place::File => (1, "sqlite:sync.db".to_owned()),
            Place::Postgres => (1, database::fresh().await),
            Place::TwoNodes | Place::Apart => (2, database::fresh().await),
        };
        let url = services.url();
        let settings = [
            ("DATABASE_URL", database.as_str()),
            ("JWKS_URL", &keys.url),
            ("MANA_AUTH_URL", &url),
            ("MANA_CREDITS_URL", &url),
            ("MANA_SERVICE_KEY", KEY),
            ("BILLING_EXEMPT_APPS", EXEMPT),
            ("SYNC_POOL_SIZE", "6"),
        ];
        let relay = [("NATS_URL", NOBODY)];
        let relay = relay.iter().filter(|_| place == Place::Apart);
        let settings = settings.iter().chain(further).chain(relay);
        let settings: Vec<_> = settings
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let folder = tempfile::tempdir().unwrap();
        let http = reqwest::Client::new();
        let new = |number| Node::new(folder.path(), number, &settings, http.clone());
        let mut world = Self {
            place,
            nodes: (0..count).map(new).collect(),
            services,
            http,
            keys,
            _folder: folder,
        };
        world.serves().await;
        world
    }

    /// Kills every node and starts it again: what they knew by heart they do not know any more.
    pub(crate) async fn restart(&mut self) {
        self.nodes.iter_mut().for_each(Node::kill);
        self.serves().await;
    }

    /// A device of a person.
    pub(crate) fn device(&self, user: &str, name: &str) -> Device {
        let client = |node| self.client(node, APP, user, name);
        Device::new(client(0), client(self.nodes.len() - 1))
    }

    /// A client on a node.
    pub(crate) fn client(&self, node: usize, app: &str, user: &str, name: &str) -> Client {
        let options = Options {
            server: self.nodes[node].url(),
            app: app.to_owned(),
            client_id: name.to_owned(),
            token: Some(self.token(user)),
            retry: Retry {
                tries: 3,
                first: Duration::from_millis(100),
                longest: Duration::from_secs(1),
            },
        };
        Client::new(options).unwrap()
    }

    /// A token of a person.
    pub(crate) fn token(&self, user: &str) -> String {
        self.keys.token(user)
    }

    /// From now on a person is in these spaces, and the first node is told so.
    pub(crate) async fn moves(&self, user: &str, spaces: &[(&str, &str)]) {
        self.services.set_memberships(user, spaces);
        self.is_announced(user).await;
    }

    /// The first node is told that a person's spaces have changed.
    pub(crate) async fn is_announced(&self, user: &str) {
        let told = self.announcement(user).header("X-Service-Key", KEY);
        assert_eq!(status(told).await, 204);
    }

    /// What tells the first node so, without a key yet.
    pub(crate) fn announcement(&self, user: &str) -> RequestBuilder {
        let path = ["internal", "memberships", user, "changed"];
        self.http.post(self.url(&path))
    }

    /// A push of a service for a person to the first node, without a key yet.
    pub(crate) fn service_push(&self, user: &str, body: &serde_json::Value) -> RequestBuilder {
        let mut url = self.url(&["internal", "sync", APP]);
        url.query_pairs_mut().append_pair("user", user);
        self.http.post(url).json(body)
    }

    fn url(&self, path: &[&str]) -> Url {
        let mut url = Url::parse(&self.nodes[0].url()).unwrap();
        url.path_segments_mut().unwrap().extend(path);
        url
    }

    async fn serves(&mut self) {
        self.nodes.iter_mut().for_each(Node::start);
        join_all(self.nodes.iter_mut().map(Node::serves)).await;
        if self.place == Place::TwoNodes {
            until("the nodes hear each other", async || {
                let up = self.nodes.iter().map(|node| node.figure("sync_relay_up"));
                join_all(up).await.iter().all(|up| *up == 1)
            })
            .await;
        }
    }
}

/// With which status a request is answered.
pub(crate) async fn status(request: RequestBuilder) -> u16 {
    within(request.send()).await.unwrap().status().as_u16()
}
