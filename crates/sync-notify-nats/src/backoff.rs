//! How long to wait before NATS is tried again.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// The wait after the first failure, at the most.
const FIRST: Duration = Duration::from_millis(100);
/// The longest wait. A look at the log comes every two seconds, so that waiting longer would make news no later.
const LONGEST: Duration = Duration::from_secs(2);

/// The wait after so many failures in a row: twice as long each time, and between half and all of it, so that the nodes do
/// not all come at once.
pub(crate) fn delay(failures: u32) -> Duration {
    jittered(failures, RandomState::new().hash_one(failures))
}

fn jittered(failures: u32, random: u64) -> Duration {
    let doubled = 1_u32.checked_shl(failures.saturating_sub(1));
    let whole = FIRST
        .saturating_mul(doubled.unwrap_or(u32::MAX))
        .min(LONGEST);
    let half = whole / 2;
    let share = u32::try_from(random % 1_000).unwrap_or(0);
    half + half * share / 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_two_seconds_and_varies_by_half() {
        let millis = |failures, random| jittered(failures, random).as_millis();
        let least: Vec<_> = (1..9).map(|failures| millis(failures, 0)).collect();
        assert_eq!(least, [50, 100, 200, 400, 800, 1_000, 1_000, 1_000]);
        let most: Vec<_> = (1..9).map(|failures| millis(failures, 999)).collect();
        assert_eq!(most, [99, 199, 399, 799, 1_599, 1_999, 1_999, 1_999]);
        assert_eq!(millis(0, 0), 50);
        assert_eq!(millis(u32::MAX, u64::MAX), 1_000 + 615);
    }
}
