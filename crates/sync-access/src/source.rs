//! A host that publishes keys, and one guarded request to it.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::Resolve;
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode, Url};
use tokio::task::JoinSet;

use crate::error::SetupError;
use crate::hosts::KeyHosts;
use crate::key::KeySet;

/// The longest that one fetch of a key set may take, from the connection to the last byte.
pub const FETCH_TIME_LIMIT: Duration = Duration::from_secs(5);

/// The longest key set read, in bytes.
pub const MAX_DOCUMENT_BYTES: usize = 256 * 1024;

/// What one fetch brought, or why it brought nothing, in words for the log.
pub(crate) type Outcome = Result<KeySet, String>;

/// An address that key sets may be fetched from.
#[derive(Clone)]
pub(crate) struct Source(Url);

impl fmt::Debug for Source {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.shown())
    }
}

impl Source {
    pub(crate) fn new(address: &str, hosts: KeyHosts) -> Result<Self, SetupError> {
        let refuse = |why: &str| Err(SetupError(format!("the address of the keys {why}")));
        let Ok(url) = Url::parse(address) else {
            return refuse("is no URL");
        };
        if !url.username().is_empty() || url.password().is_some() {
            return refuse("must not hold a user or password");
        }
        if !matches!(url.scheme(), "https" | "http") {
            return refuse("must begin with https:// (or http://)");
        }
        match hosts.admit(&url) {
            Ok(()) => Ok(Self(url)),
            Err(why) => refuse(&why),
        }
    }

    /// The address as it may stand in a log: without its query, which may hold a secret.
    pub(crate) fn shown(&self) -> String {
        format!("{}{}", self.0.origin().ascii_serialization(), self.0.path())
    }

    /// One request. Whatever is not a key set with status 200, in time and within the bounds, is an
    /// error, in words for the log.
    pub(crate) async fn fetch(&self, client: &Client) -> Outcome {
        let mut response = client.get(self.0.clone()).send().await.map_err(in_words)?;
        if response.status() != StatusCode::OK {
            return Err(format!(
                "the answer has status {}",
                response.status().as_u16()
            ));
        }
        let mut document = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(in_words)? {
            if document.len() + chunk.len() > MAX_DOCUMENT_BYTES {
                return Err(format!(
                    "the answer is longer than {MAX_DOCUMENT_BYTES} bytes"
                ));
            }
            document.extend_from_slice(&chunk);
        }
        KeySet::parse(&document).map_err(str::to_owned)
    }
}

/// Asks all sources at the same time; the answers are in their order.
pub(crate) async fn fetch_all(sources: Vec<Source>, client: Client) -> Vec<Outcome> {
    let broken_off = || Err("the fetch broke off".to_owned());
    let mut outcomes: Vec<Outcome> = sources.iter().map(|_| broken_off()).collect();
    let mut flights = JoinSet::new();
    for (index, source) in sources.into_iter().enumerate() {
        let client = client.clone();
        flights.spawn(async move { (index, source.fetch(&client).await) });
    }
    while let Some(landed) = flights.join_next().await {
        if let Ok((index, outcome)) = landed {
            outcomes[index] = outcome;
        }
    }
    outcomes
}

/// The client for key sets: no redirects, no proxy from the environment, no connection kept for
/// minutes, a time limit on all of it, and only such addresses of a name as `hosts` admits.
pub(crate) fn client(hosts: KeyHosts, names: Arc<dyn Resolve>) -> Result<Client, SetupError> {
    Client::builder()
        .dns_resolver(hosts.guard(names))
        .redirect(Policy::none())
        .no_proxy()
        .pool_max_idle_per_host(0)
        .timeout(FETCH_TIME_LIMIT)
        .build()
        .map_err(|error| SetupError(format!("no TLS client: {}", in_words(error))))
}

/// The error and its causes, without the URL.
pub(crate) fn in_words(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words.push_str(": ");
        words.push_str(&error.to_string());
        cause = error.source();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_address_of_a_web_server_is_refused() {
        for address in [
            "",
            "keys",
            "ftp://localhost/jwks",
            "file:///etc/jwks",
            "https://a:b@keys.example/",
        ] {
            assert!(
                Source::new(address, KeyHosts::Anywhere).is_err(),
                "{address}"
            );
        }
    }

    #[test]
    fn what_is_shown_of_an_address_has_no_query() {
        let source = Source::new(
            "https://keys.example:8443/a/jwks?code=secret",
            KeyHosts::Guarded,
        );
        assert_eq!(
            source.map(|source| source.shown()),
            Ok("https://keys.example:8443/a/jwks".to_owned())
        );
    }
}
