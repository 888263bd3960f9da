//! What clients do: something on any route, as anybody, with whatever they have got hold of. A further route is a line in
//! [`Actor::act`] and a function.

use std::sync::Arc;
use std::time::Duration;

use reqwest::{RequestBuilder, Url};
use serde_json::Value;
use tokio::task::JoinSet;

use crate::chance::Chance;
use crate::live;
use crate::model::{Exchange, Route};
use crate::names::{APPS, Names, Place, SHARED_TABLES, SPACES, USERS};
use crate::world::{SERVICE_KEY, World};
use crate::write::Draft;

/// How many streams and sockets one actor holds open.
const HELD: usize = 4;

/// One of the clients that run beside each other: a new user with each request.
pub(crate) struct Actor {
    pub(crate) world: Arc<World>,
    pub(crate) chance: Chance,
    held: JoinSet<()>,
}

/// A request that is ready to be sent.
pub(crate) struct Asked {
    pub(crate) route: Route,
    pub(crate) reader: Option<usize>,
    pub(crate) app: Option<usize>,
    pub(crate) own: Vec<usize>,
    pub(crate) text: String,
    pub(crate) request: RequestBuilder,
}

impl Actor {
    pub(crate) fn new(world: Arc<World>, chance: Chance) -> Self {
        Self {
            world,
            chance,
            held: JoinSet::new(),
        }
    }

    /// Does something; says on which route.
    pub(crate) async fn act(&mut self) -> Route {
        while self.held.try_join_next().is_some() {}
        let user = self.chance.below(USERS);
        match self.chance.below(100) {
            0..32 => self.push(user).await,
            32..53 => self.pull(user).await,
            53..59 => self.service_push(user).await,
            59..65 => self.stream(user).await,
            65..71 => self.socket(user).await,
            71..78 => self.change_memberships(user).await,
            78..88 => self.upload(user).await,
            88..92 => self.download(user).await,
            92 => self.failures(user).await,
            93..95 => self.retry(user).await,
            95..98 => self.wrong(user).await,
            _ => self.operators().await,
        }
    }

    /// Ends what is still open.
    pub(crate) async fn end(mut self) {
        while self.held.join_next().await.is_some() {}
    }

    pub(crate) fn url(&self, segments: &[&str]) -> Url {
        let mut url = Url::parse(&format!("http://{}", self.world.address)).unwrap();
        url.path_segments_mut().unwrap().extend(segments);
        url
    }

    fn app(&mut self) -> usize {
        self.chance.below(APPS.len())
    }

    /// A device of the user's, of somebody else's, or of nobody's.
    pub(crate) fn client(&mut self, user: usize) -> String {
        let of = if self.chance.percent(15) {
            self.chance.below(USERS)
        } else {
            user
        };
        match self.chance.below(10) {
            0 => "service:mana".to_owned(),
            number => format!("device-{of}-{}", number % 2),
        }
    }

    /// A cursor that anybody was given, the beginning, or nonsense.
    pub(crate) fn since(&mut self) -> String {
        let any = match self.chance.below(10) {
            0..2 => None,
            2 => Some("nonsense".to_owned()),
            3 => Some("2200-01-01T00:00:00.000000000Z".to_owned()),
            _ => self.world.cursors.any(&mut self.chance),
        };
        any.unwrap_or_else(|| "1970-01-01T00:00:00Z".to_owned())
    }

    /// A table: one of everybody's, the user's own, one of a space's or of somebody else's.
    pub(crate) fn table(&mut self, user: usize) -> usize {
        match self.chance.below(8) {
            0..4 => self.chance.below(SHARED_TABLES.len()),
            4 => Names::table_of(Place::User(user)),
            5 => Names::table_of(Place::User(self.chance.below(USERS))),
            _ => Names::table_of(Place::Space(self.chance.below(SPACES))),
        }
    }

    async fn push(&mut self, user: usize) -> Route {
        let app = self.app();
        let mut url = self.url(&["sync", APPS[app]]);
        self.add_another_user(&mut url);
        let (body, own) = self.draft(user, app);
        let request = self
            .world
            .http
            .post(url)
            .bearer_auth(self.world.token(user));
        let request = match self.chance.percent(90) {
            true => request.header("X-Client-Id", self.client(user)),
            false => request,
        };
        self.send(Asked {
            route: Route::Push,
            reader: Some(user),
            app: Some(app),
            own,
            text: format!("{} in {}: {body}", Route::Push.name(), APPS[app]),
            request: request.body(body),
        })
        .await
    }

    async fn service_push(&mut self, user: usize) -> Route {
        let app = self.app();
        let mut url = self.url(&["internal", "sync", APPS[app]]);
        let name = self.world.names.users[user].clone();
        url.query_pairs_mut().append_pair("user", &name);
        self.add_another_user(&mut url);
        let (body, own) = self.draft(user, app);
        let request = self.world.http.post(url);
        let request = request.header("X-Service-Key", SERVICE_KEY);
        self.send(Asked {
            route: Route::ServicePush,
            reader: Some(user),
            app: Some(app),
            own,
            text: format!("{} in {}: {body}", Route::ServicePush.name(), APPS[app]),
            request: request.body(body),
        })
        .await
    }

    /// Nothing in a request but its token says who asks.
    pub(crate) fn add_another_user(&mut self, url: &mut Url) {
        if self.chance.percent(10) {
            let other = self.chance.one(&self.world.names.users).clone();
            url.query_pairs_mut().append_pair("user", &other);
        }
    }

    fn draft(&mut self, user: usize, app: usize) -> (String, Vec<usize>) {
        let (client, since) = (self.client(user), self.since());
        Draft::new(&self.world, &mut self.chance, user, app).finish(&client, &since)
    }

    /// Pulls a page, and sometimes goes on.
    pub(crate) async fn pull(&mut self, user: usize) -> Route {
        let (app, table) = (self.app(), self.table(user));
        let mut since = self.since();
        let limit = *self.chance.one(&["1", "2", "7", "1000"]);
        for _ in 0..=self.chance.below(3) {
            let mut url = self.url(&["sync", APPS[app], "pull"]);
            let table = self.world.names.tables[table].clone();
            url.query_pairs_mut()
                .append_pair("collection", &table)
                .append_pair("since", &since)
                .append_pair("limit", limit);
            self.add_another_user(&mut url);
            let request = self.world.http.get(url.clone());
            let request = request
                .bearer_auth(self.world.token(user))
                .header("X-Client-Id", self.client(user));
            let asked = Asked {
                route: Route::Pull,
                reader: Some(user),
                app: Some(app),
                own: Vec::new(),
                text: url.to_string(),
                request,
            };
            let (_, said) = self.ask(asked).await;
            match said["syncedUntil"].as_str() {
                Some(next) if said["hasMore"] == true => since = next.to_owned(),
                _ => break,
            }
        }
        Route::Pull
    }

    async fn stream(&mut self, user: usize) -> Route {
        self.make_room().await;
        let app = self.app();
        let mut url = self.url(&["sync", APPS[app], "stream"]);
        let tables = match self.chance.below(3) {
            0 => String::new(),
            _ => {
                let tables = [self.table(user), self.table(user)];
                tables
                    .map(|table| self.world.names.tables[table].clone())
                    .join(",")
            }
        };
        url.query_pairs_mut()
            .append_pair("collections", &tables)
            .append_pair("since", &self.since());
        let request = self.world.http.get(url.clone());
        let request = request
            .bearer_auth(self.world.token(user))
            .header("X-Client-Id", self.client(user));
        let life = self.life();
        let listening = live::Listening {
            world: Arc::clone(&self.world),
            route: Route::Stream,
            user,
            app: Some(app),
            asked: url.to_string(),
            life,
        };
        self.held.spawn(listening.stream(request));
        Route::Stream
    }

    async fn socket(&mut self, user: usize) -> Route {
        self.make_room().await;
        let app = self.chance.percent(50).then(|| self.app());
        let (route, path) = match app {
            None => (Route::Socket, self.url(&["ws"])),
            Some(app) => (Route::SocketOfApp, self.url(&["ws", APPS[app]])),
        };
        let client = self.client(user);
        let listening = live::Listening {
            world: Arc::clone(&self.world),
            route,
            user,
            app,
            asked: path.path().to_owned(),
            life: self.life(),
        };
        self.held.spawn(listening.socket(client));
        route
    }

    fn life(&mut self) -> Duration {
        let longest = if self.chance.percent(30) { 3000 } else { 300 };
        let millis = self.chance.below(longest);
        Duration::from_millis(u64::try_from(millis).expect("it is small"))
    }

    async fn make_room(&mut self) {
        while self.held.len() >= HELD {
            self.held.join_next().await;
        }
    }

    /// Asks anything with what proves nothing. Whatever is said then is said to nobody.
    async fn wrong(&mut self, user: usize) -> Route {
        let app = self.app();
        let token = self.world.wrong_token(&mut self.chance, user);
        let name = self.world.names.users[user].clone();
        let http = &self.world.http;
        let url = match self.chance.below(7) {
            0 => self.url(&["sync", APPS[app]]),
            1 => self.url(&["internal", "sync", APPS[app]]),
            2 => self.url(&["internal", "memberships", &name, "changed"]),
            3 => self.url(&["sync", APPS[app], "pull"]),
            4 => self.url(&["sync", "upload"]),
            5 => self.url(&["sync", "download"]),
            _ => self.url(&["sync", APPS[app], "stream"]),
        };
        let mut url = url;
        let reads = ["/pull", "/stream", "/download"];
        let is_read = reads.iter().any(|read| url.path().ends_with(read));
        url.query_pairs_mut()
            .append_pair("user", &name)
            .append_pair("collection", SHARED_TABLES[0])
            .append_pair("since", "1970-01-01T00:00:00Z");
        let request = match is_read {
            true => http.get(url.clone()),
            false => http.post(url.clone()),
        };
        let text = url.to_string();
        let (body, own) = match is_read {
            true => (String::new(), Vec::new()),
            false => self.draft(user, app),
        };
        let request = match self.chance.below(3) {
            0 => request,
            1 => request.header("X-Service-Key", "0123456789abcdef-isolatiom"),
            _ => request.bearer_auth(token),
        };
        self.send(Asked {
            route: Route::WrongToken,
            reader: None,
            app: None,
            own,
            text,
            request: request.body(body),
        })
        .await
    }

    async fn operators(&mut self) -> Route {
        let path = *self.chance.one(&["health", "ready", "metrics"]);
        let url = self.url(&[path]);
        let request = self.world.http.get(url.clone());
        self.send(Asked {
            route: Route::Operators,
            reader: None,
            app: None,
            own: Vec::new(),
            text: url.to_string(),
            request,
        })
        .await
    }

    async fn send(&mut self, asked: Asked) -> Route {
        let route = asked.route;
        self.ask(asked).await;
        route
    }

    /// Sends a request, and notes what was said to it.
    pub(crate) async fn ask(&mut self, asked: Asked) -> (u16, Value) {
        let from = self.world.now();
        let response = asked.request.send().await.unwrap();
        let status = response.status().as_u16();
        let said = response.text().await.unwrap();
        let until = self.world.now();
        let value = serde_json::from_str::<Value>(&said).unwrap_or_default();
        self.keep(&value);
        self.world.model.note(Exchange {
            route: asked.route,
            reader: asked.reader,
            app: asked.app,
            from,
            until,
            asked: asked.text,
            status,
            said,
            own: asked.own,
        });
        (status, value)
    }

    /// Keeps what others may try.
    fn keep(&mut self, said: &Value) {
        if let Some(cursor) = said["syncedUntil"].as_str() {
            self.world.cursors.put(&mut self.chance, cursor);
        }
        if let Some(id) = said["serverChanges"][0]["eventId"].as_str() {
            self.world.event_ids.put(&mut self.chance, id);
        }
        if let Some(position) = said["next_after"].as_i64() {
            let position = position.to_string();
            self.world.positions.put(&mut self.chance, &position);
        }
    }
}
