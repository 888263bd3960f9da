//! How many things somebody may do: a bucket of tokens that fills again with time.

use std::num::NonZeroU32;
use std::time::Duration;

use tokio::time::Instant;

const MINUTE: Duration = Duration::from_secs(60);
/// Which part of what is allowed in a minute is allowed at once.
const BURST_PART: u32 = 4;

/// So many at once, and one more each time that so much has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pace {
    pub(crate) burst: u32,
    pub(crate) every: Duration,
}

impl Pace {
    /// So many a minute, a quarter of them at once.
    pub(crate) fn per_minute(count: NonZeroU32) -> Self {
        Self {
            burst: count.get().div_ceil(BURST_PART),
            every: MINUTE / count.get(),
        }
    }

    /// How long an empty bucket takes to be full.
    pub(crate) fn filling(&self) -> Duration {
        self.every * self.burst
    }
}

/// What one may still do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    /// When the bucket would be full again.
    full: Instant,
}

impl Rate {
    pub(crate) fn new(now: Instant) -> Self {
        Self { full: now }
    }

    /// Takes one. What is refused is not counted, so that who asks too often may go on as soon as who waits.
    ///
    /// # Errors
    ///
    /// How long it is until there is one again.
    pub(crate) fn take(&mut self, pace: Pace, now: Instant) -> Result<(), Duration> {
        let full = self.full.max(now) + pace.every;
        let wait = full.saturating_duration_since(now + pace.filling());
        if !wait.is_zero() {
            return Err(wait);
        }
        self.full = full;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN_A_SECOND: Pace = Pace {
        burst: 60,
        every: Duration::from_millis(100),
    };

    fn pace(count: u32) -> Pace {
        Pace::per_minute(NonZeroU32::new(count).unwrap())
    }

    #[test]
    fn a_burst_is_allowed_and_then_ten_a_second() {
        let mut now = Instant::now();
        let mut rate = Rate::new(now);
        let mut take = |now| rate.take(TEN_A_SECOND, now);
        let burst = (0..100).filter(|_| take(now).is_ok()).count();
        assert_eq!(burst, 60);
        for _ in 0..100 {
            now += TEN_A_SECOND.every;
            assert_eq!(take(now), Ok(()));
        }
        assert_eq!(take(now), Err(TEN_A_SECOND.every));
    }

    #[test]
    fn who_is_refused_is_told_how_long_and_asking_again_does_not_make_it_longer() {
        let start = Instant::now();
        let mut rate = Rate::new(start);
        let seconds = Duration::from_secs;
        assert_eq!(rate.take(pace(4), start), Ok(()));
        assert_eq!(rate.take(pace(4), start), Err(seconds(15)));
        assert_eq!(rate.take(pace(4), start + seconds(6)), Err(seconds(9)));
        assert_eq!(rate.take(pace(4), start + seconds(15)), Ok(()));
    }

    #[test]
    fn a_quarter_of_a_minute_is_allowed_at_once_and_one_at_least() {
        for (count, burst, millis) in [(600, 150, 100), (1, 1, 60_000), (5, 2, 12_000)] {
            let every = Duration::from_millis(millis);
            assert_eq!(pace(count), Pace { burst, every });
        }
        assert!(!pace(u32::MAX).every.is_zero());
    }
}
