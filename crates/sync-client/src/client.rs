//! Requests to a server, each sent again as long as that may help.

use std::fmt;
use std::time::Duration;

use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Method, Request, RequestBuilder, Response, Url};
use serde::{Deserialize, Serialize};
use sync_protocol::{Answer, ErrorBody};

use crate::{NewChange, Retry};

/// How long one try may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// How much of a refusal is read, in bytes: it is a code and a sentence or two.
const MAX_REFUSAL_BYTES: usize = 64 * 1024;

/// The cursor before everything, as a pull has to spell it.
const BEGINNING: &str = "1970-01-01T00:00:00.000Z";

/// Who speaks, and to which server.
#[derive(Clone)]
pub struct Options {
    /// The address of the server, as `http://127.0.0.1:3050`.
    pub server: String,
    /// The app.
    pub app: String,
    /// What this client calls itself: one id for each device or tab.
    pub client_id: String,
    /// The bearer token; none asks without.
    pub token: Option<String>,
    /// How requests are sent again.
    pub retry: Retry,
}

impl fmt::Debug for Options {
    /// Says of the token only whether there is one.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let token = match self.token {
            Some(_) => format_args!("present"),
            None => format_args!("absent"),
        };
        out.debug_struct("Options")
            .field("server", &self.server)
            .field("app", &self.app)
            .field("client_id", &self.client_id)
            .field("token", &token)
            .field("retry", &self.retry)
            .finish()
    }
}

/// Why a request, a stream or a socket came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address is no URL of a server.
    #[error("the server's address is not usable: {0}")]
    Address(String),
    /// The server said no: the request has to change before it is sent again.
    #[error("the server answered {status} {error}: {message}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The stable code.
        error: String,
        /// What is wrong and what to do.
        message: String,
    },
    /// The server was away, or too busy, at every try.
    #[error("the server cannot be reached: {0}")]
    Unavailable(String),
    /// The server took the request, and this client does not understand its answer. What a push brought *is* stored.
    #[error("the answer cannot be read: {0}")]
    Answer(String),
}

/// A client of one app on one server. Clones share connections.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    server: Url,
    pub(crate) options: Options,
}

/// Why a try came to nothing.
pub(crate) enum Failed {
    /// Another try may help, after the wait that the server asks for.
    ForNow(ClientError, Option<Duration>),
    /// The same again comes to nothing, too.
    ForGood(ClientError),
}

impl Failed {
    /// The other side is away, or went away.
    pub(crate) fn unavailable(reason: impl ToString) -> Self {
        Self::ForNow(ClientError::Unavailable(reason.to_string()), None)
    }

    /// Whether the server did not take the token.
    pub(crate) fn is_of_token(&self) -> bool {
        matches!(
            self,
            Self::ForGood(ClientError::Refused { status: 401, .. })
        )
    }

    /// What an answer means that is no success.
    pub(crate) fn answered(status: u16, headers: &HeaderMap, body: &[u8]) -> Self {
        let refused = refused(status, body);
        if Retry::is_worth_it(status) {
            let error = ClientError::Unavailable(refused.to_string());
            Self::ForNow(error, retry_after(headers))
        } else {
            Self::ForGood(refused)
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PushBody<'a> {
    client_id: &'a str,
    since: &'a str,
    schema_version: u32,
    changes: &'a [NewChange],
}

impl Client {
    /// A client with these options.
    ///
    /// # Errors
    ///
    /// [`ClientError::Address`] if the server's address is no URL.
    pub fn new(options: Options) -> Result<Self, ClientError> {
        let server = parse_address(&options.server)?;
        let http = reqwest::Client::builder()
            .build()
            .map_err(|error| ClientError::Address(error.to_string()))?;
        Ok(Self {
            http,
            server,
            options,
        })
    }

    /// A client of the same app for another user or device. It shares the connections of this one.
    #[must_use]
    pub fn speaking_as(&self, client_id: &str, token: &str) -> Self {
        let mut other = self.clone();
        other.options.client_id = client_id.to_owned();
        other.options.token = Some(token.to_owned());
        other
    }

    /// Pushes changes; the answer has what others wrote since the cursor, the beginning if it is empty. Sending the
    /// same push again is free, so a lost answer is asked for again.
    ///
    /// # Errors
    ///
    /// [`ClientError::Address`]: nothing was sent. [`ClientError::Refused`]: nothing was stored by the try that was
    /// refused; of a try before it, whose answer was lost, all may be. [`ClientError::Unavailable`]: all of it may be
    /// stored, or nothing. [`ClientError::Answer`]: all of it is stored. Whichever it is, to send the same push again is
    /// free.
    pub async fn push(&self, since: &str, changes: &[NewChange]) -> Result<Answer, ClientError> {
        let url = self.url(&["sync", &self.options.app])?;
        let body = PushBody {
            client_id: &self.options.client_id,
            since,
            schema_version: 1,
            changes,
        };
        let body = serde_json::to_vec(&body)
            .expect("texts, numbers and JSON values can be written as JSON");
        self.send(Method::POST, url, Some(body)).await
    }

    /// Reads one page of a table, after the cursor; from the beginning if it is empty.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub async fn pull(&self, table: &str, since: &str) -> Result<Answer, ClientError> {
        let mut url = self.url(&["sync", &self.options.app, "pull"])?;
        url.query_pairs_mut()
            .append_pair("collection", table)
            .append_pair("since", or_beginning(since));
        self.send(Method::GET, url, None).await
    }

    /// Reads a table to its head, from the beginning if the cursor is empty: each page goes to `page`, with the cursor to
    /// keep once it is applied. Gives back the last cursor.
    ///
    /// # Errors
    ///
    /// [`ClientError`]; the pages before it were handed out, and their cursors are good.
    pub async fn pull_to_head(
        &self,
        table: &str,
        since: &str,
        mut page: impl FnMut(Answer),
    ) -> Result<String, ClientError> {
        let mut cursor = or_beginning(since).to_owned();
        loop {
            let answer = self.pull(table, &cursor).await?;
            let has_more = answer.has_more;
            if has_more && answer.synced_until == cursor {
                return Err(ClientError::Answer(format!(
                    "hasMore, but the cursor stays at {cursor}"
                )));
            }
            cursor.clone_from(&answer.synced_until);
            page(answer);
            if !has_more {
                return Ok(cursor);
            }
        }
    }

    pub(crate) fn url(&self, segments: &[&str]) -> Result<Url, ClientError> {
        with_segments(&self.server, segments)
    }

    async fn send<T>(
        &self,
        method: Method,
        url: Url,
        body: Option<Vec<u8>>,
    ) -> Result<T, ClientError>
    where
        T: for<'de> Deserialize<'de>,
    {
        let mut tried = 0;
        loop {
            let mut request = self.request(method.clone(), url.clone());
            if let Some(body) = &body {
                request = request
                    .header("Content-Type", "application/json")
                    .body(body.clone());
            }
            let (error, asked) = match self.answer(built(request.timeout(REQUEST_TIMEOUT))?).await {
                Ok(answer) => match read(answer).await {
                    Err(error @ ClientError::Unavailable(_)) => (error, None),
                    read => return read,
                },
                Err(Failed::ForNow(error, asked)) => (error, asked),
                Err(Failed::ForGood(error)) => return Err(error),
            };
            if tried + 1 >= self.options.retry.tries {
                return Err(error);
            }
            tokio::time::sleep(self.options.retry.wait(tried, asked)).await;
            tried += 1;
        }
    }

    /// A request in this client's name. It has no time limit yet.
    pub(crate) fn request(&self, method: Method, url: Url) -> RequestBuilder {
        let request = self
            .http
            .request(method, url)
            .header("X-Client-Id", &self.options.client_id);
        match &self.options.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// One try, as far as the head of an answer that is a success.
    pub(crate) async fn answer(&self, request: Request) -> Result<Response, Failed> {
        let answer = self.http.execute(request).await;
        let answer = answer.map_err(Failed::unavailable)?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status().as_u16();
        let headers = answer.headers().clone();
        Err(Failed::answered(status, &headers, &reason(answer).await))
    }
}

/// The request, if it can be one.
pub(crate) fn built(request: RequestBuilder) -> Result<Request, ClientError> {
    request
        .build()
        .map_err(|error| ClientError::Address(error.to_string()))
}

/// What a development server answers to a sign-in.
#[derive(Clone, Deserialize)]
pub struct SignedIn {
    /// The bearer token.
    pub token: String,
    /// How many seconds it is good for.
    pub expires_in: u64,
    /// The user.
    pub user: String,
    /// The device.
    pub device: String,
}

impl fmt::Debug for SignedIn {
    /// Without the token.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("SignedIn")
            .field("expires_in", &self.expires_in)
            .field("user", &self.user)
            .field("device", &self.device)
            .finish_non_exhaustive()
    }
}

/// Signs in at a development server, which looks at no password.
///
/// # Errors
///
/// [`ClientError`]; a server that is not in development answers 404.
pub async fn sign_in(server: &str, user: &str, device: &str) -> Result<SignedIn, ClientError> {
    let url = with_segments(&parse_address(server)?, &["dummy-signin"])?;
    let body = serde_json::json!({"user": user, "password": "development", "device": device});
    let answer = reqwest::Client::new()
        .post(url)
        .timeout(REQUEST_TIMEOUT)
        .json(&body)
        .send()
        .await
        .map_err(|error| ClientError::Unavailable(error.to_string()))?;
    if answer.status().is_success() {
        return read(answer).await;
    }
    let status = answer.status().as_u16();
    Err(refused(status, &reason(answer).await))
}

/// A push may leave its cursor empty; a pull may not, so it says the beginning in full.
pub(crate) fn or_beginning(since: &str) -> &str {
    if since.is_empty() { BEGINNING } else { since }
}

fn parse_address(server: &str) -> Result<Url, ClientError> {
    Url::parse(server).map_err(|error| ClientError::Address(format!("{server:?}: {error}")))
}

fn with_segments(server: &Url, segments: &[&str]) -> Result<Url, ClientError> {
    let mut url = server.clone();
    url.path_segments_mut()
        .map_err(|()| ClientError::Address(format!("{server} is not the address of a server")))?
        .pop_if_empty()
        .extend(segments);
    Ok(url)
}

async fn read<T: for<'de> Deserialize<'de>>(answer: Response) -> Result<T, ClientError> {
    let body = answer
        .bytes()
        .await
        .map_err(|error| ClientError::Unavailable(error.to_string()))?;
    serde_json::from_slice(&body).map_err(|error| ClientError::Answer(error.to_string()))
}

/// What comes with an answer that is no success, as far as it can be read and not too long.
async fn reason(mut answer: Response) -> Vec<u8> {
    let mut body = Vec::new();
    while body.len() < MAX_REFUSAL_BYTES
        && let Ok(Some(bytes)) = answer.chunk().await
    {
        let room = MAX_REFUSAL_BYTES - body.len();
        body.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
    body
}

fn refused(status: u16, body: &[u8]) -> ClientError {
    let said = serde_json::from_slice(body).unwrap_or_else(|_| ErrorBody {
        error: "unknown".to_owned(),
        message: String::from_utf8_lossy(body).chars().take(200).collect(),
    });
    ClientError::Refused {
        status,
        error: said.error,
        message: said.message,
    }
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}
