//! How a user stands, for whoever listens: the spaces that may be read, and whether the subscription is active. It is asked
//! for at the beginning, whenever it may have changed, and now and then in case nobody said so.

use std::collections::BTreeSet;
use std::time::Duration;

use sync_protocol::{AppId, SpaceId, UserId};
use sync_store::{DOUBT_MILLIS, StoreError};

use crate::random;
use crate::service::Shared;
use crate::task;
use crate::turns::UserTurns;

/// After how long it is asked for without a reason: sooner than what was last answered ceases to count, so that it is found
/// out within two minutes behind that.
const EVERY: Duration = Duration::from_secs(120);
/// After how long it is asked for again when a space was missing once: a second answer that lacks it counts.
const DOUBTED_EVERY: Duration = Duration::from_millis(DOUBT_MILLIS.unsigned_abs() + 1000);

/// How a user stands.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    /// The spaces that the user may read.
    pub(crate) spaces: BTreeSet<SpaceId>,
    /// Whether the subscription is active, or not needed.
    pub(crate) is_active: bool,
    /// After how long to ask again.
    pub(crate) again: Duration,
}

/// Asks how the user stands, for an app or all of them.
///
/// # Errors
///
/// The store does not say.
pub(crate) fn standing(
    service: &Shared,
    turns: &UserTurns,
    (user, app): (&UserId, Option<&AppId>),
) -> impl Future<Output = Result<Standing, StoreError>> + Send + use<> {
    let (service, user, turn) = (service.clone(), user.clone(), turns.take());
    let app = app.cloned();
    task::alone(async move {
        let is_active = service.is_active(&user, app.as_ref()).await;
        service.settle(&user).await;
        let _turn = turn.await;
        let grants = service.store.grants(user).await?;
        let is_doubted = grants.iter().any(|grant| grant.doubted.is_some());
        let held = grants.into_iter().filter(|grant| grant.role.is_some());
        Ok(Standing {
            spaces: held.map(|grant| grant.space).collect(),
            is_active,
            again: if is_doubted {
                DOUBTED_EVERY
            } else {
                random::shortened(EVERY)
            },
        })
    })
}
