//! `GET /admin/materialize-failures?schema=&table=&limit=`: the user's own rows that could not be written into their business
//! tables, those that failed last first.
//!
//! - In: a token that names a device; `schema` and `table`, exactly; `limit`, 1 to 1000, and 100 if it is anything else.
//! - Out: 200 with an array. 401 and 429; 503 and 500 if the store does not answer.

use axum::extract::{Request, State};
use axum::response::Response;
use sync_store::FailureList;

use super::{Parameters, admit, ask};
use crate::error::Refusal;
use crate::metrics::Call;
use crate::reply;
use crate::service::Shared;

const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 1000;

pub(crate) async fn failures(
    State(service): State<Shared>,
    request: Request,
) -> Result<Response, Refusal> {
    let (parts, _) = request.into_parts();
    let caller = admit(&service, &parts).await?;
    let parameters = Parameters::of(&parts.uri)?;
    let given = |name| {
        let text = parameters.first(name).filter(|text| !text.is_empty());
        text.map(str::to_owned)
    };
    let list = FailureList {
        user: caller.user,
        app: given("schema"),
        table: given("table"),
        limit: limit(parameters.first("limit")),
    };
    let found = ask(&service, Call::Failures, service.store.failures(list)).await?;
    Ok(reply::ok(&found))
}

fn limit(text: Option<&str>) -> usize {
    let limit = text.and_then(|text| text.parse().ok());
    let limit = limit.filter(|limit| (1..=MAX_LIMIT).contains(limit));
    limit.unwrap_or(DEFAULT_LIMIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_is_none_is_100() {
        for (text, expected) in [
            (None, 100),
            (Some("1"), 1),
            (Some("1000"), 1000),
            (Some(""), 100),
            (Some("0"), 100),
            (Some("-1"), 100),
            (Some("1001"), 100),
            (Some("1.5"), 100),
            (Some("many"), 100),
        ] {
            assert_eq!(limit(text), expected, "{text:?}");
        }
    }
}
