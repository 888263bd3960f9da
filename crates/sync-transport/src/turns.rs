//! Who may read from the store for streams and sockets, and when: a few at a time, and of each user fewer.
//!
//! Told of something all at once, ten thousand streams must leave room for pushes and pulls; and one user with hundreds of them
//! must leave room for other users. A part of a stream that is large counts for its user until it is on its way, so that a
//! user who does not read what was asked for holds no more than a few.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use sync_protocol::UserId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many reads, and large parts that are not yet on their way, one user may have.
const OF_A_USER: usize = 4;

/// The turns of a node.
#[derive(Debug)]
pub(crate) struct Turns {
    all: Arc<Semaphore>,
    of_users: Mutex<HashMap<UserId, Weak<Semaphore>>>,
}

/// The turns of one user. It is there as long as one of the user's connections is.
#[derive(Debug)]
pub(crate) struct UserTurns {
    turns: Arc<Turns>,
    user: UserId,
    own: Arc<Semaphore>,
}

/// Leave to read.
#[derive(Debug)]
pub(crate) struct Turn {
    /// The user's, which may be kept after the read.
    pub(crate) own: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

impl Turns {
    /// So many reads at a time.
    pub(crate) fn new(reads: usize) -> Arc<Self> {
        let reads = reads.clamp(1, Semaphore::MAX_PERMITS);
        Arc::new(Self {
            all: Arc::new(Semaphore::new(reads)),
            of_users: Mutex::default(),
        })
    }

    /// Those of a user.
    pub(crate) fn of(self: &Arc<Self>, user: &UserId) -> UserTurns {
        let mut of_users = self.of_users();
        let known = of_users.get(user).and_then(Weak::upgrade);
        let own = known.unwrap_or_else(|| {
            let own = Arc::new(Semaphore::new(OF_A_USER));
            // Of users whose last permit outlived their last connection something is left here.
            if of_users.len().is_power_of_two() {
                of_users.retain(|_, own| own.strong_count() > 0);
            }
            of_users.insert(user.clone(), Arc::downgrade(&own));
            own
        });
        UserTurns {
            turns: Arc::clone(self),
            user: user.clone(),
            own,
        }
    }

    fn of_users(&self) -> MutexGuard<'_, HashMap<UserId, Weak<Semaphore>>> {
        self.of_users.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UserTurns {
    /// Waits for a turn: first among the user's own, then among all.
    pub(crate) fn take(&self) -> impl Future<Output = Turn> + Send + use<> {
        let (own, all) = (Arc::clone(&self.own), Arc::clone(&self.turns.all));
        async move {
            let never = "the semaphores are never closed";
            Turn {
                own: own.acquire_owned().await.expect(never),
                _all: all.acquire_owned().await.expect(never),
            }
        }
    }
}

impl Drop for UserTurns {
    fn drop(&mut self) {
        let mut of_users = self.turns.of_users();
        // Permits that are out keep the semaphore alive; the next of the user finds it.
        if let Entry::Occupied(own) = of_users.entry(self.user.clone())
            && Arc::strong_count(&self.own) == 1
        {
            own.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::poll_immediate;

    use super::*;

    fn user(name: &str) -> UserId {
        UserId::new(name).unwrap()
    }

    #[tokio::test]
    async fn one_user_leaves_room_for_others() {
        let turns = Turns::new(OF_A_USER + 1);
        let (anna, ben) = (turns.of(&user("anna")), turns.of(&user("ben")));
        let mut held = Vec::new();
        for _ in 0..OF_A_USER {
            held.push(anna.take().await);
        }
        let mut waiting = Box::pin(turns.of(&user("anna")).take());
        assert!(poll_immediate(&mut waiting).await.is_none());
        held.push(ben.take().await);
        held.remove(0);
        waiting.await;
    }

    #[tokio::test]
    async fn what_is_kept_counts_for_its_user_alone() {
        let turns = Turns::new(1);
        let (anna, ben) = (turns.of(&user("anna")), turns.of(&user("ben")));
        let Turn { own, _all } = anna.take().await;
        drop(_all);
        drop(ben.take().await);
        drop(own);
    }

    #[tokio::test]
    async fn nothing_stays_of_a_user_who_is_gone() {
        let turns = Turns::new(1);
        let (one, other) = (turns.of(&user("anna")), turns.of(&user("anna")));
        drop(one.take().await);
        drop(one);
        assert_eq!(turns.of_users().len(), 1);
        drop(other);
        assert_eq!(turns.of_users().len(), 0);
    }
}
