//! One connection of a socket: its messages, its pings, and how it ends.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::time::Duration;

use futures_util::{FutureExt, SinkExt, StreamExt};
use reqwest::Url;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use crate::client::Failed;
use crate::live::{Silence, after};
use crate::{ClientError, Options};

/// The largest message taken, in bytes.
const MAX_MESSAGE_BYTES: usize = 1024 * 1024;

/// What is read at once: notices are small.
const BUFFER_BYTES: usize = 4 * 1024;

/// What a server says. What is not known is passed over: the wire grows.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub(crate) enum Said {
    AuthOk,
    SyncAvailable {
        #[serde(rename = "appId")]
        app: String,
        tables: Vec<String>,
    },
    Error {
        #[serde(default)]
        message: String,
    },
    #[serde(other)]
    Other,
}

#[derive(Serialize)]
#[serde(
    tag = "type",
    rename_all = "kebab-case",
    rename_all_fields = "camelCase"
)]
enum Say<'a> {
    Auth {
        #[serde(skip_serializing_if = "Option::is_none")]
        token: Option<&'a str>,
        client_id: &'a str,
    },
    Ping,
}

impl Say<'_> {
    fn message(&self) -> Message {
        Message::text(serde_json::to_string(self).expect("texts can be written as JSON"))
    }
}

/// The message that signs in.
pub(crate) fn auth(options: &Options) -> Message {
    let auth = Say::Auth {
        token: options.token.as_deref(),
        client_id: &options.client_id,
    };
    auth.message()
}

/// A connection that is open.
pub(crate) struct Connection {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// What is still to be said, oldest first.
    unsaid: VecDeque<Message>,
    silence: Silence,
    ping_every: Duration,
    ping_at: Instant,
    /// What the server last complained of.
    complaint: String,
}

impl Connection {
    /// Connects and shakes hands; nobody is signed in yet.
    pub(crate) async fn open(url: Url, silence: Duration) -> Result<Self, Failed> {
        let request = url.as_str().into_client_request().map_err(not_opened)?;
        let config = WebSocketConfig::default()
            .read_buffer_size(BUFFER_BYTES)
            .write_buffer_size(BUFFER_BYTES)
            .max_message_size(Some(MAX_MESSAGE_BYTES))
            .max_frame_size(Some(MAX_MESSAGE_BYTES));
        let opened = connect_async_with_config(request, Some(config), true).await;
        let (socket, _) = opened.map_err(not_opened)?;
        let ping_every = silence / 5 * 2;
        Ok(Self {
            socket,
            unsaid: VecDeque::new(),
            silence: Silence::new(silence),
            ping_every,
            ping_at: after(ping_every),
            complaint: String::new(),
        })
    }

    /// Has a message said at the next [`hear`](Self::hear).
    pub(crate) fn say(&mut self, message: Message) {
        self.unsaid.push_back(message);
    }

    /// The next that the server says. Can be cancelled.
    pub(crate) async fn hear(&mut self) -> Result<Said, Failed> {
        loop {
            let lost_at = self.silence.until();
            match timeout_at(lost_at.min(self.ping_at), self.turn()).await {
                Ok(message) => {
                    let message = message?;
                    self.silence.broken();
                    self.ping_at = after(self.ping_every);
                    if let Some(said) = self.understand(message)? {
                        return Ok(said);
                    }
                }
                Err(_) if Instant::now() >= lost_at => {
                    return Err(Failed::unavailable("the server is silent"));
                }
                Err(_) => {
                    self.ping_at = after(self.ping_every);
                    self.say(Say::Ping.message());
                }
            }
        }
    }

    /// Says what is to be said, then waits for a message.
    async fn turn(&mut self) -> Result<Message, Failed> {
        while !self.unsaid.is_empty() {
            let ready = poll_fn(|context| self.socket.poll_ready_unpin(context)).await;
            ready.map_err(lost)?;
            if let Some(message) = self.unsaid.pop_front() {
                self.socket.start_send_unpin(message).map_err(lost)?;
            }
        }
        // Also what a call that was cancelled left unsent.
        self.socket.flush().await.map_err(lost)?;
        match self.socket.next().await {
            Some(message) => message.map_err(lost),
            None => Err(lost(Error::ConnectionClosed)),
        }
    }

    fn understand(&mut self, message: Message) -> Result<Option<Said>, Failed> {
        match message {
            Message::Text(text) => {
                let said = serde_json::from_str(&text).map_err(unreadable)?;
                if let Said::Error { message } = &said {
                    self.complaint.clone_from(message);
                }
                Ok(Some(said))
            }
            Message::Close(frame) => {
                // The answer to it, as a courtesy.
                let _ = self.socket.flush().now_or_never();
                Err(self.closed(frame))
            }
            _ => Ok(None),
        }
    }

    fn closed(&self, frame: Option<CloseFrame>) -> Failed {
        match frame {
            Some(frame) if frame.code == CloseCode::Policy => {
                let reason = frame.reason.as_str();
                let message = if reason.is_empty() {
                    &self.complaint
                } else {
                    reason
                };
                Failed::ForGood(ClientError::Refused {
                    status: 401,
                    error: "token_refused".to_owned(),
                    message: message.to_owned(),
                })
            }
            Some(frame) => Failed::unavailable(frame),
            None => lost(Error::ConnectionClosed),
        }
    }
}

fn not_opened(error: Error) -> Failed {
    match error {
        Error::Http(answer) => {
            let body = answer.body().as_deref().unwrap_or_default();
            Failed::answered(answer.status().as_u16(), answer.headers(), body)
        }
        Error::Url(_) | Error::HttpFormat(_) => {
            Failed::ForGood(ClientError::Address(error.to_string()))
        }
        error => Failed::unavailable(error),
    }
}

fn lost(error: Error) -> Failed {
    match error {
        Error::Capacity(_) | Error::Utf8(_) => unreadable(error),
        error => Failed::unavailable(error),
    }
}

fn unreadable(error: impl ToString) -> Failed {
    Failed::ForGood(ClientError::Answer(error.to_string()))
}
