//! A stream of changes that survives its connections: `GET /sync/{appId}/stream`, read event by event.

use std::pin::Pin;
use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, Request, Response};
use serde::Deserialize;
use sync_protocol::ServerChange;
use tokio::time::{timeout, timeout_at};

use crate::client::{Failed, built, or_beginning};
use crate::live::{Pause, SILENCE, Silence};
use crate::progress::Progress;
use crate::sse::{Event, Parser};
use crate::{Client, ClientError};

/// What a stream brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamEvent {
    /// Changes of one table.
    Changes(TableChanges),
    /// Spaces that the caller may not see any more: what it has of them is to be purged. They are not streamed any more.
    SpacesRemoved(Vec<String>),
}

/// The changes of one table in one page of a stream.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TableChanges {
    /// The table.
    pub table: String,
    /// What others wrote, oldest first; none if only the cursor moves.
    pub changes: Vec<ServerChange>,
    /// The cursor of this table: it is complete up to there. To resume the stream take [`ChangeStream::cursor`], which
    /// knows of the other tables.
    pub synced_until: String,
    /// Whether more is on its way.
    #[serde(default)]
    pub has_more: bool,
}

#[derive(Deserialize)]
struct Spaces {
    removed: Vec<String>,
}

/// The changes of some tables, as they are written, for as long as the caller asks. [`Client::stream`] makes one.
///
/// The stream hides everything that passes: a server that cannot be reached, is too busy or broken (408, 429, 5xx), stops,
/// breaks off in the middle, or falls silent. It connects again, for ever, after the waits of [`Retry`](crate::Retry)
/// (whose `tries` do not count here), and goes on where it was. The waits start afresh once a connection has stood for as
/// long as the longest of them, so that a server that ends each after its first events is not run down.
///
/// What the caller gets:
///
/// - Changes of one table come in the order in which they were written, and none is skipped.
/// - After a break a table's changes may come again, with others between them. To apply a change twice changes nothing,
///   by the merge rule. Servers with ids (`wire.md`, Stream) repeat no more than the page in which it broke; without ids
///   it is all since [`cursor`](Self::cursor), which then follows the slowest table.
/// - What is final comes as an error, and the stream can be used on: the next call tries again from where it was, after a
///   wait, or at once if [`set_token`](Self::set_token) was called.
///
/// Nothing happens but inside [`next`](Self::next): a stream that is not asked neither reads nor reconnects.
pub struct ChangeStream {
    client: Client,
    tables: Vec<String>,
    progress: Progress,
    silence: Duration,
    pause: Pause,
    link: Link,
}

/// The connection, or the way to it. What is under way is kept, so that a call may be cancelled at any time.
enum Link {
    Apart,
    Opening(Opening),
    Open(Box<Body>),
}

type Opening = Pin<Box<dyn Future<Output = Result<Body, Failed>> + Send>>;

impl Client {
    /// A stream of the changes of these tables after a cursor; of all tables if none is named, from the beginning if the
    /// cursor is empty. Connects at the first [`ChangeStream::next`]. The wire lists tables with commas between them, so
    /// one whose name has a comma in it, or begins or ends with a space, comes only in a stream of all tables.
    #[must_use]
    pub fn stream(&self, tables: &[&str], since: &str) -> ChangeStream {
        ChangeStream {
            client: self.clone(),
            tables: tables.iter().map(|table| (*table).to_owned()).collect(),
            progress: Progress::new(tables, since),
            silence: SILENCE,
            pause: Pause::new(self.options.retry),
            link: Link::Apart,
        }
    }
}

impl ChangeStream {
    /// Counts the server as lost when it has not answered, or sent a byte, for so long; 75 s if it is not set. Servers
    /// send something every 30 s.
    #[must_use]
    pub fn silence(mut self, limit: Duration) -> Self {
        self.silence = limit;
        self
    }

    /// The cursor from which a later stream of the same tables skips nothing, once everything that [`next`](Self::next)
    /// has given so far is kept. It is what was given to [`Client::stream`], as long as not every table has had an event;
    /// with a server that sends no ids it stays so if all tables were asked for.
    #[must_use]
    pub fn cursor(&self) -> &str {
        self.progress.cursor()
    }

    /// The token from now on. A connection that stands keeps its own until the server ends it; when that token expires the
    /// stream goes on with the new one, without an error or a wait. One that was refused is tried again without a wait. Of no
    /// concern to the client that made this stream.
    pub fn set_token(&mut self, token: &str) {
        self.client.options.token = Some(token.to_owned());
        if let Link::Opening(_) = self.link {
            self.link = Link::Apart;
        }
        self.pause.token_set();
    }

    /// The next event, however long it takes to come. Can be cancelled, as in `tokio::select!`: nothing is lost, and what
    /// is under way goes on at the next call.
    ///
    /// # Errors
    ///
    /// [`ClientError::Refused`] if the server says no: with 401 the caller sets a new token and goes on (the stream says
    /// `token_expired` with 401, too, when the server ends it since its token is no longer good, unless a new one has been
    /// set); whether the others pass (402, 403, 404), the caller knows best. [`ClientError::Answer`] if an event cannot be
    /// read: the next call reads it once more. [`ClientError::Address`] if nothing can be sent to there, or with such a
    /// token.
    pub async fn next(&mut self) -> Result<StreamEvent, ClientError> {
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
                    Ok(body) => {
                        self.link = Link::Open(Box::new(body));
                        self.pause.connected();
                        continue;
                    }
                    Err(failed) => failed,
                },
                Link::Open(body) => match body.event().await {
                    Ok(event) => match self.take(event) {
                        Ok(None) => continue,
                        Ok(Some(event)) => return Ok(event),
                        Err(error) => Failed::ForGood(error),
                    },
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
        let request = self.request()?;
        let client = self.client.clone();
        let silence = self.silence;
        Ok(Box::pin(async move {
            match timeout(silence, client.answer(request)).await {
                Ok(answer) => Body::new(answer?, silence),
                Err(_) => Err(Failed::unavailable("no answer")),
            }
        }))
    }

    fn request(&self) -> Result<Request, ClientError> {
        let mut url = self
            .client
            .url(&["sync", &self.client.options.app, "stream"])?;
        if !self.tables.is_empty() {
            url.query_pairs_mut()
                .append_pair("collections", &self.tables.join(","));
        }
        url.query_pairs_mut()
            .append_pair("since", or_beginning(self.cursor()));
        let mut request = self
            .client
            .request(Method::GET, url)
            .header(ACCEPT, "text/event-stream");
        // An id that is no header value is in `since` all the same.
        let last_id = self.progress.last_id().map(str::as_bytes);
        if let Some(Ok(id)) = last_id.map(HeaderValue::from_bytes) {
            request = request.header("Last-Event-ID", id);
        }
        built(request)
    }

    /// What an event is to the caller, if anything. From here on it counts as given out: nothing may wait in between.
    fn take(&mut self, event: Event) -> Result<Option<StreamEvent>, ClientError> {
        let given = match (event.name.as_str(), &event.data) {
            ("changes", Some(data)) => Some(StreamEvent::Changes(parse(data)?)),
            ("spaces", Some(data)) => {
                Some(StreamEvent::SpacesRemoved(parse::<Spaces>(data)?.removed))
            }
            ("auth-expired", Some(_)) => return Err(expired()),
            _ => None,
        };
        if let Some(StreamEvent::Changes(page)) = &given {
            self.progress.read(&page.table, &page.synced_until);
        }
        if let Some(id) = event.id {
            self.progress.pass(id);
        }
        Ok(given)
    }
}

/// An answer that is read as it comes.
struct Body {
    answer: Response,
    parser: Parser,
    silence: Silence,
}

impl Body {
    fn new(answer: Response, silence: Duration) -> Result<Self, Failed> {
        let kind = answer.headers().get(CONTENT_TYPE);
        let kind = kind.map_or_else(String::new, |kind| {
            String::from_utf8_lossy(kind.as_bytes()).to_ascii_lowercase()
        });
        if !kind.starts_with("text/event-stream") {
            let what = format!("{} {kind:?} is no stream of events", answer.status());
            return Err(Failed::ForGood(ClientError::Answer(what)));
        }
        Ok(Self {
            answer,
            parser: Parser::default(),
            silence: Silence::new(silence),
        })
    }

    /// The next event. Can be cancelled.
    async fn event(&mut self) -> Result<Event, Failed> {
        loop {
            if let Some(event) = self.parser.next() {
                return event.map_err(|error| Failed::ForGood(unreadable(error)));
            }
            match timeout_at(self.silence.until(), self.answer.chunk()).await {
                Ok(Ok(Some(bytes))) => {
                    self.silence.broken();
                    self.parser.push(&bytes);
                }
                Ok(Ok(None)) => return Err(Failed::unavailable("the stream ended")),
                Ok(Err(error)) => return Err(Failed::unavailable(error)),
                Err(_) => return Err(Failed::unavailable("the server is silent")),
            }
        }
    }
}

fn parse<T: for<'de> Deserialize<'de>>(data: &str) -> Result<T, ClientError> {
    serde_json::from_str(data).map_err(unreadable)
}

fn unreadable(error: impl ToString) -> ClientError {
    ClientError::Answer(error.to_string())
}

fn expired() -> ClientError {
    ClientError::Refused {
        status: 401,
        error: "token_expired".to_owned(),
        message: "the token has expired: set a new one and go on".to_owned(),
    }
}
