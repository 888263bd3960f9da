//! Takes over what the membership service says of a user: into the store, to whoever listens, and for what was kept for
//! the user alone until then.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use sync_access::{Clock, Membership, Take};
use sync_notify::{Hub, News, Relay};
use sync_protocol::{EventIds, UserId};
use sync_store::{
    DOUBT_MILLIS, Membership as Word, Occasion, PROMOTION_BATCH, Position, Promoted, Promotion,
    Regranted, Role, Store, StoreError,
};
use tokio::time::timeout;

use crate::announce::announce_touched;
use crate::random;

/// For how long an answer counts (`wire.md`, Settings).
const COUNTS: Duration = Duration::from_secs(300);
/// For how long one counts that lacks a space: then a second one says whether it is so.
const DOUBTED_COUNTS: Duration = Duration::from_millis(DOUBT_MILLIS.unsigned_abs());
/// For how long one answer lets out what was kept for a user alone: requests of the user wait for it. A batch that is under
/// way then goes on or is rolled back; the next answer lets out the rest.
const PROMOTION_TIME: Duration = Duration::from_secs(10);

/// Keeps grants as the membership service says.
#[derive(Clone)]
pub struct Members {
    /// Where grants are kept.
    pub store: Arc<dyn Store>,
    /// Those who listen here.
    pub hub: Arc<Hub>,
    /// Those who listen on other nodes.
    pub relay: Option<Arc<dyn Relay>>,
    /// The time of day.
    pub clock: Clock,
    /// The roles that write; all others read.
    pub write_roles: BTreeSet<String>,
}

impl Members {
    /// What hands answers over to these.
    #[must_use]
    pub fn take(self) -> Take {
        Arc::new(move |membership| {
            let members = self.clone();
            Box::pin(async move { members.takes(membership).await })
        })
    }

    async fn takes(&self, membership: Membership) -> Option<Duration> {
        let user = membership.user.clone();
        let word = self.understood(membership);
        let is_writer = word.spaces.values().any(|role| *role == Role::Writer);
        let taken = async {
            let regranted = self.store.regrant(word, (self.clock)()).await?;
            if regranted.has_changed() {
                tell(&self.hub, self.relay.as_deref(), &user);
            }
            Ok::<Regranted, StoreError>(regranted)
        };
        match taken.await {
            Ok(regranted) => {
                if is_writer {
                    self.let_out(&user).await;
                }
                let is_sure = regranted.doubted.is_empty();
                Some(if is_sure { COUNTS } else { DOUBTED_COUNTS })
            }
            Err(error) => {
                tracing::warn!(%error, "an answer about memberships was not taken over");
                None
            }
        }
    }

    fn understood(&self, membership: Membership) -> Word {
        let role = |roles: BTreeSet<String>| {
            let writes = !roles.is_disjoint(&self.write_roles);
            if writes { Role::Writer } else { Role::Reader }
        };
        let spaces = membership.spaces.into_iter();
        Word {
            user: membership.user,
            spaces: spaces.map(|(space, roles)| (space, role(roles))).collect(),
            asked: membership.asked,
            occasion: if membership.announced {
                Occasion::Announcement
            } else {
                Occasion::Refresh
            },
        }
    }

    /// Lets out what was kept for the user alone, for as long as requests may wait for it. The answer stands whatever becomes
    /// of that: what is left is tried with the next one.
    async fn let_out(&self, user: &UserId) {
        match timeout(PROMOTION_TIME, self.promote(user)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, "what was kept for a user alone stays so for now");
            }
            Err(_) => tracing::info!("more was kept for a user alone than one answer lets out"),
        }
    }

    /// Lets out what was kept for the user alone, where the user may write by now.
    async fn promote(&self, user: &UserId) -> Result<(), StoreError> {
        let (mut after, mut limit) = (Position(0), PROMOTION_BATCH);
        loop {
            let promoted = match self.promote_batch(user, after, limit).await {
                // So many hold too much for one batch; each alone has room.
                Err(StoreError::TooLarge(_)) if limit > 1 => {
                    limit = 1;
                    continue;
                }
                promoted => promoted?,
            };
            if let Some((app, touched)) = promoted.touched {
                announce_touched(&self.hub, self.relay.as_deref(), None, &app, touched);
            }
            match promoted.next {
                Some(next) => after = next,
                None => return Ok(()),
            }
        }
    }

    async fn promote_batch(
        &self,
        user: &UserId,
        after: Position,
        limit: usize,
    ) -> Result<Promoted, StoreError> {
        let now = (self.clock)();
        let bits =
            random::bits().map_err(|error| StoreError::fault(format!("no randomness: {error}")))?;
        let promotion = Promotion {
            user: user.clone(),
            after,
            limit,
            now,
            ids: EventIds::new(now, bits),
        };
        self.store.promote(promotion).await
    }
}

/// Tells whoever listens for a user that the spaces are others than before.
pub(crate) fn tell(hub: &Hub, relay: Option<&dyn Relay>, user: &UserId) {
    let news = News::Access(user.clone());
    hub.announce(&news);
    if let Some(relay) = relay {
        relay.publish(news);
    }
}
