//! `POST /sync/{appId}`: takes a changeset and answers with what the client does not have yet.
//!
//! - In: a token; `X-Client-Id`, which wins over the body's `clientId`; a changeset as JSON, whatever the content type
//!   says, plain or packed with gzip or zstd, at most 10 MiB before and after.
//! - Out: 200 with an answer. 401, 402 and 429 without looking at the body; 400, 408, 413, 415 for the body; 503 and 500
//!   if the store does not take it. A push that is refused has stored nothing; sending one again is free.

use std::collections::BTreeSet;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::response::Response;
use sync_protocol::{Changeset, EventIds, SpaceId};
use sync_store::{Caller, Cursor, Grant, Push, Pushed, Role, StoreError};

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
    match admit(&service, &mut parts).await {
        Ok(admitted) => take(service, admitted, &parts.headers, packed).await,
        Err(refusal) => {
            body::drain(&parts.headers, packed).await;
            Err(refusal)
        }
    }
}

/// Takes the changeset of whoever was admitted.
pub(crate) async fn take(
    service: Shared,
    admitted: Admitted,
    headers: &HeaderMap,
    packed: Body,
) -> Result<Response, Refusal> {
    let parse = |bytes: &[u8]| Ok(Changeset::parse(bytes)?);
    let (changeset, slot) = body::read(&service, headers, packed, parse).await?;
    let push = assemble(&service, admitted, changeset)?;
    let sent = push.changes.len() + push.parked.len();
    // The store has the changes in memory until it has answered, whether or not the client is still there to hear it: so
    // long the slot is held. The task ends with the store's call, which has its own time limits.
    let task = tokio::spawn(async move {
        ask_about_spaces(&service, &push).await?;
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

/// Where a change names a space into which the grants do not let its author write, the membership service is asked once
/// more, before the store decides.
async fn ask_about_spaces(service: &Service, push: &Push) -> Result<(), StoreError> {
    let user = &push.caller.user;
    let named: BTreeSet<_> = push
        .changes
        .iter()
        .filter_map(|change| change.shared_space())
        .collect();
    let Some(memberships) = service.memberships.as_ref().filter(|_| !named.is_empty()) else {
        return Ok(());
    };
    let grants = service.store.grants(user.clone()).await?;
    let may_write = |space: &SpaceId| {
        let writes = |grant: &Grant| grant.space == *space && grant.role == Some(Role::Writer);
        grants.iter().any(writes)
    };
    if !named.into_iter().all(may_write) {
        // If the service does not say, the grants stand.
        let _ = memberships.settle_anew(user).await;
    }
    Ok(())
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
