//! Tokens that were verified before, in bounded space.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::claims::Identity;
use crate::key::Key;

/// The most tokens remembered at a time.
pub const MAX_REMEMBERED: usize = 10_000;

/// The SHA-256 of a token; the tokens themselves are not kept.
pub(crate) type Digest = [u8; 32];

/// What was found out about a token, and with which key: it holds only as long as that key does.
#[derive(Debug, Clone)]
pub(crate) struct Verified {
    pub(crate) key: Arc<Key>,
    pub(crate) identity: Identity,
}

/// Remembers at most [`MAX_REMEMBERED`] tokens and forgets those that nobody uses.
///
/// Two halves: what is new or used goes into the young one; when that is full, it becomes the old
/// one, and what was in the old one and not used since is gone. Every step costs the same, however
/// full it is.
#[derive(Debug, Default)]
pub(crate) struct Remembered(Mutex<Halves>);

#[derive(Debug, Default)]
struct Halves {
    young: HashMap<Digest, Verified>,
    old: HashMap<Digest, Verified>,
}

impl Remembered {
    pub(crate) fn recall(&self, digest: &Digest) -> Option<Verified> {
        let mut halves = self.lock();
        if let Some(verified) = halves.young.get(digest) {
            return Some(verified.clone());
        }
        let verified = halves.old.remove(digest)?;
        halves.insert(*digest, verified.clone());
        Some(verified)
    }

    pub(crate) fn remember(&self, digest: Digest, verified: Verified) {
        let mut halves = self.lock();
        halves.old.remove(&digest);
        halves.insert(digest, verified);
    }

    pub(crate) fn forget(&self, digest: &Digest) {
        let mut halves = self.lock();
        halves.young.remove(digest);
        halves.old.remove(digest);
    }

    pub(crate) fn count(&self) -> usize {
        let halves = self.lock();
        halves.young.len() + halves.old.len()
    }

    fn lock(&self) -> MutexGuard<'_, Halves> {
        // Each change is one call on a map, so a panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Halves {
    fn insert(&mut self, digest: Digest, verified: Verified) {
        if self.young.len() >= MAX_REMEMBERED / 2 && !self.young.contains_key(&digest) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(digest, verified);
    }
}

#[cfg(test)]
mod tests {
    use sync_protocol::{Millis, UserId};

    use super::*;

    fn verified(user: &str) -> Verified {
        Verified {
            key: Arc::new(Key::for_tests()),
            identity: Identity {
                user: UserId::new(user).expect("it is an id"),
                device: None,
                expires: Millis(0),
            },
        }
    }

    fn digest(number: usize) -> Digest {
        openssl::sha::sha256(&number.to_be_bytes())
    }

    #[test]
    fn there_is_never_more_than_the_bound_and_what_is_used_stays() {
        let remembered = Remembered::default();
        let (alice, token) = (verified("alice"), verified("bob"));
        remembered.remember(digest(0), alice.clone());
        for number in 1..3 * MAX_REMEMBERED {
            remembered.remember(digest(number), token.clone());
            let found = remembered.recall(&digest(0)).map(|found| found.identity);
            assert_eq!(found.as_ref(), Some(&alice.identity), "after {number}");
            assert!(remembered.count() <= MAX_REMEMBERED);
        }
        assert!(remembered.recall(&digest(1)).is_none());
        assert!(remembered.recall(&digest(3 * MAX_REMEMBERED - 1)).is_some());
    }

    #[test]
    fn what_is_forgotten_is_gone_from_both_halves() {
        let remembered = Remembered::default();
        for number in 0..=MAX_REMEMBERED / 2 {
            remembered.remember(digest(number), verified("alice"));
        }
        remembered.forget(&digest(0));
        remembered.forget(&digest(MAX_REMEMBERED / 2));
        assert_eq!(remembered.count(), MAX_REMEMBERED / 2 - 1);
        assert!(remembered.recall(&digest(0)).is_none());
    }
}
