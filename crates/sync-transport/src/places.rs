//! How many connections each address has: a place is taken when one is accepted, and free again when it is over.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::source::Source;

/// The places of all addresses. Of an address without a connection nothing is kept.
#[derive(Debug)]
pub(crate) struct Places {
    /// How many each address has; none for as many as it likes.
    each: Option<NonZeroUsize>,
    taken: Mutex<HashMap<Source, NonZeroUsize>>,
}

/// A place that is taken; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    source: Source,
}

impl Places {
    pub(crate) fn new(each: Option<NonZeroUsize>) -> Arc<Self> {
        Arc::new(Self {
            each,
            taken: Mutex::default(),
        })
    }

    /// A place for one more connection of an address, if there is one left.
    pub(crate) fn take(self: &Arc<Self>, source: Source) -> Option<Place> {
        let mut taken = self.taken();
        let own = taken.get(&source).map_or(0, |taken| taken.get());
        if self.each.is_some_and(|each| own >= each.get()) {
            return None;
        }
        taken.insert(source, NonZeroUsize::MIN.saturating_add(own));
        Some(Place {
            places: Arc::clone(self),
            source,
        })
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<Source, NonZeroUsize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        if let Entry::Occupied(mut own) = taken.entry(self.source) {
            match NonZeroUsize::new(own.get().get() - 1) {
                Some(fewer) => drop(own.insert(fewer)),
                None => drop(own.remove()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(last: u8) -> Source {
        Source::new([192, 0, 2, last].into())
    }

    #[test]
    fn each_address_has_so_many_places_and_gets_back_what_it_leaves() {
        let places = Places::new(NonZeroUsize::new(2));
        let (first, second) = (places.take(source(1)), places.take(source(1)));
        assert!(first.is_some() && second.is_some());
        assert!(places.take(source(1)).is_none());
        assert!(places.take(source(2)).is_some());
        drop(first);
        let again = places.take(source(1));
        assert!(again.is_some());
        assert!(places.take(source(1)).is_none());
    }

    #[test]
    fn nothing_stays_of_an_address_that_is_gone() {
        let places = Places::new(None);
        let taken: Vec<_> = (0..=255)
            .cycle()
            .take(1000)
            .map(|last| places.take(source(last)))
            .collect();
        assert!(taken.iter().all(Option::is_some));
        drop(taken);
        assert_eq!(places.taken().len(), 0);
    }
}
