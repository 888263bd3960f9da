//! A socket of notices that survives its connections: `GET /ws` and `GET /ws/{appId}`.

use std::pin::Pin;
use std::time::Duration;

use reqwest::Url;
use tokio::time::timeout;

use crate::client::Failed;
use crate::live::{Pause, SILENCE};
use crate::notices::{Connection, Said, auth};
use crate::{Client, ClientError};

/// How long a server may take for the handshake, and as long again for the sign-in.
const OPENING_LIMIT: Duration = Duration::from_secs(10);

/// What a socket brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SocketEvent {
    /// There is a new connection, and the server took the token. Notices may have been missed before: look at everything.
    Connected,
    /// There is something new. Several notices may have become one.
    Available {
        /// In this app.
        app: String,
        /// In these tables.
        tables: Vec<String>,
    },
}

/// Notices of what was written by others, as they come. [`Client::socket`] makes one.
///
/// The socket hides everything that passes: a server that cannot be reached, is too busy or broken (408, 429, 5xx, closing
/// codes but 1008), stops, breaks off, or falls silent. It connects again, for ever, after the waits of
/// [`Retry`](crate::Retry) (whose `tries` do not count here); they start afresh once a connection has stood, after its
/// sign-in, for as long as the longest of them. What is final comes as an error, and the socket can be used on: the next
/// call connects again, after a wait, or at once if [`set_token`](Self::set_token) was called.
///
/// Nothing happens but inside [`next`](Self::next), not even the answer to a ping. Proxies are not made use of.
pub struct NoticeSocket {
    client: Client,
    path: Vec<String>,
    silence: Duration,
    pause: Pause,
    link: Link,
}

/// The connection, or the way to it. What is under way is kept, so that a call may be cancelled at any time.
enum Link {
    Apart,
    Opening(Opening),
    Open(Box<Connection>),
}

type Opening = Pin<Box<dyn Future<Output = Result<Connection, Failed>> + Send>>;

impl Client {
    /// A socket of the notices of all apps. Connects at the first [`NoticeSocket::next`].
    #[must_use]
    pub fn socket(&self) -> NoticeSocket {
        self.socket_at(vec!["ws".to_owned()])
    }

    /// A socket of the notices of this client's app alone, as older clients have it.
    #[must_use]
    pub fn socket_of_app(&self) -> NoticeSocket {
        self.socket_at(vec!["ws".to_owned(), self.options.app.clone()])
    }

    fn socket_at(&self, path: Vec<String>) -> NoticeSocket {
        NoticeSocket {
            client: self.clone(),
            path,
            silence: SILENCE,
            pause: Pause::new(self.options.retry),
            link: Link::Apart,
        }
    }
}

impl NoticeSocket {
    /// Counts the server as lost when it has sent nothing for so long; 75 s if it is not set. After two fifths of it (30 s),
    /// and again, the socket asks whether it is there. It also bounds the handshake and the sign-in, which may take 10 s
    /// each at most.
    #[must_use]
    pub fn silence(mut self, limit: Duration) -> Self {
        self.silence = limit;
        self
    }

    /// The token from now on. The next call of [`next`](Self::next) says it to the server if there is a connection, which
    /// goes on; if the server closes it with 1008 before it has taken the new token, as when the one before expires, the
    /// socket connects again with the new one, without an error or a wait. One that was refused is tried again without a
    /// wait. Of no concern to the client that made this socket.
    pub fn set_token(&mut self, token: &str) {
        self.client.options.token = Some(token.to_owned());
        match &mut self.link {
            Link::Apart => {}
            Link::Opening(_) => self.link = Link::Apart,
            Link::Open(connection) => connection.say(auth(&self.client.options)),
        }
        self.pause.token_set();
    }

    /// The next event, however long it takes to come. Can be cancelled, as in `tokio::select!`: nothing is lost, and what
    /// is under way goes on at the next call.
    ///
    /// # Errors
    ///
    /// [`ClientError::Refused`] if the server says no: with 401 `token_refused` if it closes the socket with 1008 (a token
    /// that is missing, bad or expired), so that the caller sets a new one and goes on; else with what it answered to the
    /// handshake. [`ClientError::Answer`] if a message cannot be read or is over 1 MiB: the socket connects again at the
    /// next call. [`ClientError::Address`] if nothing can be sent to there.
    pub async fn next(&mut self) -> Result<SocketEvent, ClientError> {
        loop {
            let failed = match &mut self.link {
                Link::Apart => {
                    self.pause.over().await;
                    match self.opening() {
                        Ok(opening) => {
                            self.link = Link::Opening(opening);
                            continue;
                        }
                        Err(error) => Failed::ForGood(error),
                    }
                }
                Link::Opening(opening) => match opening.await {
                    Ok(connection) => {
                        self.link = Link::Open(Box::new(connection));
                        self.pause.connected();
                        return Ok(SocketEvent::Connected);
                    }
                    Err(failed) => failed,
                },
                Link::Open(connection) => match connection.hear().await {
                    Ok(Said::SyncAvailable { app, tables }) => {
                        return Ok(SocketEvent::Available { app, tables });
                    }
                    Ok(said) => {
                        if said == Said::AuthOk {
                            self.pause.token_taken();
                        }
                        continue;
                    }
                    Err(failed) => failed,
                },
            };
            self.part(failed)?;
        }
    }

    /// Without a connection again; what is final is for the caller.
    fn part(&mut self, failed: Failed) -> Result<(), ClientError> {
        self.link = Link::Apart;
        self.pause.begin(failed)
    }

    fn opening(&self) -> Result<Opening, ClientError> {
        let url = self.url()?;
        let auth = auth(&self.client.options);
        let silence = self.silence;
        let limit = silence.min(OPENING_LIMIT);
        Ok(Box::pin(async move {
            let late = |_| Failed::unavailable("the server takes too long to open a socket");
            let mut connection = timeout(limit, Connection::open(url, silence))
                .await
                .map_err(late)??;
            connection.say(auth);
            timeout(limit, signed_in(connection)).await.map_err(late)?
        }))
    }

    fn url(&self) -> Result<Url, ClientError> {
        let path: Vec<&str> = self.path.iter().map(String::as_str).collect();
        let mut url = self.client.url(&path)?;
        let scheme = match url.scheme() {
            "http" => "ws",
            "https" => "wss",
            _ => return Err(ClientError::Address(format!("{url} has no sockets"))),
        };
        url.set_scheme(scheme)
            .expect("http and https may become ws and wss");
        Ok(url)
    }
}

async fn signed_in(mut connection: Connection) -> Result<Connection, Failed> {
    while connection.hear().await? != Said::AuthOk {}
    Ok(connection)
}
