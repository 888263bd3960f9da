//! What a verifier can be watched by.

use std::sync::atomic::{AtomicU64, Ordering};

use sync_protocol::Millis;

/// The state of a verifier at one moment, and what it has done since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figures {
    /// Keys that count now. Zero: nobody is let in.
    pub keys_held: usize,
    /// When the keys were last fetched with success; of several sources
    /// the one longest ago, `None` if one was never reached or there are none.
    pub last_fetch: Option<Millis>,
    /// Fetches that brought a key set.
    pub successful_fetches: u64,
    /// Fetches that brought none, for whatever reason.
    pub failed_fetches: u64,
    /// Tokens with an unknown `kid` for which no fetch was made, since the last one was too recent.
    pub suppressed_fetches: u64,
    /// Tokens known from an earlier call.
    pub cache_hits: u64,
    /// Tokens that had to be looked at, good or bad.
    pub cache_misses: u64,
    /// Tokens remembered now.
    pub tokens_remembered: usize,
}

/// Counts up, from any thread.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn count(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn total(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
