//! The rates of many, in bounded memory, however many come.
//!
//! ```text
//! young --half of the room is taken, or a bucket has had time to fill--> old --the same again--> forgotten
//!   ^------------------------ whoever asks again ------------------------/
//! ```
//!
//! So what is forgotten for its age was full, and forgetting it changes nothing. In a crowd those are forgotten first that
//! have not asked for the longest time: they start again with a full bucket, and nobody is turned away for want of room.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::mem::take;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::rate::{Pace, Rate};

/// How many are remembered in each of the two halves.
const HALF: usize = 1 << 16;

/// Many, each with a bucket of its own.
#[derive(Debug)]
pub(crate) struct Crowd {
    pace: Pace,
    /// Each is known by a hash that nobody outside can foresee, which has the same size for all. Two of a full crowd share one
    /// with a chance of one in a billion, and then share a bucket.
    hasher: RandomState,
    known: Mutex<Known>,
}

#[derive(Debug)]
struct Known {
    young: HashMap<u64, Rate>,
    old: HashMap<u64, Rate>,
    /// When the young ones were none.
    began: Instant,
}

impl Crowd {
    pub(crate) fn new(pace: Pace) -> Self {
        Self {
            pace,
            hasher: RandomState::new(),
            known: Mutex::new(Known {
                young: HashMap::new(),
                old: HashMap::new(),
                began: Instant::now(),
            }),
        }
    }

    /// Takes one from the bucket of somebody.
    ///
    /// # Errors
    ///
    /// How long it is until there is one again.
    pub(crate) fn take(&self, who: &impl Hash, now: Instant) -> Result<(), Duration> {
        let who = self.hasher.hash_one(who);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.age(self.pace.filling(), now);
        known.rate(who, now).take(self.pace, now)
    }
}

impl Known {
    fn age(&mut self, filling: Duration, now: Instant) {
        if self.young.len() >= HALF || now >= self.began + filling {
            self.old = take(&mut self.young);
            self.began = now;
        }
    }

    /// The bucket of who is young from now on.
    fn rate(&mut self, who: u64, now: Instant) -> &mut Rate {
        let Self { young, old, .. } = self;
        let known = || old.remove(&who).unwrap_or_else(|| Rate::new(now));
        young.entry(who).or_insert_with(known)
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn crowd(per_minute: u32) -> Crowd {
        Crowd::new(Pace::per_minute(NonZeroU32::new(per_minute).unwrap()))
    }

    fn size(crowd: &Crowd) -> usize {
        let known = crowd.known.lock().unwrap();
        known.young.len() + known.old.len()
    }

    #[test]
    fn each_has_a_bucket_of_its_own() {
        let (crowd, now) = (crowd(4), Instant::now());
        assert_eq!(crowd.take(&"anna", now), Ok(()));
        assert!(crowd.take(&"anna", now).is_err());
        assert_eq!(crowd.take(&"ben", now), Ok(()));
    }

    #[test]
    fn a_million_take_no_more_room_than_two_halves_and_let_off_nobody_who_goes_on_asking() {
        let (crowd, now) = (crowd(4), Instant::now());
        let (asks_again, asks_first) = (u32::MAX, u32::MAX - 1);
        for busy in [asks_again, asks_first] {
            assert_eq!(crowd.take(&busy, now), Ok(()));
        }
        for other in 0..1_000_000_u32 {
            assert_eq!(crowd.take(&other, now), Ok(()), "nobody is locked out");
            if other % 10_000 == 0 {
                assert!(crowd.take(&asks_again, now).is_err());
            }
        }
        assert!(size(&crowd) <= 2 * HALF, "{}", size(&crowd));
        assert_eq!(crowd.take(&asks_first, now), Ok(()), "it is forgotten");
    }

    #[test]
    fn who_is_gone_is_forgotten_once_its_bucket_is_full_and_not_before() {
        let (crowd, start) = (crowd(60), Instant::now());
        let filling = Duration::from_secs(15);
        while crowd.take(&"anna", start).is_ok() {}
        let shortly = start + Duration::from_millis(999);
        assert!(crowd.take(&"anna", shortly).is_err());
        for turn in 1..=3 {
            let _ = crowd.take(&"ben", start + filling * turn);
        }
        assert_eq!(size(&crowd), 1);
    }
}
