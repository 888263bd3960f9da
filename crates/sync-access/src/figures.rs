//! What a verifier, and the calls to other services, can be watched by.

use std::sync::atomic::{AtomicU64, Ordering};

use sync_protocol::Millis;

use crate::error::UpstreamError;

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

/// The calls to one service, by what became of them, since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Calls {
    /// A good answer came.
    pub successful: u64,
    /// Nobody was asked: no address names the user.
    pub unaskable: u64,
    /// Nobody was asked: the service had failed too often.
    pub left_alone: u64,
    /// There was no connection, or it broke.
    pub unreachable: u64,
    /// The answer was not there in time.
    pub timed_out: u64,
    /// The answer had a status from 500 up.
    pub server_errors: u64,
    /// The answer had another status than 200, below 500.
    pub refusals: u64,
    /// The answer was not what it should be.
    pub nonsense: u64,
}

/// How billing is at one moment, and what was asked since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BillingFigures {
    /// Calls to the service.
    pub calls: Calls,
    /// Answers given without a call, from what was remembered.
    pub from_memory: u64,
    /// Answers that let a user go on because nothing was known.
    pub failed_open: u64,
    /// Whether the service is left alone now.
    pub breaker_open: bool,
    /// Users remembered now.
    pub users_remembered: usize,
}

/// How memberships are at one moment, and what was asked since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MembershipFigures {
    /// Calls to the service.
    pub calls: Calls,
    /// Requests for which an answer taken earlier still counted.
    pub from_memory: u64,
    /// Answers that were had but could not be taken.
    pub not_taken: u64,
    /// Memberships in good answers that were passed over: their organization is no space.
    pub passed_over: u64,
    /// Announcements of changes.
    pub announcements: u64,
    /// Whether the service is left alone now.
    pub breaker_open: bool,
    /// Users remembered now.
    pub users_remembered: usize,
}

/// Counts calls by what became of them.
#[derive(Debug, Default)]
pub(crate) struct CallCounters {
    successful: Counter,
    unaskable: Counter,
    left_alone: Counter,
    unreachable: Counter,
    timed_out: Counter,
    server_errors: Counter,
    refusals: Counter,
    nonsense: Counter,
}

impl CallCounters {
    pub(crate) fn count<T>(&self, outcome: &Result<T, UpstreamError>) {
        let counter = match outcome {
            Ok(_) => &self.successful,
            Err(UpstreamError::Unaskable) => &self.unaskable,
            Err(UpstreamError::LeftAlone) => &self.left_alone,
            Err(UpstreamError::Unreachable(_)) => &self.unreachable,
            Err(UpstreamError::TimedOut) => &self.timed_out,
            Err(UpstreamError::Status(500..)) => &self.server_errors,
            Err(UpstreamError::Status(_)) => &self.refusals,
            Err(UpstreamError::Nonsense(_)) => &self.nonsense,
        };
        counter.count();
    }

    pub(crate) fn totals(&self) -> Calls {
        Calls {
            successful: self.successful.total(),
            unaskable: self.unaskable.total(),
            left_alone: self.left_alone.total(),
            unreachable: self.unreachable.total(),
            timed_out: self.timed_out.total(),
            server_errors: self.server_errors.total(),
            refusals: self.refusals.total(),
            nonsense: self.nonsense.total(),
        }
    }
}

/// Counts up, from any thread.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn count(&self) {
        self.add(1);
    }

    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn total(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
