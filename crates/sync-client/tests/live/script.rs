//! What the scripts of both have in common: a client, its patience, and what a server was asked.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use sync_client::{Client, Options, Retry};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::Notify;

/// Longer than anything here takes.
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// What a server took note of, in order.
pub(crate) struct Notes<T> {
    kept: Mutex<Vec<T>>,
    more: Notify,
}

impl<T: Clone> Notes<T> {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            kept: Mutex::new(Vec::new()),
            more: Notify::new(),
        })
    }

    pub(crate) fn keep(&self, note: T) {
        self.kept.lock().expect("nobody panicked").push(note);
        self.more.notify_one();
    }

    pub(crate) fn all(&self) -> Vec<T> {
        self.kept.lock().expect("nobody panicked").clone()
    }

    /// Waits until there are so many.
    pub(crate) async fn reach(&self, count: usize) {
        while self.all().len() < count {
            self.more.notified().await;
        }
    }
}

/// An answer as it stands.
pub(crate) fn say(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n{body}"
    )
}

/// Reads the head of a request; those of live sync have no body.
pub(crate) async fn head(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        text.push(stream.read_u8().await.expect("a request is read"));
    }
    String::from_utf8(text).expect("a head is text")
}

/// A client that tries again after milliseconds.
pub(crate) fn client(server: &str) -> Client {
    let retry = Retry {
        tries: 1,
        first: Duration::from_millis(1),
        longest: Duration::from_millis(5),
    };
    client_with(server, Some("secret"), retry)
}

pub(crate) fn client_with(server: &str, token: Option<&str>, retry: Retry) -> Client {
    Client::new(Options {
        server: server.to_owned(),
        app: "my todo".to_owned(),
        client_id: "phone".to_owned(),
        token: token.map(str::to_owned),
        retry,
    })
    .expect("a good address")
}
