//! The conversation on a socket: sign in, then notices, until the client goes, its token expires or the server stops.
//!
//! ```text
//! connected --auth, in time--> spaces known: auth-ok --news--> sync-available
//!     |                          |   \--auth--> goes on, for as long as the new token counts
//!     \--too late: 1008          \--expired, another user: 1008; silent, server stops: 1001
//! ```
//!
//! One message is worked on at a time, and what is told in the meantime is merged by the hub: a client that does not read
//! holds no queue here. Deadlines are kept by the clock, whatever the client sends or does not send.

use std::future::pending;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use sync_access::{Identity, TokenError};
use sync_notify::{Interest, Waiting};
use sync_protocol::{AppId, ClientId, Tables};
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::frame::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Bytes, Error, Message};

use crate::connection::Stopping;
use crate::farewell::{FAREWELL_TIME, drain};
use crate::member::{Mail, Member};
use crate::metered::Metered;
use crate::rate::{Pace, Rate};
use crate::service::Shared;
use crate::spoken::{Heard, Said};

/// The messages that one client may send.
const MESSAGES: Pace = Pace {
    burst: 60,
    every: Duration::from_millis(100),
};
/// The longest message of a client, in bytes: a token of 8 KiB fits several times.
const MAX_MESSAGE_BYTES: usize = 32 * 1024;
/// What is kept for reading. Messages that are longer get more for as long as they take.
const READ_BUFFER_BYTES: usize = 1024;
/// More than the longest message of ours: 1,024 names of tables.
const WRITE_BUFFER_BYTES: usize = 1024 * 1024;
/// What is said to who may see other spaces than before.
const MOVED: &str = "you may see other spaces than before: pull all, and connect again";
/// What is said to who was erased.
const GONE: &str = "everything of this user was erased: what comes now begins anew";
/// What is said to who has no active subscription.
const INACTIVE: &str = "the subscription is not active";

/// What a socket is spoken on.
type Wire = Metered<TokioIo<Upgraded>>;

/// A socket.
pub(crate) struct Conversation {
    service: Shared,
    is_spared: bool,
    app: Option<AppId>,
    socket: WebSocketStream<Wire>,
    rate: Rate,
    began: Instant,
    /// When the client said something last.
    heard: Instant,
    /// Whether it was asked since whether it is there.
    was_asked: bool,
    member: Option<Member>,
}

/// Why a conversation ends.
#[derive(Debug)]
enum End {
    /// The client is gone, or the connection is.
    Gone,
    /// It is ended with this code and reason.
    Close(CloseCode, String),
}

/// What happens next.
enum Event {
    Message(Option<Result<Message, Error>>),
    Mail(Mail),
    Clock,
}

impl Conversation {
    /// Of all apps, or of one. It may be spared the limit of sign-ins.
    pub(crate) async fn begin(
        (service, is_spared): (Shared, bool),
        app: Option<AppId>,
        socket: TokioIo<Upgraded>,
    ) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .write_buffer_size(0)
            .max_write_buffer_size(WRITE_BUFFER_BYTES)
            .max_message_size(Some(MAX_MESSAGE_BYTES))
            .max_frame_size(Some(MAX_MESSAGE_BYTES));
        let now = Instant::now();
        Self {
            service,
            is_spared,
            app,
            socket: WebSocketStream::from_raw_socket(
                Metered::new(socket),
                Role::Server,
                Some(config),
            )
            .await,
            rate: Rate::new(now),
            began: now,
            heard: now,
            was_asked: false,
            member: None,
        }
    }

    /// Holds it to its end.
    pub(crate) async fn hold(&mut self, mut stopping: Stopping) {
        let end = tokio::select! {
            biased;
            () = stopping.told() => close(CloseCode::Away, "the server stops: connect again"),
            end = self.talk() => end,
        };
        // Nobody listens any more, before anything else is waited for.
        self.member = None;
        self.part(end).await;
    }

    async fn talk(&mut self) -> End {
        loop {
            let done = match self.next().await {
                Event::Message(message) => Box::pin(self.hear(message)).await,
                Event::Mail(_) if self.is_refused() => {
                    self.refuse(CloseCode::Policy, INACTIVE).await
                }
                Event::Mail(Mail::News(waiting)) => self.tell(waiting).await,
                Event::Mail(Mail::Greeting) => self.say(&Said::AuthOk).await,
                Event::Mail(Mail::Nothing) => Ok(()),
                Event::Mail(Mail::Moved) => Err(close(CloseCode::Again, MOVED)),

                Event::Clock => self.look_at_clock().await,
            };
            if let Err(end) = done {
                return end;
            }
        }
    }

    async fn next(&mut self) -> Event {
        let deadline = self.deadline();
        let Self { socket, member, .. } = self;
        let mail = async {
            match member {
                Some(member) => member.next().await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            () = sleep_until(deadline) => Event::Clock,
            message = socket.next() => Event::Message(message),
            mail = mail => Event::Mail(mail),
        }
    }

    /// When there is something to do by the clock.
    fn deadline(&self) -> Instant {
        let limits = &self.service.limits;
        let alive = if self.was_asked {
            self.heard + limits.silence
        } else {
            self.heard + limits.heartbeat.min(limits.silence)
        };
        let by_sign_in = match &self.member {
            None => self.began + limits.sign_in,
            Some(member) => member.deadline(),
        };
        alive.min(by_sign_in)
    }

    async fn look_at_clock(&mut self) -> Result<(), End> {
        let (now, limits) = (Instant::now(), &self.service.limits);
        match &self.member {
            None if now >= self.began + limits.sign_in => {
                return Err(close(CloseCode::Policy, "nobody signed in in time"));
            }
            _ => self.check_expiry()?,
        }
        if now >= self.heard + limits.silence {
            return Err(close(CloseCode::Away, "the client is silent"));
        }
        if now >= self.heard + limits.heartbeat && !self.was_asked {
            self.was_asked = true;
            self.send(Message::Ping(Bytes::new())).await?;
        }
        let service = &self.service;
        if let Some(member) = &mut self.member {
            member.ask_if_due(service);
        }
        Ok(())
    }

    fn check_expiry(&self) -> Result<(), End> {
        match &self.member {
            Some(member) if member.is_over() => {
                Err(close(CloseCode::Policy, "the token has expired"))
            }
            _ => Ok(()),
        }
    }

    async fn hear(&mut self, message: Option<Result<Message, Error>>) -> Result<(), End> {
        let message = message.ok_or(End::Gone)?.map_err(|error| broken(&error))?;
        let now = Instant::now();
        self.heard = now;
        self.was_asked = false;
        if self.rate.take(MESSAGES, now).is_err() {
            return Err(close(CloseCode::Policy, "too many messages"));
        }
        match message {
            Message::Text(text) => self.answer(&text).await,
            Message::Binary(_) => Err(close(CloseCode::Unsupported, "send text")),
            Message::Close(_) => Err(End::Gone),
            // A ping is answered below here.
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => Ok(()),
        }
    }

    async fn answer(&mut self, text: &str) -> Result<(), End> {
        match Heard::parse(text) {
            Ok(Heard::Ping) => self.say(&Said::Pong).await,
            Ok(Heard::Auth { token, client }) => self.sign_in(&token, client).await,
            Err(message) => self.say(&Said::Error { message: &message }).await,
        }
    }

    async fn sign_in(&mut self, token: &str, client: Option<ClientId>) -> Result<(), End> {
        let limit = self.service.limits.sign_in;
        let until = match &self.member {
            None => self.began + limit,
            Some(_) => Instant::now() + limit,
        };
        let verified = timeout_at(until, self.service.verifier.verify(token)).await;
        let identity = match verified.unwrap_or(Err(TokenError::KeysUnavailable)) {
            Ok(identity) => identity,
            Err(error) => {
                let code = match error {
                    TokenError::KeysUnavailable => CloseCode::Again,
                    _ => CloseCode::Policy,
                };
                return self.refuse(code, error.client_message()).await;
            }
        };
        let asked = match self.is_spared {
            true => Ok(()),
            false => self.service.rates.of_user(&identity.user),
        };
        if let Err(over) = asked {
            return self.refuse(CloseCode::Again, &over.to_string()).await;
        }
        let expires = self
            .service
            .verifier
            .counts_until(&identity, self.service.now());
        let expires = self.service.instant(expires);
        match &mut self.member {
            Some(member) if member.user != identity.user => {
                let message = "another user is signed in here: open another socket";
                return self.refuse(CloseCode::Policy, message).await;
            }
            Some(member) => {
                if member.extend(client, expires) {
                    self.say(&Said::AuthOk).await?;
                }
                // If not, it is greeted once its spaces are known.
                Ok(())
            }
            None => self.admit(identity, client, expires).await,
        }
    }

    async fn admit(
        &mut self,
        identity: Identity,
        client: Option<ClientId>,
        expires: Instant,
    ) -> Result<(), End> {
        let user = identity.user;
        let listener = self.service.hub.listen(Interest {
            user: user.clone(),
            client,
            app: self.app.clone(),
            tables: Tables::All,
        });
        let Ok(listener) = listener else {
            let message = "you have too many streams and sockets open: close some";
            return self.refuse(CloseCode::Again, message).await;
        };
        self.member = Some(Member::new(
            &self.service,
            (user, self.app.clone()),
            listener,
            expires,
        ));
        Ok(())
    }

    /// Whether the user's subscription is not active, and there is no app here that needs none.
    fn is_refused(&self) -> bool {
        let is_active = |member: &Member| member.is_active;
        !self.member.as_ref().is_none_or(is_active)
            && !self.service.has_exempt_app(self.app.as_ref())
    }

    async fn tell(&mut self, mut waiting: Waiting) -> Result<(), End> {
        if waiting.gone {
            return Err(close(CloseCode::Policy, GONE));
        }
        if self.member.as_ref().is_some_and(|member| !member.is_active) {
            let service = &self.service;
            waiting.tables.retain(|app, _| service.is_exempt(app));
        }
        if waiting.overflowed {
            let reason = "more tables have changes than can be named: pull all, and connect again";
            return Err(close(CloseCode::Again, reason));
        }
        if let (true, Some(member)) = (waiting.access, &mut self.member) {
            member.ask(&self.service);
        }
        for (app, tables) in &waiting.tables {
            // Saying takes as long as the client lets it.
            self.check_expiry()?;
            self.say(&Said::SyncAvailable { app, tables }).await?;
        }
        Ok(())
    }

    /// Says what is wrong, and ends.
    async fn refuse(&mut self, code: CloseCode, message: &str) -> Result<(), End> {
        self.say(&Said::Error { message }).await?;
        Err(close(code, message))
    }

    async fn say(&mut self, said: &Said<'_>) -> Result<(), End> {
        self.send(Message::text(said.to_text())).await
    }

    /// Sends, for as long as the connection lets a write wait.
    async fn send(&mut self, message: Message) -> Result<(), End> {
        self.socket.send(message).await.map_err(|_| End::Gone)
    }

    /// Says the last word, and lets what the client was still sending come to its end: a connection that is closed on it
    /// would take the last word with it.
    async fn part(&mut self, end: End) {
        let socket = &mut self.socket;
        let parting = async {
            let said = match end {
                // The answer to the client's own last word waits below here, if it said one.
                End::Gone => socket.flush().await,
                End::Close(code, reason) => {
                    self.service.metrics.closed(code.into());
                    let reason = reason.into();
                    let last = Message::Close(Some(CloseFrame { code, reason }));
                    socket.send(last).await
                }
            };
            if said.is_ok() {
                let socket = socket.get_mut().plain();
                let _ = socket.shutdown().await;
                drain(socket).await;
            }
        };
        let _ = timeout(FAREWELL_TIME, parting).await;
    }
}

fn close(code: CloseCode, reason: &str) -> End {
    End::Close(code, reason.to_owned())
}

/// What a client did that this protocol does not know.
fn broken(error: &Error) -> End {
    match error {
        Error::Capacity(_) => close(CloseCode::Size, "a message has at most 32 KiB"),
        Error::Utf8(_) => close(CloseCode::Invalid, "text is UTF-8"),
        // It went without a word.
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => End::Gone,
        Error::Protocol(_) => close(CloseCode::Protocol, "that is no WebSocket frame"),
        Error::Io(error) if Wire::is_over(error) => close(CloseCode::Policy, "too many bytes"),
        _ => End::Gone,
    }
}
