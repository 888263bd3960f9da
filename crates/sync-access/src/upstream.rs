//! A service beside this one, and one guarded question to it about a user.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use percent_encoding::percent_decode_str;
use reqwest::header::HeaderValue;
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode, Url};
use serde::de::IgnoredAny;
use sync_protocol::UserId;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use crate::Clock;
use crate::breaker::{Breaker, Pass};
use crate::error::{SetupError, UpstreamError};
use crate::figures::{CallCounters, Calls};
use crate::source::in_words;

/// The longest that one call may take, from the wait for its turn to the last byte.
pub const CALL_TIME_LIMIT: Duration = Duration::from_secs(5);

/// The longest answer read, in bytes.
pub const MAX_ANSWER_BYTES: usize = 1024 * 1024;

/// The most calls to one service at a time; further ones wait for their turn. Who remembers nothing,
/// as after a start, must not fell the service that everybody waits for.
pub const MAX_CALLS_AT_ONCE: usize = 64;

/// How many users are remembered, unless it is set otherwise.
pub const REMEMBERED_USERS: usize = 50_000;

/// How long an unused connection is kept: less than servers keep theirs, so that none is used in
/// the moment in which its other end closes it.
const KEEP_CONNECTION: Duration = Duration::from_secs(3);

const SERVICE_KEY: &str = "x-service-key";

/// How a service is called. `Debug` shows neither the address nor the key.
#[derive(Clone)]
pub struct UpstreamSettings {
    /// Where it is: http or https, with or without a path. It may be in a private network: it is
    /// the operator's own.
    pub url: String,
    /// What `X-Service-Key` says.
    pub service_key: Option<String>,
    /// The most users to remember answers about.
    pub remembered_users: usize,
}

impl UpstreamSettings {
    /// Without a key, remembering [`REMEMBERED_USERS`].
    #[must_use]
    pub fn at(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            service_key: None,
            remembered_users: REMEMBERED_USERS,
        }
    }
}

impl fmt::Debug for UpstreamSettings {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("UpstreamSettings")
            .field("remembered_users", &self.remembered_users)
            .finish_non_exhaustive()
    }
}

/// Which question: the segments of the path around the user.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question {
    /// What the service is called in the log.
    pub(crate) service: &'static str,
    pub(crate) before: &'static [&'static str],
    pub(crate) after: &'static [&'static str],
}

/// What else an object says. With it, a JSON array is no object to serde, as it is without.
pub(crate) type More = BTreeMap<String, IgnoredAny>;

/// One service that answers one question.
pub(crate) struct Upstream {
    question: Question,
    base: Url,
    key: Option<HeaderValue>,
    client: Client,
    clock: Clock,
    turns: Semaphore,
    breaker: Mutex<Breaker>,
    counters: CallCounters,
}

impl Upstream {
    pub(crate) fn new(
        question: Question,
        settings: &UpstreamSettings,
        clock: Clock,
    ) -> Result<Self, SetupError> {
        let wrong = |why: String| SetupError(format!("{}: {why}", question.service));
        let key = settings.service_key.as_deref().map(sensitive).transpose();
        Ok(Self {
            question,
            base: base(&settings.url).map_err(|why| wrong(format!("the address {why}")))?,
            key: key.map_err(|why| wrong(format!("the service key {why}")))?,
            client: client().map_err(wrong)?,
            clock,
            turns: Semaphore::new(MAX_CALLS_AT_ONCE),
            breaker: Mutex::default(),
            counters: CallCounters::default(),
        })
    }

    /// What the service says about a user, as `read` understands it.
    ///
    /// Whatever is not a 200, in time, within the bounds and to the liking of `read` is an error;
    /// it has been counted and logged.
    pub(crate) async fn ask<T>(
        &self,
        user: &UserId,
        read: impl FnOnce(&[u8]) -> Result<T, &'static str>,
    ) -> Result<T, UpstreamError> {
        let outcome = match self.address(user) {
            Some(url) => self.call(url, read).await,
            None => Err(UpstreamError::Unaskable),
        };
        self.counters.count(&outcome);
        if let Err(error) = &outcome {
            self.tell(user, error);
        }
        outcome
    }

    pub(crate) fn calls(&self) -> Calls {
        self.counters.totals()
    }

    pub(crate) fn is_left_alone(&self) -> bool {
        self.breaker().is_open()
    }

    async fn call<T>(
        &self,
        url: Url,
        read: impl FnOnce(&[u8]) -> Result<T, &'static str>,
    ) -> Result<T, UpstreamError> {
        let deadline = Instant::now() + CALL_TIME_LIMIT;
        let turn = in_time(deadline, async { Ok(self.turns.acquire().await) });
        // Held to the end of the call. Nobody closes the semaphore.
        let _turn = turn.await?;
        let pass = self.breaker().admit((self.clock)());
        let pass = pass.ok_or(UpstreamError::LeftAlone)?;
        let answer = in_time(deadline, self.fetch(url)).await;
        let outcome = answer.and_then(|body| read(&body).map_err(UpstreamError::Nonsense));
        self.judge(pass, outcome.as_ref().err());
        outcome
    }

    async fn fetch(&self, url: Url) -> Result<Vec<u8>, UpstreamError> {
        let broken = |error| UpstreamError::Unreachable(in_words(error));
        let mut request = self.client.get(url);
        if let Some(key) = &self.key {
            request = request.header(SERVICE_KEY, key.clone());
        }
        let mut response = request.send().await.map_err(broken)?;
        if response.status() != StatusCode::OK {
            return Err(UpstreamError::Status(response.status().as_u16()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(broken)? {
            if body.len() + chunk.len() > MAX_ANSWER_BYTES {
                return Err(UpstreamError::Nonsense("it is too long"));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn judge(&self, pass: Pass, error: Option<&UpstreamError>) {
        let now = (self.clock)();
        let mut breaker = self.breaker();
        let opens = match error {
            None => {
                breaker.succeeded();
                false
            }
            Some(error) if error.is_of_the_service() => breaker.failed(pass, now),
            Some(_) => {
                breaker.answered(pass);
                false
            }
        };
        drop(breaker);
        if opens {
            let service = self.question.service;
            tracing::warn!(service, "a service fails and is left alone for a while");
        }
    }

    fn tell(&self, user: &UserId, error: &UpstreamError) {
        let service = self.question.service;
        let (user, reason) = (hashed(user), error.to_string());
        if *error == UpstreamError::LeftAlone {
            tracing::debug!(service, user, reason, "a service was not asked");
        } else {
            tracing::warn!(service, user, reason, "a service has told nothing");
        }
    }

    /// The address of the question about this user, who is one segment of its path, whatever the
    /// name; `None` where that cannot be.
    fn address(&self, user: &UserId) -> Option<Url> {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .ok()?
            .extend(self.question.before)
            .push(user.as_str())
            .extend(self.question.after);
        let mut segments = url.path_segments()?;
        let named = segments.nth(segments_of(&self.base) + self.question.before.len())?;
        let is_user = percent_decode_str(named).eq(user.as_str().bytes());
        let is_all_there = segments.eq(self.question.after.iter().copied());
        let is_path = url.query().is_none() && url.fragment().is_none();
        (is_user && is_all_there && is_path).then_some(url)
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        // A breaker is consistent between its calls, so a panic elsewhere has left it so.
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A user as it may stand in a log: the beginning of a digest, as in the line of a request.
pub(crate) fn hashed(user: &UserId) -> String {
    let digest = openssl::sha::sha256(user.as_str().as_bytes());
    let hex = digest[..6].iter().map(|byte| format!("{byte:02x}"));
    hex.collect()
}

async fn in_time<T>(
    deadline: Instant,
    work: impl Future<Output = Result<T, UpstreamError>>,
) -> Result<T, UpstreamError> {
    let outcome = timeout_at(deadline, work).await;
    outcome.unwrap_or(Err(UpstreamError::TimedOut))
}

/// The address that questions are put behind, without a slash at its end.
fn base(address: &str) -> Result<Url, &'static str> {
    let mut url = Url::parse(address).map_err(|_| "is no URL")?;
    if !matches!(url.scheme(), "https" | "http") {
        return Err("must begin with https:// or http://");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not hold a user or password");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("must not hold ? or #");
    }
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    Ok(url)
}

/// How many segments a base has; the lone slash of a host is none.
fn segments_of(base: &Url) -> usize {
    if base.path() == "/" {
        return 0;
    }
    base.path_segments().map_or(0, Iterator::count)
}

fn sensitive(key: &str) -> Result<HeaderValue, &'static str> {
    if key.is_empty() {
        return Err("is empty");
    }
    let is_sendable = key.bytes().all(|byte| byte.is_ascii_graphic());
    let value = HeaderValue::from_str(key).ok().filter(|_| is_sendable);
    let mut value = value.ok_or("must be printable ASCII without white space")?;
    value.set_sensitive(true);
    Ok(value)
}

/// The client for services: no redirects, no proxy from the environment. The time limit is the
/// caller's, since it includes the wait for a turn.
fn client() -> Result<Client, String> {
    Client::builder()
        .redirect(Policy::none())
        .no_proxy()
        .referer(false)
        .pool_idle_timeout(KEEP_CONNECTION)
        .build()
        .map_err(|error| format!("no TLS client: {}", in_words(error)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use sync_protocol::Millis;

    use super::*;

    const QUESTION: Question = Question {
        service: "a service",
        before: &["api", "users"],
        after: &["memberships"],
    };

    fn upstream(address: &str) -> Result<Upstream, SetupError> {
        let settings = UpstreamSettings::at(address);
        Upstream::new(QUESTION, &settings, Arc::new(|| Millis(0)))
    }

    fn path(base: &str, user: &str) -> Option<String> {
        let user = UserId::new(user).expect("it is an id");
        let url = upstream(base).expect("it is an address").address(&user)?;
        Some(url.path().to_owned())
    }

    fn named(segment: &str) -> Option<String> {
        Some(format!("/api/users/{segment}/memberships"))
    }

    #[test]
    fn a_user_is_one_segment_whatever_the_name() {
        for (user, segment) in [
            ("anna", "anna"),
            ("../x?y#z", "..%2Fx%3Fy%23z"),
            ("a/b", "a%2Fb"),
            (r"a\b", "a%5Cb"),
            ("%2e%2e", "%252e%252e"),
            ("%2E", "%252E"),
            ("%2F", "%252F"),
            ("...", "..."),
            (";a=b", ";a=b"),
            ("a b", "a%20b"),
            ("ä€😀", "%C3%A4%E2%82%AC%F0%9F%98%80"),
            ("C:", "C:"),
        ] {
            assert_eq!(path("http://here", user), named(segment), "{user}");
        }
    }

    #[test]
    fn who_would_be_no_segment_has_no_address() {
        assert_eq!(path("http://here", "."), None);
        assert_eq!(path("http://here", ".."), None);
    }

    #[test]
    fn a_base_may_have_a_path_with_or_without_a_slash_behind() {
        for base in [
            "https://here:8443/a/b",
            "http://10.0.0.1/a/b/",
            "http://[::1]/a/b//",
        ] {
            let expected = Some("/a/b/api/users/anna/memberships".to_owned());
            assert_eq!(path(base, "anna"), expected, "{base}");
        }
        assert_eq!(path("http://here//", "anna"), named("anna"));
    }

    #[test]
    fn what_is_no_address_of_a_service_is_refused() {
        for address in [
            "",
            "here",
            "ftp://here",
            "http://user@here",
            "http://:secret@here",
            "http://here?a=b",
            "http://here#a",
        ] {
            assert!(upstream(address).is_err(), "{address}");
        }
    }

    #[test]
    fn a_key_that_cannot_be_sent_is_refused_without_being_shown() {
        for key in ["", "with space", "line\n", "ä", "tab\t"] {
            let settings = UpstreamSettings {
                service_key: Some(key.to_owned()),
                ..UpstreamSettings::at("http://here")
            };
            let made = Upstream::new(QUESTION, &settings, Arc::new(|| Millis(0)));
            let error = made.err().expect("it is refused").to_string();
            assert!(key.is_empty() || !error.contains(key), "{error}");
        }
    }
}
