//! What was found out before, in bounded space.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Remembers so many things and no more, and forgets those that nobody uses.
///
/// Two halves: what is new or used goes into the young one; when that is full, it becomes the old
/// one, and what was in the old one and not used since is gone. Every step costs the same, however
/// full it is.
#[derive(Debug)]
pub(crate) struct Remembered<K, V>(Mutex<Halves<K, V>>);

#[derive(Debug)]
struct Halves<K, V> {
    /// The most that the young half holds.
    full: usize,
    young: HashMap<K, V>,
    old: HashMap<K, V>,
}

impl<K: Clone + Eq + Hash, V: Clone> Remembered<K, V> {
    /// Holds at most so many things, but two in any case.
    pub(crate) fn at_most(bound: usize) -> Self {
        Self(Mutex::new(Halves {
            full: (bound / 2).max(1),
            young: HashMap::new(),
            old: HashMap::new(),
        }))
    }

    pub(crate) fn recall(&self, key: &K) -> Option<V> {
        let mut halves = self.lock();
        if let Some(value) = halves.young.get(key) {
            return Some(value.clone());
        }
        let value = halves.old.remove(key)?;
        halves.insert(key.clone(), value.clone());
        Some(value)
    }

    pub(crate) fn remember(&self, key: K, value: V) {
        let mut halves = self.lock();
        halves.old.remove(&key);
        halves.insert(key, value);
    }

    pub(crate) fn forget(&self, key: &K) {
        let mut halves = self.lock();
        halves.young.remove(key);
        halves.old.remove(key);
    }

    pub(crate) fn count(&self) -> usize {
        let halves = self.lock();
        halves.young.len() + halves.old.len()
    }

    fn lock(&self) -> MutexGuard<'_, Halves<K, V>> {
        // Each change is one call on a map, so a panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Clone + Eq + Hash, V: Clone + Default> Remembered<K, V> {
    /// Changes what is remembered, in one step; of what is not, a first value is made.
    pub(crate) fn alter<R>(&self, key: &K, change: impl FnOnce(&mut V) -> R) -> R {
        let mut halves = self.lock();
        let known = halves.young.remove(key).or_else(|| halves.old.remove(key));
        let mut value = known.unwrap_or_default();
        let outcome = change(&mut value);
        halves.insert(key.clone(), value);
        outcome
    }
}

impl<K: Eq + Hash, V> Halves<K, V> {
    fn insert(&mut self, key: K, value: V) {
        if self.young.len() >= self.full && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: usize = 1000;

    #[test]
    fn there_is_never_more_than_the_bound_and_what_is_used_stays() {
        let remembered = Remembered::at_most(BOUND);
        remembered.remember(0, "alice");
        for number in 1..3 * BOUND {
            remembered.remember(number, "bob");
            assert_eq!(remembered.recall(&0), Some("alice"), "after {number}");
            assert!(remembered.count() <= BOUND);
        }
        assert_eq!(remembered.recall(&1), None);
        assert_eq!(remembered.recall(&(3 * BOUND - 1)), Some("bob"));
    }

    #[test]
    fn what_is_forgotten_is_gone_from_both_halves() {
        let remembered = Remembered::at_most(BOUND);
        for number in 0..=BOUND / 2 {
            remembered.remember(number, "alice");
        }
        remembered.forget(&0);
        remembered.forget(&(BOUND / 2));
        assert_eq!(remembered.count(), BOUND / 2 - 1);
        assert_eq!(remembered.recall(&0), None);
    }

    #[test]
    fn what_is_altered_is_used_and_there_is_one_of_it() {
        let remembered = Remembered::at_most(BOUND);
        for number in 0..3 * BOUND {
            remembered.alter(&number, |count| *count += 1);
            remembered.alter(&0, |count| *count += 1);
            assert!(remembered.count() <= BOUND);
        }
        assert_eq!(remembered.recall(&0), Some(3 * BOUND + 1));
        remembered.forget(&0);
        assert_eq!(remembered.recall(&0), None);
    }
}
