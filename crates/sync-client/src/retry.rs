//! When and how often a request is sent again.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// How a client waits between tries: twice as long each time, at random, no shorter than the server asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// How often a request is sent at most.
    pub tries: u32,
    /// The longest wait after the first try; it doubles with each.
    pub first: Duration,
    /// The longest wait of all. A connection of a stream or a socket that has stood for so long has worked: the waits after
    /// it start afresh.
    pub longest: Duration,
}

impl Default for Retry {
    /// Six tries within about half a minute.
    fn default() -> Self {
        Self {
            tries: 6,
            first: Duration::from_millis(250),
            longest: Duration::from_secs(10),
        }
    }
}

impl Retry {
    /// The wait after a try, the first being 0; the server's `Retry-After` is its least.
    pub(crate) fn wait(&self, tried: u32, asked: Option<Duration>) -> Duration {
        let most = self
            .first
            .saturating_mul(2_u32.saturating_pow(tried))
            .min(self.longest);
        let jittered = most.mul_f64(chance());
        asked.map_or(jittered, |asked| {
            asked.min(self.longest) + jittered.min(self.first)
        })
    }

    /// Whether a status is worth another try.
    pub(crate) fn is_worth_it(status: u16) -> bool {
        status == 429 || status == 408 || status >= 500
    }
}

/// A number from 0 to 1: the standard library seeds each hasher at random.
fn chance() -> f64 {
    let bits = u32::try_from(RandomState::new().hash_one(0_u8) >> 32).unwrap_or(0);
    f64::from(bits) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_stay_below_the_longest_and_honour_the_server() {
        let retry = Retry::default();
        for tried in 0..20 {
            assert!(retry.wait(tried, None) <= retry.first * 2_u32.pow(tried.min(10)));
            assert!(retry.wait(tried, None) <= retry.longest);
            let asked = Duration::from_secs(2);
            assert!((asked..=asked + retry.first).contains(&retry.wait(tried, Some(asked))));
        }
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        let worth: Vec<u16> = [200, 400, 401, 402, 408, 413, 429, 500, 503]
            .into_iter()
            .filter(|status| Retry::is_worth_it(*status))
            .collect();
        assert_eq!(worth, [408, 429, 500, 503]);
    }
}
