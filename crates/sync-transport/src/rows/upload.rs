//! `POST /sync/upload`: takes changes of whole rows and says of each what became of it.
//!
//! - In: a token that names a device; `{"changes":[…]}` as JSON, whatever the content type says, plain or packed with gzip or
//!   zstd, at most 10 MiB before and after. Who writes is said by the token alone.
//! - Out: 200 with a status for each change, in their order, also if none was taken. 401 and 429 without looking at the body;
//!   400, 408, 413, 415 for the body; 402 if it is for an app that needs a subscription; 503 and 500 if the store does not
//!   take it. An upload that is refused has stored nothing; sending one again is free. Clients of this dialect send fewer
//!   changes at once when they are told `batch_too_large`, and only then: so they are where the store takes up no more.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::response::Response;
use sync_protocol::rows::{RowChange, RowUpload, UploadAnswer};
use sync_protocol::{AppId, EventIds, UserId};
use sync_store::{Caller, StoreError, Upload, Uploaded};

use super::{admit, ask};
use crate::announce::announce;
use crate::error::Refusal;
use crate::metrics::Call;
use crate::service::{Service, Shared};
use crate::{body, random, reply, task};

pub(crate) async fn upload(
    State(service): State<Shared>,
    request: Request,
) -> Result<Response, Refusal> {
    let (parts, packed) = request.into_parts();
    match admit(&service, &parts).await {
        Ok(caller) => take(service, caller, &parts.headers, packed).await,
        Err(refusal) => {
            body::drain(&parts.headers, packed).await;
            Err(refusal)
        }
    }
}

async fn take(
    service: Shared,
    caller: Caller,
    headers: &HeaderMap,
    packed: Body,
) -> Result<Response, Refusal> {
    let parse = |bytes: &[u8]| Ok(RowUpload::parse(bytes)?);
    let (upload, slot) = body::read(&service, headers, packed, parse).await?;
    if !may_upload(&service, &caller.user, &upload.changes).await {
        return Err(Refusal::Inactive);
    }
    let ids = upload.changes.iter().map(|change| change.source_change_id);
    let ids: Vec<i64> = ids.collect();
    let upload = assemble(&service, caller, upload.changes)?;
    // As of a push: the store goes on whether or not the client is still there, and so long the slot is held.
    let task = tokio::spawn(async move {
        let caller = upload.caller.clone();
        let uploaded = ask(&service, Call::Upload, service.store.upload(upload)).await;
        drop(slot);
        let Uploaded { answer, touched } = match uploaded {
            Err(StoreError::TooLarge(text)) => {
                return Ok(UploadAnswer::batch_too_large(&ids, &text));
            }
            uploaded => uploaded?,
        };
        service.metrics.uploaded(ids.len());
        for (app, touched) in touched {
            announce(&service, &caller, &app, vec![touched]);
        }
        Ok::<_, StoreError>(answer)
    });
    let answer = task::outcome(task).await??;
    Ok(reply::ok(&answer))
}

/// Whether the subscription of a user lets all of these changes in. A change that names no app asks for none.
async fn may_upload(service: &Service, user: &UserId, changes: &[RowChange]) -> bool {
    let named: BTreeSet<_> = changes.iter().filter_map(app_of).collect();
    let is_free = match named.is_empty() {
        true => service.has_exempt_app(None),
        false => named.into_iter().all(|app| service.is_exempt(app)),
    };
    is_free || service.is_active(user, None).await
}

fn app_of(change: &RowChange) -> Option<&AppId> {
    match &change.edit {
        Ok(edit) => Some(&edit.app),
        Err(bad) => bad.app.as_ref(),
    }
}

fn assemble(service: &Service, caller: Caller, changes: Vec<RowChange>) -> Result<Upload, Refusal> {
    let now = service.now();
    let seed =
        random::bits().map_err(|error| Refusal::Broken(format!("no randomness: {error}")))?;
    Ok(Upload {
        caller,
        changes,
        tables: service.rows.clone(),
        now,
        ids: EventIds::new(now, seed),
    })
}
