//! `GET /sync/{appId}/pull?collection=&since=&limit=`: a page of what the client does not have yet of one table.
//!
//! - In: a token; `X-Client-Id`; `collection` and `since`, both required and not empty; a `since` that cannot be read is
//!   the beginning; `limit`, 1 to 1000. Of a parameter given twice the first counts; others are passed over.
//! - Out: 200 with an answer, to be repeated from its `syncedUntil` while `hasMore`. 401, then 429, 400 and 402; 503 and 500
//!   if the store does not answer.

use std::time::Instant;

use axum::extract::{Query, Request, State};
use axum::http::Uri;
use axum::response::Response;
use sync_protocol::{ClientId, TableName, Tables};
use sync_store::{Caller, Cursor, MAX_PAGE, PAGE_BYTES, Pull};

use crate::admit::admit;
use crate::error::Refusal;
use crate::metrics::Call;
use crate::reply;
use crate::service::Shared;

pub(crate) async fn pull(
    State(service): State<Shared>,
    request: Request,
) -> Result<Response, Refusal> {
    let (mut parts, _) = request.into_parts();
    let admitted = admit(&service, &mut parts).await?;
    let asked = Asked::read(&parts.uri)?;
    let pull = Pull {
        caller: Caller {
            user: admitted.user,
            client: admitted.client.unwrap_or_else(ClientId::nameless),
        },
        app: admitted.app,
        tables: Tables::one(asked.table),
        since: asked.since,
        limit: asked.limit,
        bytes: PAGE_BYTES,
        now: service.now(),
    };
    let began = Instant::now();
    let answer = service.store.pull(pull).await;
    service
        .metrics
        .waited(Call::Pull, began.elapsed(), answer.as_ref().err());
    let answer = answer?;
    service.metrics.answered(&answer);
    Ok(reply::ok(&answer))
}

/// The query, understood.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    table: TableName,
    since: Cursor,
    limit: usize,
}

impl Asked {
    fn read(uri: &Uri) -> Result<Self, Refusal> {
        let pairs = Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map_err(|_| Refusal::Parameter("the query cannot be read".to_owned()))?;
        let first = |name: &str| {
            let found = pairs.iter().find(|(own, _)| own == name);
            found.map(|(_, value)| value.as_str())
        };
        let given = |name| first(name).filter(|value| !value.is_empty());
        let (Some(table), Some(since)) = (given("collection"), given("since")) else {
            return Err(Refusal::Parameter(
                "missing collection or since parameter".to_owned(),
            ));
        };
        let table = TableName::new(table)
            .map_err(|error| Refusal::Parameter(format!("collection {error}")))?;
        Ok(Self {
            table,
            since: Cursor::parse(since),
            limit: first("limit").map_or(Ok(MAX_PAGE), limit)?,
        })
    }
}

fn limit(text: &str) -> Result<usize, Refusal> {
    let limit = text.parse().ok();
    limit
        .filter(|limit| (1..=MAX_PAGE).contains(limit))
        .ok_or_else(|| Refusal::Parameter(format!("limit must be a number from 1 to {MAX_PAGE}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(query: &str) -> Result<Asked, String> {
        let uri = format!("/sync/todo/pull{query}").parse().expect("a path");
        Asked::read(&uri).map_err(|refusal| refusal.to_string())
    }

    fn tasks(limit: usize) -> Asked {
        Asked {
            table: TableName::new("tasks").unwrap(),
            since: Cursor::BEGINNING,
            limit,
        }
    }

    #[test]
    fn collection_and_since_are_required() {
        let missing = Err("missing collection or since parameter".to_owned());
        for query in [
            "",
            "?",
            "?collection=tasks",
            "?since=x",
            "?collection=&since=x",
            "?collection=tasks&since=",
            "?collection&since=x",
        ] {
            assert_eq!(asked(query), missing, "{query}");
        }
    }

    #[test]
    fn the_first_of_two_counts_and_nonsense_is_the_beginning() {
        let query =
            "?collection=tasks&since=nonsense&collection=other&since=2025-01-01T00:00:00Z&x=1";
        assert_eq!(asked(query), Ok(tasks(1000)));
    }

    #[test]
    fn a_limit_is_a_number_from_1_to_1000() {
        for limit in [1, 1000] {
            let query = format!("?collection=tasks&since=0&limit={limit}");
            assert_eq!(asked(&query), Ok(tasks(limit)));
        }
        for limit in ["", "0", "1001", "-1", "1.5", "x", "99999999999999999999999"] {
            let query = format!("?collection=tasks&since=0&limit={limit}");
            let refused = Err("limit must be a number from 1 to 1000".to_owned());
            assert_eq!(asked(&query), refused, "{limit}");
        }
    }

    #[test]
    fn a_query_is_decoded_as_forms_are() {
        let query = "?collection=a%2Cb+%26%20c%C3%A9&since=0";
        assert_eq!(asked(query).unwrap().table.as_str(), "a,b & cé");
    }

    #[test]
    fn a_collection_is_an_identifier() {
        for (name, why) in [
            ("a".repeat(257), "is longer than 256 bytes"),
            (
                "%00".to_owned(),
                "has a control character or a lone surrogate",
            ),
        ] {
            let query = format!("?collection={name}&since=0");
            assert_eq!(asked(&query), Err(format!("collection {why}")));
        }
    }
}
