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
use sync_store::{Caller, Cursor, Push, Pushed, StoreError};

use crate::admit::{Admitted, admit};
use crate::announce::announce;
use crate::error::Refusal;
use crate::metrics::Call;
use crate::service::{Service, Shared};
use crate::{body, random, reply, task};

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
    let (changeset, slot) = body::read(&service, &parts.headers, packed, parse).await?;
    let push = assemble(&service, admitted, changeset)?;
    let sent = push.changes.len() + push.parked.len();
    // The store has the changes in memory until it has answered, whether or not the client is still there to hear it: so
    // long the slot is held. The task ends with the store's call, which has its own time limits.
    let task = tokio::spawn(async move {
        let (caller, app) = (push.caller.clone(), push.app.clone());
        let pushed = store(&service, push, sent).await;
        drop(slot);
        let Pushed {
            answer, touched, ..
        } = pushed?;
        announce(&service, &caller, &app, touched);
        Ok::<_, StoreError>(answer)
    });
    let answer = task::outcome(task).await??;
    Ok(reply::ok(&answer))
}

async fn store(service: &Service, push: Push, sent: usize) -> Result<Pushed, StoreError> {
    let began = Instant::now();
    let pushed = service.store.push(push).await;
    let failed = pushed.as_ref().err();
    service.metrics.waited(Call::Push, began.elapsed(), failed);
    let pushed = pushed?;
    service.metrics.pushed(sent, &pushed);
    Ok(pushed)
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
