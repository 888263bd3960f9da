//! The spaces that a user may see, for whoever listens: asked for at the beginning, whenever they may have changed, and now
//! and then in case nobody said so.

use std::collections::BTreeSet;
use std::time::Duration;

use sync_protocol::{SpaceId, UserId};
use sync_store::StoreError;

use crate::service::Shared;
use crate::task;
use crate::turns::UserTurns;

/// After how long they are asked for without a reason.
pub(crate) const GRANTS_EVERY: Duration = Duration::from_secs(300);

/// The spaces of the user's grants.
///
/// # Errors
///
/// The store does not say.
pub(crate) fn spaces(
    service: &Shared,
    turns: &UserTurns,
    user: &UserId,
) -> impl Future<Output = Result<BTreeSet<SpaceId>, StoreError>> + Send + use<> {
    let (service, user, turn) = (service.clone(), user.clone(), turns.take());
    task::alone(async move {
        let _turn = turn.await;
        let grants = service.store.grants(user).await?;
        Ok(grants.into_iter().map(|grant| grant.space).collect())
    })
}
