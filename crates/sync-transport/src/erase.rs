//! `DELETE /internal/users/{userId}` and `DELETE /internal/spaces/{spaceId}`: erases a user or a space for good.
//!
//! - In: `X-Service-Key`.
//! - Out: 200 with what was removed, when nothing is left. 202 if it takes longer: it goes on, and whoever asks again hears
//!   when it is done. 401 for the key, 400 for the name; 503 if the store is away: what was removed stays removed, and asking
//!   again goes on. A user's connections are closed first, on all nodes, and once more at the end.

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use serde::Serialize;
use sync_notify::News;
use sync_protocol::{Audience, UserId};
use sync_store::{Erased, Erasure, StoreError};
use tokio::time::timeout;

use crate::error::Refusal;
use crate::members::tell;
use crate::service::{Service, Shared};
use crate::{internal, random, reply, task};

/// What was removed.
#[derive(Serialize)]
struct Removed {
    /// Rows of the log.
    changes: usize,
    records: usize,
    parked: usize,
    grants: usize,
    /// Rows that stay in spaces, without their author's name.
    anonymized: usize,
    /// Records that have forgotten what the user claimed.
    claims: usize,
}

/// It is not done yet.
#[derive(Serialize)]
struct Going {
    status: &'static str,
    message: &'static str,
}

pub(crate) async fn user(
    State(service): State<Shared>,
    request: Request,
) -> Result<Response, Refusal> {
    let (mut parts, _) = request.into_parts();
    internal::caller(&service, &parts.headers)?;
    let of = internal::user(&mut parts).await?;
    erase(service, &parts, of).await
}

pub(crate) async fn space(
    State(service): State<Shared>,
    request: Request,
) -> Result<Response, Refusal> {
    let (mut parts, _) = request.into_parts();
    internal::caller(&service, &parts.headers)?;
    let of = internal::space(&mut parts).await?;
    erase(service, &parts, of).await
}

async fn erase(service: Shared, parts: &Parts, of: Audience) -> Result<Response, Refusal> {
    internal::note(parts, &of);
    let bits = random::bits();
    let bits = bits.map_err(|error| Refusal::Broken(format!("no randomness: {error}")))?;
    let pseudonym = u64::try_from(bits >> 64).unwrap_or_default();
    let erasure = Erasure::new(of, pseudonym, service.now());
    // It goes on when the caller does not, until the store has done it or fails.
    let patience = service.limits.request / 2;
    let work = tokio::spawn(async move { work(&service, erasure).await });
    match timeout(patience, task::outcome(work)).await {
        Ok(erased) => Ok(reply::ok(&Removed::from(erased??))),
        Err(_) => {
            let going = Going {
                status: "erasing",
                message: "it goes on here: ask again until the answer is 200",
            };
            Ok(reply::with_status(StatusCode::ACCEPTED, &going))
        }
    }
}

/// One after the other: who asks again while it goes on waits for it, and then for what is left.
async fn work(service: &Shared, erasure: Erasure) -> Result<Erased, StoreError> {
    let _alone = service.erasing.lock().await;
    let of = erasure.of.clone();
    part(service, &of);
    let tell_members = |batch: &Erased| batch.left.iter().for_each(|user| leave(service, user));
    let erased = sync_store::erase(&*service.store, erasure, tell_members).await;
    if let Err(error) = &erased {
        tracing::warn!(%error, "an erasure has stopped; it goes on when it is asked for again");
    }
    // Whoever came meanwhile goes, too.
    part(service, &of);
    erased
}

/// Closes what a user has open, and forgets it here.
fn part(service: &Service, of: &Audience) {
    let Audience::User(user) = of else {
        return;
    };
    forget(service, user);
    let news = News::Gone(user.clone());
    service.hub.announce(&news);
    if let Some(relay) = &service.relay {
        relay.publish(news);
    }
}

/// A member has lost its space.
fn leave(service: &Service, user: &UserId) {
    if let Some(memberships) = &service.memberships {
        memberships.forget(user);
    }
    tell(&service.hub, service.relay.as_deref(), user);
}

fn forget(service: &Service, user: &UserId) {
    if let Some(billing) = &service.billing {
        billing.forget(user);
    }
    if let Some(memberships) = &service.memberships {
        memberships.forget(user);
    }
}

impl From<Erased> for Removed {
    fn from(erased: Erased) -> Self {
        Self {
            changes: erased.rows,
            records: erased.records,
            parked: erased.parked,
            grants: erased.grants,
            anonymized: erased.renamed,
            claims: erased.claims,
        }
    }
}
