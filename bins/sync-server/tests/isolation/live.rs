//! Streams and sockets, left open while memberships change. Each event and each message is noted when it is there.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use reqwest::RequestBuilder;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;

use crate::model::{Exchange, Nanos, Route};
use crate::world::World;

/// Who listens, on what, and for how long.
pub(crate) struct Listening {
    pub(crate) world: Arc<World>,
    pub(crate) route: Route,
    pub(crate) user: usize,
    pub(crate) app: Option<usize>,
    pub(crate) asked: String,
    pub(crate) life: Duration,
}

impl Listening {
    fn note(&self, from: Nanos, status: u16, said: String) {
        self.world.model.note(Exchange {
            route: self.route,
            reader: Some(self.user),
            app: self.app,
            from,
            until: self.world.now(),
            asked: self.asked.clone(),
            status,
            said,
            own: Vec::new(),
        });
    }

    pub(crate) async fn stream(self, request: RequestBuilder) {
        let (from, end) = (self.world.now(), Instant::now() + self.life);
        let mut response = request.send().await.unwrap();
        let status = response.status().as_u16();
        self.note(from, status, String::new());
        let mut waiting = Vec::new();
        while let Ok(Ok(Some(bytes))) = timeout_at(end, response.chunk()).await {
            waiting.extend_from_slice(&bytes);
            while let Some(at) = waiting.windows(2).position(|two| two == b"\n\n") {
                let event: Vec<u8> = waiting.drain(..at + 2).collect();
                self.note(from, 0, String::from_utf8(event).unwrap());
            }
        }
        // What has come of an event counts, too.
        self.note(from, 0, String::from_utf8_lossy(&waiting).into_owned());
    }

    pub(crate) async fn socket(self, client: String) {
        let (from, end) = (self.world.now(), Instant::now() + self.life);
        let stream = TcpStream::connect(self.world.address).await.unwrap();
        let url = format!("ws://{}{}", self.world.address, self.asked);
        let (mut socket, response) = client_async(url, stream).await.unwrap();
        self.note(from, response.status().as_u16(), String::new());
        let token = self.world.token(self.user);
        let auth = json!({"type": "auth", "token": token, "clientId": client});
        if socket.send(Message::text(auth.to_string())).await.is_err() {
            return;
        }
        while let Ok(Some(Ok(message))) = timeout_at(end, socket.next()).await {
            if let Message::Text(text) = message {
                self.note(from, 0, text.to_string());
            }
        }
    }
}
