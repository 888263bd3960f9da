//! The clients of live sync: a reader of Server-Sent Events, strict where existing ones parse by hand, and a WebSocket.

use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use reqwest::{RequestBuilder, Response};
use serde_json::{Value, json};
use sync_notify::{Hub, News};
use sync_protocol::{Millis, UserId};
use sync_store::Store;
use sync_transport::Limits;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::support::{Make, NOW, Server, in_time, insert};

impl Server {
    /// On this store, with what tells its listeners.
    pub(crate) async fn live(store: Arc<dyn Store>, limits: Limits) -> (Self, Arc<Hub>) {
        let hub = Hub::new(100);
        let make = Make {
            store,
            limits,
            hub: Arc::clone(&hub),
            ..Make::default()
        };
        (Self::made(make).await, hub)
    }

    /// A token of which so many seconds are left.
    pub(crate) fn token_for(&self, user: &str, seconds: i64) -> String {
        self.token_from(user, Millis(NOW.0 + (seconds - 3600) * 1000))
    }

    pub(crate) fn stream(&self, user: &str, device: &str, query: &str) -> RequestBuilder {
        self.request("GET", &format!("/sync/todo/stream{query}"))
            .bearer_auth(self.token(user))
            .header("X-Client-Id", device)
    }

    /// The stream of a device of a user, behind its greeting.
    pub(crate) async fn events(&self, user: &str, device: &str, query: &str) -> Events {
        Events::of(self.stream(user, device, query)).await
    }

    /// Pushes; gives the answer.
    pub(crate) async fn push_as(&self, user: &str, device: &str, body: impl ToString) -> Value {
        self.push_to("todo", user, device, body).await
    }

    pub(crate) async fn push_to(
        &self,
        app: &str,
        user: &str,
        device: &str,
        body: impl ToString,
    ) -> Value {
        let request = self.request("POST", &format!("/sync/{app}"));
        let request = request
            .bearer_auth(self.token(user))
            .header("X-Client-Id", device);
        let response = request.body(body.to_string()).send().await.unwrap();
        assert_eq!(response.status(), 200);
        response.json().await.unwrap()
    }

    /// One insert into a table of the app that the streams are of.
    pub(crate) async fn write(&self, user: &str, device: &str, table: &str, id: &str) -> Value {
        let body = insert(table, id, r#"{"a":1}"#);
        self.push_as(user, device, body).await
    }

    pub(crate) async fn pull_as(
        &self,
        user: &str,
        device: &str,
        table: &str,
        since: &str,
    ) -> Value {
        let path = format!("/sync/todo/pull?collection={table}&since={since}");
        let request = self
            .request("GET", &path)
            .bearer_auth(self.token(user))
            .header("X-Client-Id", device);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        response.json().await.unwrap()
    }
}

/// What a user may see has changed, as a server is told that knows it.
pub(crate) fn access(hub: &Hub, user: &str) {
    hub.hear(News::Access(UserId::new(user).unwrap()));
}

/// Until this is so.
pub(crate) async fn until(is_so: impl Fn() -> bool) {
    in_time(async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Many inserts in one changeset, `count` of them, by turns into these tables.
pub(crate) fn inserts(tables: &[&str], prefix: &str, count: usize) -> Value {
    let changes: Vec<_> = (0..count)
        .map(|n| {
            let (table, id) = (tables[n % tables.len()], format!("{prefix}{n}"));
            json!({"table": table, "id": id, "op": "insert", "data": {"n": n}})
        })
        .collect();
    json!({"since": "", "changes": changes})
}

/// An open stream.
pub(crate) struct Events {
    response: Response,
    rest: Vec<u8>,
}

/// One event.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Event {
    pub(crate) name: String,
    pub(crate) data: Value,
    pub(crate) id: Option<String>,
}

impl Events {
    pub(crate) async fn of(request: RequestBuilder) -> Self {
        let response = in_time(request.send()).await.unwrap();
        assert_eq!(response.status(), 200);
        let mut events = Self {
            response,
            rest: Vec::new(),
        };
        assert_eq!(events.block().await, Some(": open".to_owned()));
        events
    }

    /// Everything up to the next empty line; `None` at an end that the server has announced.
    pub(crate) async fn block(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.rest.windows(2).position(|pair| pair == b"\n\n") {
                let block = self.rest.drain(..end + 2).take(end).collect();
                return Some(String::from_utf8(block).unwrap());
            }
            let Some(bytes) = in_time(self.response.chunk()).await.unwrap() else {
                assert_eq!(self.rest, b"", "it ends behind an event");
                return None;
            };
            self.rest.extend_from_slice(&bytes);
        }
    }

    /// The next event.
    pub(crate) async fn event(&mut self) -> Option<Event> {
        let block = self.block().await?;
        Some(Event::parse(&block))
    }

    /// The next event that is no heartbeat.
    pub(crate) async fn news(&mut self) -> Option<Event> {
        loop {
            let event = self.event().await;
            if event != said("heartbeat", json!({})) {
                return event;
            }
        }
    }

    /// The next event, which has changes of this table; gives the ids of the records.
    pub(crate) async fn changes(&mut self, table: &str) -> Vec<String> {
        let event = self.event().await.unwrap();
        assert_eq!((event.name.as_str(), event.table()), ("changes", table));
        event.ids()
    }
}

impl Event {
    fn parse(block: &str) -> Self {
        assert!(
            !block.contains('\r'),
            "for some readers it ends a line, too"
        );
        let mut lines = block.split('\n');
        let name = lines.next().unwrap().strip_prefix("event: ");
        let data = lines.next().unwrap().strip_prefix("data: ").unwrap();
        let id = lines.next().map(|line| line.strip_prefix("id: ").unwrap());
        assert_eq!(lines.next(), None, "{block}");
        Self {
            name: name.unwrap().to_owned(),
            data: serde_json::from_str(data).unwrap(),
            id: id.map(str::to_owned),
        }
    }

    pub(crate) fn table(&self) -> &str {
        self.data["table"].as_str().unwrap()
    }

    /// The ids of the records.
    pub(crate) fn ids(&self) -> Vec<String> {
        let changes = self.data["changes"].as_array().unwrap().iter();
        let ids = changes.map(|change| change["id"].as_str().unwrap().to_owned());
        ids.collect()
    }

    pub(crate) fn until(&self) -> &str {
        self.data["syncedUntil"].as_str().unwrap()
    }
}

/// An event without changes.
pub(crate) fn said(name: &str, data: Value) -> Option<Event> {
    Some(Event {
        name: name.to_owned(),
        data,
        id: None,
    })
}

/// The other end of a socket.
pub(crate) struct Peer(pub(crate) WebSocketStream<TcpStream>);

impl Peer {
    pub(crate) async fn connect(server: &Server, path: &str) -> Self {
        let stream = TcpStream::connect(server.address).await.unwrap();
        Self::over(stream, server, path).await
    }

    pub(crate) async fn over(stream: TcpStream, server: &Server, path: &str) -> Self {
        let address = format!("ws://{}{path}", server.address);
        let (socket, _) = in_time(client_async(address, stream)).await.unwrap();
        Self(socket)
    }

    /// Connected, and signed in as a device of a user.
    pub(crate) async fn member(server: &Server, path: &str, user: &str, device: &str) -> Self {
        let mut peer = Self::connect(server, path).await;
        peer.auth(&server.token(user), Some(device)).await;
        assert_eq!(peer.heard().await, json!({"type": "auth-ok"}));
        peer
    }

    pub(crate) async fn auth(&mut self, token: &str, client: Option<&str>) {
        let mut auth = json!({"type": "auth", "token": token});
        if let Some(client) = client {
            auth["clientId"] = json!(client);
        }
        self.say(auth).await;
    }

    pub(crate) async fn say(&mut self, text: impl ToString) {
        let message = Message::text(text.to_string());
        self.0.send(message).await.unwrap();
    }

    /// The next message, whatever it is.
    pub(crate) async fn next(&mut self) -> Message {
        in_time(self.0.next()).await.unwrap().unwrap()
    }

    /// The next text; a ping before it is answered below here.
    pub(crate) async fn heard(&mut self) -> Value {
        loop {
            match self.next().await {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Ping(_) => {}
                other => panic!("{other:?} is no text"),
            }
        }
    }

    /// The next text, which says that something is wrong.
    pub(crate) async fn error(&mut self) -> String {
        let heard = self.heard().await;
        let message = heard["message"].as_str().unwrap();
        assert_eq!(heard, json!({"type": "error", "message": message}));
        message.to_owned()
    }

    pub(crate) async fn is_served(&mut self) {
        self.say(json!({"type": "ping"})).await;
        assert_eq!(self.heard().await, json!({"type": "pong"}));
    }

    /// The next message is the last word; gives its code and reason, once the connection is closed.
    pub(crate) async fn closed(mut self) -> (u16, String) {
        loop {
            match self.next().await {
                Message::Close(Some(frame)) => {
                    let rest = in_time(self.0.next()).await;
                    assert!(rest.is_none(), "{rest:?}");
                    return (frame.code.into(), frame.reason.to_string());
                }
                Message::Ping(_) => {}
                other => panic!("{other:?} is no last word"),
            }
        }
    }

    /// The next message says that these tables of an app have changes.
    pub(crate) async fn is_told(&mut self, app: &str, tables: &[&str]) {
        let notice = json!({"type": "sync-available", "appId": app, "tables": tables});
        assert_eq!(self.heard().await, notice);
    }
}
