//! Who may read from the store for streams and sockets, and when: a few at a time, and of each user fewer.
//!
//! Told of something all at once, ten thousand streams must leave room for pushes and pulls; and one user with hundreds of them
//! must leave room for other users. Large parts of streams that are not yet on their way are counted by themselves, a few for
//! each user: who does not read what was asked for holds no more than those, and keeps nothing else from being read.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use sync_protocol::UserId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many reads one user may have at a time.
const READS: usize = 4;
/// How many large parts of one user may wait to be sent.
const PARTS: usize = 8;

/// The turns of a node.
#[derive(Debug)]
pub(crate) struct Turns {
    all: Arc<Semaphore>,
    of_users: Mutex<HashMap<UserId, Weak<Own>>>,
}

/// What one user may have.
#[derive(Debug)]
struct Own {
    reads: Arc<Semaphore>,
    parts: Arc<Semaphore>,
}

/// The turns of one user. It is there as long as one of the user's connections is.
#[derive(Debug)]
pub(crate) struct UserTurns {
    turns: Arc<Turns>,
    user: UserId,
    own: Arc<Own>,
}

/// Leave to read.
#[derive(Debug)]
pub(crate) struct Turn {
    _own: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

/// Leave to hold a large part.
pub(crate) type Part = OwnedSemaphorePermit;

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
            let own = Arc::new(Own {
                reads: Arc::new(Semaphore::new(READS)),
                parts: Arc::new(Semaphore::new(PARTS)),
            });
            of_users.insert(user.clone(), Arc::downgrade(&own));
            own
        });
        UserTurns {
            turns: Arc::clone(self),
            user: user.clone(),
            own,
        }
    }

    fn of_users(&self) -> MutexGuard<'_, HashMap<UserId, Weak<Own>>> {
        self.of_users.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UserTurns {
    /// Waits for a turn to read: first among the user's own, then among all.
    pub(crate) fn take(&self) -> impl Future<Output = Turn> + Send + use<> {
        let (own, all) = (Arc::clone(&self.own.reads), Arc::clone(&self.turns.all));
        async move {
            Turn {
                _own: own.acquire_owned().await.expect(NEVER_CLOSED),
                _all: all.acquire_owned().await.expect(NEVER_CLOSED),
            }
        }
    }

    /// Leave to hold a large part, if there is some left.
    pub(crate) fn try_part(&self) -> Option<Part> {
        Arc::clone(&self.own.parts).try_acquire_owned().ok()
    }

    /// Waits for leave to hold a large part.
    pub(crate) async fn part(&self) -> Part {
        let part = Arc::clone(&self.own.parts).acquire_owned().await;
        part.expect(NEVER_CLOSED)
    }
}

const NEVER_CLOSED: &str = "the semaphores are never closed";

impl Drop for UserTurns {
    fn drop(&mut self) {
        let mut of_users = self.turns.of_users();
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
        let turns = Turns::new(READS + 1);
        let (anna, ben) = (turns.of(&user("anna")), turns.of(&user("ben")));
        let mut held = Vec::new();
        for _ in 0..READS {
            held.push(anna.take().await);
        }
        let mut waiting = Box::pin(turns.of(&user("anna")).take());
        assert!(poll_immediate(&mut waiting).await.is_none());
        held.push(ben.take().await);
        held.remove(0);
        waiting.await;
    }

    #[tokio::test]
    async fn parts_that_wait_keep_nobody_from_reading() {
        let turns = Turns::new(1);
        let (anna, ben) = (turns.of(&user("anna")), turns.of(&user("ben")));
        let mut held: Vec<_> = (0..PARTS).map(|_| anna.try_part().unwrap()).collect();
        assert!(anna.try_part().is_none());
        assert!(ben.try_part().is_some());
        drop(anna.take().await);
        held.pop();
        held.push(anna.part().await);
    }

    #[tokio::test]
    async fn nothing_stays_of_a_user_who_is_gone() {
        let turns = Turns::new(1);
        let (one, other) = (turns.of(&user("anna")), turns.of(&user("anna")));
        drop(one.take().await);
        let _part = one.try_part();
        drop(one);
        assert_eq!(turns.of_users().len(), 1);
        drop(other);
        assert_eq!(turns.of_users().len(), 0);
    }
}
