//! `GET /sync/{appId}/stream?collections=a,b&since=`: what the client does not have yet, and what comes, as Server-Sent
//! Events.
//!
//! - In: a token; `X-Client-Id`; `collections`, names separated by commas, all tables if none is named; `Last-Event-ID`, which
//!   wins over `since`; whichever counts, what cannot be read is the beginning. Of a parameter given twice the first counts.
//! - Out: 200 `text/event-stream` at once; then pages to the head, then whatever is committed (`reader.rs`). It ends when the
//!   token or the subscription does, when its user is erased, when the server stops, and when the client goes. 401, then 429 if
//!   the user asks too often, then 400 and 402; 429 if it has too many connections.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::time::Duration;

use async_stream::stream;
use axum::body::Body;
use axum::extract::{Query, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, Uri};
use axum::response::Response;
use bytes::Bytes;
use futures_util::Stream;
use sync_notify::Interest;
use sync_protocol::{ClientId, Millis, TableName, Tables};
use sync_store::{Caller, Cursor};
use tokio::time::{Instant, sleep_until};

use crate::admit::{Admitted, admit};
use crate::connection::Stopping;
use crate::error::Refusal;
use crate::reader::Reader;
use crate::service::{Service, Shared};
use crate::{event, reply};

/// The most tables that one stream may name.
const MAX_COLLECTIONS: usize = 256;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

pub(crate) async fn stream(
    State(service): State<Shared>,
    request: Request,
) -> Result<Response, Refusal> {
    let (mut parts, _) = request.into_parts();
    let admitted = admit(&service, &mut parts).await?;
    let asked = Asked::read(&parts)?;
    let stopping = Stopping::of(&parts.extensions);
    let clock = StreamClock::new(&service, admitted.until);
    let reader = open(service, admitted, asked)?;
    let events = events(reader, clock, stopping);
    Ok(reply::events(Body::from_stream(events)))
}

/// Listens first, so that nothing is committed unheard between the first read and the wait behind it.
fn open(service: Shared, admitted: Admitted, asked: Asked) -> Result<Reader, Refusal> {
    let Admitted {
        user, app, client, ..
    } = admitted;
    let listener = service
        .hub
        .listen(Interest {
            user: user.clone(),
            client: client.clone(),
            app: Some(app.clone()),
            tables: asked.tables.clone(),
        })
        .map_err(|_| Refusal::Crowded)?;
    let client = client.unwrap_or_else(ClientId::nameless);
    let caller = Caller { user, client };
    Ok(Reader::new(
        service,
        listener,
        (caller, app, asked.tables),
        asked.since,
    ))
}

fn events(
    mut reader: Reader,
    mut clock: StreamClock,
    mut stopping: Stopping,
) -> impl Stream<Item = Result<Bytes, Infallible>> {
    stream! {
        yield Ok(event::GREETING);
        loop {
            let next = reader.next();
            tokio::pin!(next);
            // What is being read goes on being read while the clock says something: the store may take its time.
            let said = loop {
                let turn = tokio::select! {
                    biased;
                    () = stopping.told() => Turn::Over(None),
                    turn = clock.strikes() => turn,
                    said = &mut next => said.map_or(Turn::Over(None), Turn::Said),
                };
                match turn {
                    Turn::Beat => yield Ok(event::HEARTBEAT),
                    Turn::Said(said) => break said,
                    Turn::Over(last) => {
                        if let Some(last) = last {
                            yield Ok(last);
                        }
                        return;
                    }
                }
            };
            yield Ok(said);
        }
    }
}

/// What a stream does next.
enum Turn {
    /// It says that it is there.
    Beat,
    /// It sends this.
    Said(Bytes),
    /// It ends, with a last word if there is one.
    Over(Option<Bytes>),
}

/// What is to be said by the clock, whatever the store does.
struct StreamClock {
    every: Duration,
    heartbeat: Instant,
    expires: Instant,
}

impl StreamClock {
    fn new(service: &Service, until: Millis) -> Self {
        let every = service.limits.heartbeat;
        Self {
            every,
            heartbeat: Instant::now() + every,
            expires: service.instant(until),
        }
    }

    /// The next thing to be said by the clock, at its time. Dropped while it waits, it has said nothing.
    async fn strikes(&mut self) -> Turn {
        sleep_until(self.heartbeat.min(self.expires)).await;
        let now = Instant::now();
        if now >= self.expires {
            return Turn::Over(Some(event::AUTH_EXPIRED));
        }
        self.heartbeat = now + self.every;
        Turn::Beat
    }
}

/// The query and the headers, understood.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    tables: Tables,
    since: Cursor,
}

impl Asked {
    fn read(parts: &Parts) -> Result<Self, Refusal> {
        let (collections, since) = query(&parts.uri)?;
        let since = last_event_id(&parts.headers).or(since);
        Ok(Self {
            tables: tables(&collections.unwrap_or_default())?,
            since: since.map_or(Cursor::BEGINNING, |since| Cursor::parse(&since)),
        })
    }
}

fn query(uri: &Uri) -> Result<(Option<String>, Option<String>), Refusal> {
    let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri)
        .map_err(|_| Refusal::Parameter("the query cannot be read".to_owned()))?;
    let first = |name: &str| {
        let found = pairs.iter().find(|(own, _)| own == name);
        found.map(|(_, value)| value.clone())
    };
    Ok((first("collections"), first("since")))
}

/// An empty one is none: it means that no event had an id yet.
fn last_event_id(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(LAST_EVENT_ID)?;
    let text = String::from_utf8_lossy(value.as_bytes());
    (!text.is_empty()).then(|| text.into_owned())
}

/// A name that no table can have has no changes; it says nothing wrong.
fn tables(collections: &str) -> Result<Tables, Refusal> {
    let names = collections.split(',').map(str::trim);
    let names: BTreeSet<&str> = names.filter(|name| !name.is_empty()).collect();
    if names.is_empty() {
        return Ok(Tables::All);
    }
    if names.len() > MAX_COLLECTIONS {
        return Err(Refusal::Parameter(format!(
            "name at most {MAX_COLLECTIONS} collections, or none for all"
        )));
    }
    let names = names
        .into_iter()
        .filter_map(|name| TableName::new(name).ok());
    Ok(Tables::Only(names.collect()))
}

#[cfg(test)]
mod tests {
    use axum::http;

    use super::*;

    fn asked(query: &str, last_event_id: Option<&str>) -> Result<Asked, String> {
        let mut request = http::Request::get(format!("/sync/todo/stream{query}"));
        if let Some(id) = last_event_id {
            request = request.header("Last-Event-ID", id);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        Asked::read(&parts).map_err(|refusal| refusal.to_string())
    }

    fn only(names: &[&str]) -> Tables {
        Tables::Only(
            names
                .iter()
                .map(|name| TableName::new(name).unwrap())
                .collect(),
        )
    }

    #[test]
    fn without_a_name_all_tables_are_meant() {
        for query in [
            "",
            "?",
            "?collections",
            "?collections=",
            "?collections=%20,,",
            "?other=x",
        ] {
            assert_eq!(asked(query, None).unwrap().tables, Tables::All, "{query}");
        }
    }

    #[test]
    fn names_are_trimmed_and_those_that_no_table_can_have_are_none() {
        let long = "x".repeat(257);
        let query = format!("?collections=%20notes%20,,tasks,notes,%00,{long}&collections=others");
        assert_eq!(
            asked(&query, None).unwrap().tables,
            only(&["notes", "tasks"])
        );
        assert_eq!(asked("?collections=%00", None).unwrap().tables, only(&[]));
    }

    #[test]
    fn there_are_at_most_256_names() {
        let names = |count: usize| (0..count).map(|n| format!("t{n},")).collect::<String>();
        assert!(asked(&format!("?collections={}", names(256)), None).is_ok());
        assert_eq!(
            asked(&format!("?collections={}", names(257)), None),
            Err("name at most 256 collections, or none for all".to_owned())
        );
    }

    #[test]
    fn the_last_event_id_wins_and_nonsense_is_the_beginning() {
        let (early, late) = (
            "2025-01-01T00:00:00.000000000Z",
            "2025-02-01T00:00:00.000000000Z",
        );
        let since = |query: &str, id| asked(query, id).unwrap().since;
        let query = format!("?since={early}");
        assert_eq!(since(&query, None), Cursor::parse(early));
        assert_eq!(since(&query, Some("")), Cursor::parse(early));
        assert_eq!(since(&query, Some(late)), Cursor::parse(late));
        assert_eq!(since(&query, Some("yesterday")), Cursor::BEGINNING);
        assert_eq!(since("?since=yesterday", None), Cursor::BEGINNING);
        assert_eq!(since("", None), Cursor::BEGINNING);
    }
}
