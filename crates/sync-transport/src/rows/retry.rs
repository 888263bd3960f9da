//! `POST /admin/materialize-failures/retry`: tries once more to write a row of the user into its business table, as it is now.
//!
//! - In: a token that names a device; the number of the failure as `?id=`, or as `{"id":n}` if that is missing or 0.
//! - Out: 200 with what became of it, also if it failed again. 401 and 429; 400 without a number; 404 if the user has no such
//!   failure; 409 at once if another retry of it is under way; 500 if nobody writes rows of its table any more; 503 and 500
//!   if the store does not answer.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::response::Response;
use serde::Deserialize;
use sync_store::{Retried, Retry};

use super::{Parameters, admit, ask};
use crate::error::Refusal;
use crate::metrics::Call;
use crate::service::Shared;
use crate::{body, reply, task};

#[derive(Deserialize)]
struct Asked {
    id: Option<i64>,
}

pub(crate) async fn retry(
    State(service): State<Shared>,
    request: Request,
) -> Result<Response, Refusal> {
    let (parts, packed) = request.into_parts();
    let caller = match admit(&service, &parts).await {
        Ok(caller) => caller,
        Err(refusal) => {
            body::drain(&parts.headers, packed).await;
            return Err(refusal);
        }
    };
    let retry = Retry {
        user: caller.user,
        id: id(&service, &parts, packed).await?,
        now: service.now(),
    };
    // It is done to its end, whether or not the client is still there.
    let task =
        tokio::spawn(async move { ask(&service, Call::Retry, service.store.retry(retry)).await });
    match task::outcome(task).await?? {
        Retried::Done(answer) => Ok(reply::ok(&answer)),
        Retried::Unknown => Err(Refusal::UnknownFailure),
        Retried::Busy => Err(Refusal::RetryBusy),
        Retried::NoHandler(app, table) => Err(Refusal::NoHandler(app, table)),
    }
}

/// The number that the query or the body names.
async fn id(service: &Shared, parts: &Parts, packed: Body) -> Result<i64, Refusal> {
    let parameters = Parameters::of(&parts.uri)?;
    let named = parameters.first("id").and_then(|text| text.parse().ok());
    if let Some(id) = named.filter(|id| *id != 0) {
        body::drain(&parts.headers, packed).await;
        return Ok(id);
    }
    let (asked, _slot) = body::read(service, &parts.headers, packed, parse).await?;
    asked.id.filter(|id| *id != 0).ok_or_else(missing)
}

fn parse(bytes: &[u8]) -> Result<Asked, Refusal> {
    serde_json::from_slice(bytes).map_err(|_| missing())
}

fn missing() -> Refusal {
    Refusal::Request("name the failure, as ?id=1 or {\"id\":1}".to_owned())
}
