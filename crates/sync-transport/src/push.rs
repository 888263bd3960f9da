//! `POST /sync/{appId}`: takes a changeset and answers with what the client does not have yet.
//!
//! - In: a token; `X-Client-Id`, which wins over the body's `clientId`; a changeset as JSON, whatever the content type
//!   says, plain or packed with gzip or zstd, at most 10 MiB before and after.
//! - Out: 200 with an answer. 401 without looking at the body; 400, 408, 413, 415 for the body; 503 and 500 if the store
//!   does not take it. A push that is refused has stored nothing; sending one again is free.

use std::time::Instant;

use axum::extract::{Request, State};
use axum::response::Response;
use sync_protocol::{Changeset, EventIds};
use sync_store::{Caller, Cursor, Push};

use crate::admit::{Admitted, admit};
use crate::error::Refusal;
use crate::metrics::Call;
use crate::service::{Service, Shared};
use crate::{body, random, reply};

pub(crate) async fn push(
    State(service): State<Shared>,
    request: Request,
) -> Result<Response, Refusal> {
    let (mut parts, packed) = request.into_parts();
    let admitted = match admit(&service, &mut parts).await {
        Ok(admitted) => admitted,
        Err(refusal) => {
            body::drain(&parts.headers, packed).await;
            return Err(refusal);
        }
    };
    let parse = |bytes: &[u8]| Ok(Changeset::parse(bytes)?);
    // What is held is given back with the answer: until then the changes are in memory.
    let (changeset, _held) = body::read(&service, &parts.headers, packed, parse).await?;
    let push = assemble(&service, admitted, changeset)?;
    let sent = push.changes.len() + push.parked.len();
    let began = Instant::now();
    let pushed = service.store.push(push).await;
    service
        .metrics
        .waited(Call::Push, began.elapsed(), pushed.as_ref().err());
    let pushed = pushed?;
    service.metrics.pushed(sent, &pushed);
    Ok(reply::ok(&pushed.answer))
}

fn assemble(service: &Service, admitted: Admitted, changeset: Changeset) -> Result<Push, Refusal> {
    let now = service.now();
    let seed =
        random::bits().map_err(|error| Refusal::Broken(format!("no randomness: {error}")))?;
    Ok(Push {
        caller: Caller {
            user: admitted.user,
            client: admitted.client.unwrap_or(changeset.client),
        },
        app: admitted.app,
        since: Cursor::parse(&changeset.since),
        changes: changeset.changes,
        parked: changeset.parked,
        now,
        ids: EventIds::new(now, seed),
    })
}
