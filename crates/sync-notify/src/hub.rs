//! The listeners of this node, by what they may see.
//!
//! A notice finds its listeners by one look into one shard, and costs nothing for those who are not concerned. No lock is
//! held while anything waits: a shard's while mailboxes are filled, a mailbox's while it is filled or emptied.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sync_protocol::{Audience, UserId};
use tokio::sync::Notify;

use crate::heard::{Heard, Source};
use crate::mailbox::{Delivery, Mailbox};
use crate::{Interest, Listener, News, Notice};

/// How many locks the listeners are spread over.
const SHARDS: usize = 64;

/// The listeners of this node.
#[derive(Debug)]
pub struct Hub {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    most_per_user: usize,
    heard: Mutex<Heard>,
    looks: Looks,
    counts: Counts,
}

type Shard = HashMap<Audience, Vec<Arc<Mailbox>>>;

/// When to look at the log ahead of time, and how the looks went.
#[derive(Debug, Default)]
struct Looks {
    wanted: Notify,
    done: AtomicU64,
    failed: AtomicU64,
}

#[derive(Debug, Default)]
struct Counts {
    connections: AtomicUsize,
    users: AtomicUsize,
    woken: AtomicU64,
    merged: AtomicU64,
    found: AtomicU64,
}

/// Figures for operators; those that are no gauges count since the start of the node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Listeners, now.
    pub connections: usize,
    /// Users that have one or more, now.
    pub users: usize,
    /// Listeners that were idle and told of something.
    pub woken: u64,
    /// Listeners for which something was added to what waited already.
    pub merged: u64,
    /// Notices that a look at the log has found and nobody had told.
    pub found: u64,
    /// Looks at the log.
    pub looks: u64,
    /// Looks that failed.
    pub failed_looks: u64,
}

/// A user has as many connections as one may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crowded;

impl Hub {
    /// A hub at which one user may have so many listeners.
    #[must_use]
    pub fn new(most_per_user: usize) -> Arc<Self> {
        let shards = std::iter::repeat_with(Mutex::default).take(SHARDS);
        Arc::new(Self {
            shards: shards.collect(),
            hasher: RandomState::new(),
            most_per_user,
            heard: Mutex::default(),
            looks: Looks::default(),
            counts: Counts::default(),
        })
    }

    /// Listens for a user, who is verified, to what it alone may see; see [`Listener::set_spaces`] for the rest. Whatever is
    /// committed and announced from now on is told.
    ///
    /// # Errors
    ///
    /// [`Crowded`] if the user has too many already.
    pub fn listen(self: &Arc<Self>, interest: Interest) -> Result<Listener, Crowded> {
        let user = interest.user.clone();
        let mailbox = Arc::new(Mailbox::new(interest));
        let audience = Audience::User(user.clone());
        match self.shard(&audience).entry(audience) {
            Entry::Occupied(mut own) if own.get().len() < self.most_per_user => {
                own.get_mut().push(Arc::clone(&mailbox));
            }
            Entry::Vacant(own) if self.most_per_user > 0 => {
                own.insert(vec![Arc::clone(&mailbox)]);
                self.counts.users.fetch_add(1, Ordering::Relaxed);
            }
            _ => return Err(Crowded),
        }
        self.counts.connections.fetch_add(1, Ordering::Relaxed);
        Ok(Listener::new(Arc::clone(self), mailbox, user))
    }

    /// Tells the listeners of this node what was committed on it.
    pub fn announce(&self, news: &News) {
        self.hear(news.clone());
    }

    /// Tells the listeners of this node what was committed on another one.
    pub fn hear(&self, news: News) {
        match news {
            News::Changes(notice) => {
                let fresh = self.heard().news(notice, Source::Writer);
                if let Some(notice) = fresh {
                    self.tell(&notice);
                }
            }
            News::Access(user) => self.deliver(&Audience::User(user), Mailbox::access_changed),
            News::Gone(user) => self.deliver(&Audience::User(user), Mailbox::user_gone),
        }
    }

    /// Tells what a look at the log has found, as far as nobody has told it.
    pub fn find(&self, notices: Vec<Notice>) {
        for notice in notices {
            let fresh = self.heard().news(notice, Source::Look);
            if let Some(notice) = fresh {
                self.counts.found.fetch_add(1, Ordering::Relaxed);
                self.tell(&notice);
            }
        }
    }

    /// There will be looks at the log: what is told is remembered from now on, so that they do not tell it again.
    pub fn will_look(&self) {
        self.heard().begin();
    }

    /// A look at the log is done. The next one begins behind `floor`; positions are drawn at `clock` now.
    pub fn looked(&self, floor: i64, clock: i64) {
        self.looks.done.fetch_add(1, Ordering::Relaxed);
        self.heard().settle(floor, clock);
    }

    /// A look at the log came to nothing. The next one may find another log, so whatever it finds is told.
    pub fn look_failed(&self) {
        self.looks.failed.fetch_add(1, Ordering::Relaxed);
        self.heard().forget();
    }

    /// News may have been lost: the log is to be looked at now.
    pub fn may_have_missed(&self) {
        self.looks.wanted.notify_one();
    }

    /// Waits until news may have been lost.
    pub async fn look_wanted(&self) {
        self.looks.wanted.notified().await;
    }

    /// Figures for operators.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let Counts {
            connections,
            users,
            woken,
            merged,
            found,
        } = &self.counts;
        Figures {
            connections: connections.load(Ordering::Relaxed),
            users: users.load(Ordering::Relaxed),
            woken: woken.load(Ordering::Relaxed),
            merged: merged.load(Ordering::Relaxed),
            found: found.load(Ordering::Relaxed),
            looks: self.looks.done.load(Ordering::Relaxed),
            failed_looks: self.looks.failed.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn join(&self, audience: Audience, mailbox: &Arc<Mailbox>) {
        let mut shard = self.shard(&audience);
        shard.entry(audience).or_default().push(Arc::clone(mailbox));
    }

    /// Takes a mailbox out of an audience; says whether the audience is empty now.
    pub(crate) fn leave(&self, audience: &Audience, mailbox: &Arc<Mailbox>) -> bool {
        let mut shard = self.shard(audience);
        let Some(members) = shard.get_mut(audience) else {
            return false;
        };
        let place = members
            .iter()
            .position(|member| Arc::ptr_eq(member, mailbox));
        place.map(|place| members.swap_remove(place));
        let is_empty = members.is_empty();
        if is_empty {
            shard.remove(audience);
        }
        is_empty
    }

    /// A listener is gone.
    pub(crate) fn gone(&self, user: &UserId, mailbox: &Arc<Mailbox>) {
        if self.leave(&Audience::User(user.clone()), mailbox) {
            self.counts.users.fetch_sub(1, Ordering::Relaxed);
        }
        self.counts.connections.fetch_sub(1, Ordering::Relaxed);
    }

    fn tell(&self, notice: &Notice) {
        self.deliver(&notice.audience, |mailbox| mailbox.deliver(notice));
    }

    fn deliver(&self, audience: &Audience, deliver: impl Fn(&Mailbox) -> Delivery) {
        let shard = self.shard(audience);
        for mailbox in shard.get(audience).into_iter().flatten() {
            let count = match deliver(mailbox) {
                Delivery::Passed => continue,
                Delivery::Woken => &self.counts.woken,
                Delivery::Merged => &self.counts.merged,
            };
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn shard(&self, audience: &Audience) -> MutexGuard<'_, Shard> {
        // The remainder fits whatever a `usize` holds.
        let place = usize::try_from(self.hasher.hash_one(audience) % SHARDS as u64).unwrap_or(0);
        self.shards[place]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use sync_protocol::{SpaceId, Tables};

    use super::*;

    #[test]
    fn nobody_is_remembered_who_has_left() {
        let hub = Hub::new(3);
        let listen = |name: &str| {
            let interest = Interest {
                user: UserId::new(name).unwrap(),
                client: None,
                app: None,
                tables: Tables::All,
            };
            hub.listen(interest).unwrap()
        };
        let audiences = || -> usize {
            let shards = hub.shards.iter();
            shards.map(|shard| shard.lock().unwrap().len()).sum()
        };
        let spaces = |names: &[&str]| -> BTreeSet<SpaceId> {
            let names = names.iter();
            names.map(|name| SpaceId::new(name).unwrap()).collect()
        };
        let (mut ann, mut bob) = (listen("ann"), listen("bob"));
        ann.set_spaces(spaces(&["red", "blue"]));
        bob.set_spaces(spaces(&["red"]));
        assert_eq!(audiences(), 4);
        ann.set_spaces(spaces(&["red"]));
        assert_eq!(audiences(), 3);
        drop(ann);
        assert_eq!(audiences(), 2);
        drop(bob);
        assert_eq!(audiences(), 0);
    }
}
