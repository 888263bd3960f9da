//! How many messages a client may send: a bucket of tokens that fills again with time.

use std::time::Duration;

use tokio::time::Instant;

/// So many messages at once,
const BURST: u32 = 60;
/// and one more each time that so much has passed.
const EVERY: Duration = Duration::from_millis(100);

/// The messages that one client may still send.
#[derive(Debug)]
pub(crate) struct Rate {
    /// When the bucket would be full again.
    full: Instant,
}

impl Rate {
    pub(crate) fn new(now: Instant) -> Self {
        Self { full: now }
    }

    /// Counts a message; says whether it is within the rate.
    pub(crate) fn allows(&mut self, now: Instant) -> bool {
        self.full = self.full.max(now) + EVERY;
        self.full <= now + EVERY * BURST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_allowed_and_then_ten_a_second() {
        let mut now = Instant::now();
        let mut rate = Rate::new(now);
        let burst = (0..100).filter(|_| rate.allows(now)).count();
        assert_eq!(burst, 60);
        let mut rate = Rate::new(now);
        for _ in 0..60 {
            assert!(rate.allows(now));
        }
        for _ in 0..100 {
            now += EVERY;
            assert!(rate.allows(now));
        }
        assert!(!rate.allows(now));
    }
}
