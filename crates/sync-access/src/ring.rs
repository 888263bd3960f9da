//! The keys that count now, and when they are fetched anew.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use reqwest::Client;
use sync_protocol::Millis;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::error::{TokenError, invalid};
use crate::figures::Counter;
use crate::key::{IgnoredKey, Key, KeySet, shown};
use crate::source::{Outcome, Source, fetch_all};
use crate::{Clock, is_past};

/// Keys older than this are fetched anew, behind the calls that use them.
pub const REFRESH_KEYS: Duration = Duration::from_secs(5 * 60);

/// After a fetch that failed, how long until the next.
pub const RETRY_FETCH: Duration = Duration::from_secs(30);

/// If nobody has tried to fetch the keys for this long, calls wait for the fetch: else a key
/// withdrawn during a quiet hour would still let the first caller in.
pub const UNATTENDED_KEYS: Duration = Duration::from_secs(10 * 60);

/// How long the last keys had from a host count if it gives no others.
pub const KEEP_KEYS: Duration = Duration::from_secs(60 * 60);

/// Tokens with unknown keys cause at most one fetch in this time.
pub const UNKNOWN_KEY_COOL_DOWN: Duration = Duration::from_secs(10);

/// What a source answered when it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceReport {
    /// Which source: its address without the query.
    pub source: String,
    /// What it holds, or why nothing was had from it.
    pub outcome: Result<KeysFound, String>,
}

/// What a key set holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeysFound {
    /// How many of its keys verify tokens.
    pub usable: usize,
    /// The others.
    pub ignored: Vec<IgnoredKey>,
}

/// All keys: those given at the start, which stay, and those of the sources.
pub(crate) struct Ring {
    fixed: KeySet,
    sources: Vec<Source>,
    client: Client,
    clock: Clock,
    state: Mutex<State>,
    pub(crate) successful: Counter,
    pub(crate) failed: Counter,
    pub(crate) suppressed: Counter,
}

struct State {
    /// One for each source, in its order.
    held: Vec<Held>,
    last_attempt: Option<Attempt>,
    flight: Option<Flight>,
}

/// What a source last gave, and when it was asked for that.
#[derive(Default)]
struct Held {
    set: KeySet,
    since: Option<Millis>,
}

#[derive(Clone, Copy)]
struct Attempt {
    at: Millis,
    failed: bool,
}

/// A fetch on its way. It has landed when the sender of `landed` is gone, by whatever way the task
/// ended.
struct Flight {
    landed: watch::Receiver<()>,
    task: AbortHandle,
    patience: Patience,
}

/// Whether calls that find a fetch on its way need its outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Patience {
    Wait,
    GoOn,
}

impl Ring {
    pub(crate) fn new(fixed: KeySet, sources: Vec<Source>, client: Client, clock: Clock) -> Self {
        let held = sources.iter().map(|_| Held::default()).collect();
        Self {
            fixed,
            sources,
            client,
            clock,
            state: Mutex::new(State {
                held,
                last_attempt: None,
                flight: None,
            }),
            successful: Counter::default(),
            failed: Counter::default(),
            suppressed: Counter::default(),
        }
    }

    /// Has the keys fetched if it is time for that. Returns at once, unless there are none yet or
    /// nobody has asked for long.
    pub(crate) async fn attend(self: &Arc<Self>) {
        let flight = self.fetch_if_due();
        if let Some(landed) = flight {
            wait_for(landed).await;
        }
    }

    /// The key of this name, if it counts now. An unknown one is asked for, once per cool-down.
    pub(crate) async fn find(self: &Arc<Self>, kid: &str) -> Result<Arc<Key>, TokenError> {
        if let Some(key) = self.look_up(kid) {
            return Ok(key);
        }
        let flight = self.fetch_for_unknown();
        if let Some(landed) = flight {
            tracing::debug!(kid = shown(kid), "a key is unknown, and being asked for");
            wait_for(landed).await;
        }
        self.look_up(kid).ok_or_else(|| {
            if self.is_blind() {
                TokenError::KeysUnavailable
            } else {
                invalid("the token's key is unknown")
            }
        })
    }

    /// Whether this very key still counts.
    pub(crate) fn holds(&self, key: &Key) -> bool {
        self.look_up(&key.kid)
            .is_some_and(|current| current.is_same(key))
    }

    /// Asks every source now, whatever was asked before, and takes over what they give.
    pub(crate) async fn check(&self) -> Vec<SourceReport> {
        let asked = (self.clock)();
        let outcomes = fetch_all(self.sources.clone(), self.client.clone()).await;
        let reports = self.sources.iter().zip(&outcomes).map(report).collect();
        self.take_over(asked, outcomes);
        reports
    }

    pub(crate) fn keys_held(&self) -> usize {
        let now = (self.clock)();
        let state = self.lock();
        let held = state.held.iter().filter(|held| held.counts(now));
        self.fixed.keys.len() + held.map(|held| held.set.keys.len()).sum::<usize>()
    }

    /// When the source that was had longest ago was had.
    pub(crate) fn last_fetch(&self) -> Option<Millis> {
        let state = self.lock();
        let times: Option<Vec<Millis>> = state.held.iter().map(|held| held.since).collect();
        times?.into_iter().min()
    }

    fn look_up(&self, kid: &str) -> Option<Arc<Key>> {
        let now = (self.clock)();
        if let Some(key) = self.fixed.keys.get(kid) {
            return Some(Arc::clone(key));
        }
        let state = self.lock();
        let mut held = state.held.iter().filter(|held| held.counts(now));
        held.find_map(|held| held.set.keys.get(kid)).map(Arc::clone)
    }

    /// Whether a key may exist that is not seen from here.
    fn is_blind(&self) -> bool {
        let now = (self.clock)();
        let nothing_to_ask = self.fixed.keys.is_empty() && self.sources.is_empty();
        nothing_to_ask || self.lock().held.iter().any(|held| !held.counts(now))
    }

    fn fetch_if_due(self: &Arc<Self>) -> Option<watch::Receiver<()>> {
        if self.sources.is_empty() {
            return None;
        }
        let now = (self.clock)();
        let mut state = self.lock();
        let patience = match state.on_its_way() {
            Some(flight) => flight.patience,
            None => {
                let patience = due(state.last_attempt, now)?;
                self.take_off(&mut state, now, patience);
                patience
            }
        };
        let flight = state.flight.as_ref();
        flight
            .filter(|_| patience == Patience::Wait)
            .map(|flight| flight.landed.clone())
    }

    fn fetch_for_unknown(self: &Arc<Self>) -> Option<watch::Receiver<()>> {
        if self.sources.is_empty() {
            return None;
        }
        let now = (self.clock)();
        let mut state = self.lock();
        if state.on_its_way().is_none() {
            if state
                .last_attempt
                .is_some_and(|last| !is_past(last.at, now, UNKNOWN_KEY_COOL_DOWN))
            {
                self.suppressed.count();
                return None;
            }
            self.take_off(&mut state, now, Patience::GoOn);
        }
        state.flight.as_ref().map(|flight| flight.landed.clone())
    }

    /// Starts a fetch of its own task, so that it lands also if the call that caused it goes away.
    fn take_off(self: &Arc<Self>, state: &mut State, now: Millis, patience: Patience) {
        let (flying, landed) = watch::channel(());
        let (sources, client) = (self.sources.clone(), self.client.clone());
        let ring: Weak<Self> = Arc::downgrade(self);
        let task = tokio::spawn(async move {
            let outcomes = fetch_all(sources, client).await;
            if let Some(ring) = ring.upgrade() {
                ring.take_over(now, outcomes);
            }
            drop(flying);
        });
        // Noted before the outcome is known: also a fetch that breaks off must not be repeated at
        // once.
        state.last_attempt = Some(Attempt {
            at: now,
            failed: true,
        });
        state.flight = Some(Flight {
            landed,
            task: task.abort_handle(),
            patience,
        });
    }

    /// Replaces the keys of each source that gave some; the others keep what they had.
    fn take_over(&self, asked: Millis, outcomes: Vec<Outcome>) {
        for (source, outcome) in self.sources.iter().zip(&outcomes) {
            self.tell(source, outcome);
        }
        let mut state = self.lock();
        let failed = outcomes.iter().any(Result::is_err);
        state.last_attempt = Some(Attempt { at: asked, failed });
        for (held, outcome) in state.held.iter_mut().zip(outcomes) {
            if let Ok(set) = outcome {
                let since = Some(asked);
                *held = Held { set, since };
            }
        }
    }

    fn tell(&self, source: &Source, outcome: &Outcome) {
        match outcome {
            Ok(set) => {
                self.successful.count();
                let (usable, ignored) = (set.keys.len(), set.ignored.len());
                tracing::debug!(source = source.shown(), usable, ignored, "keys were had");
                if usable == 0 {
                    tracing::warn!(source = source.shown(), "the key set holds no usable key");
                }
            }
            Err(reason) => {
                self.failed.count();
                tracing::warn!(source = source.shown(), reason, "no keys were had");
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No step under the lock can panic halfway through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        if let Some(flight) = &self.lock().flight {
            flight.task.abort();
        }
    }
}

impl State {
    fn on_its_way(&self) -> Option<&Flight> {
        self.flight
            .as_ref()
            .filter(|flight| flight.landed.has_changed().is_ok())
    }
}

impl Held {
    fn counts(&self, now: Millis) -> bool {
        self.since
            .is_some_and(|since| !is_past(since, now, KEEP_KEYS))
    }
}

/// Whether it is time to fetch, and if so, whether calls wait for that.
fn due(last_attempt: Option<Attempt>, now: Millis) -> Option<Patience> {
    let Some(last) = last_attempt else {
        return Some(Patience::Wait);
    };
    let span = if last.failed {
        RETRY_FETCH
    } else {
        REFRESH_KEYS
    };
    if is_past(last.at, now, UNATTENDED_KEYS) {
        Some(Patience::Wait)
    } else {
        is_past(last.at, now, span).then_some(Patience::GoOn)
    }
}

async fn wait_for(mut landed: watch::Receiver<()>) {
    while landed.changed().await.is_ok() {}
}

fn report((source, outcome): (&Source, &Outcome)) -> SourceReport {
    SourceReport {
        source: source.shown(),
        outcome: outcome.as_ref().map(found).map_err(Clone::clone),
    }
}

fn found(set: &KeySet) -> KeysFound {
    KeysFound {
        usable: set.keys.len(),
        ignored: set.ignored.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000;

    fn due_after(span: i64, failed: bool) -> Option<Patience> {
        due(
            Some(Attempt {
                at: Millis(1_000_000),
                failed,
            }),
            Millis(1_000_000 + span),
        )
    }

    #[test]
    fn the_first_keys_are_waited_for() {
        assert_eq!(due(None, Millis(0)), Some(Patience::Wait));
    }

    #[test]
    fn keys_are_due_after_five_minutes_and_waited_for_after_ten() {
        assert_eq!(due_after(0, false), None);
        assert_eq!(due_after(5 * MINUTE - 1, false), None);
        assert_eq!(due_after(5 * MINUTE, false), Some(Patience::GoOn));
        assert_eq!(due_after(10 * MINUTE - 1, false), Some(Patience::GoOn));
        assert_eq!(due_after(10 * MINUTE, false), Some(Patience::Wait));
    }

    #[test]
    fn a_failed_fetch_is_due_again_after_half_a_minute() {
        assert_eq!(due_after(MINUTE / 2 - 1, true), None);
        assert_eq!(due_after(MINUTE / 2, true), Some(Patience::GoOn));
        assert_eq!(due_after(10 * MINUTE, true), Some(Patience::Wait));
    }

    #[test]
    fn a_clock_set_back_counts_by_how_far() {
        assert_eq!(due_after(-5 * MINUTE, false), Some(Patience::GoOn));
        assert!(is_past(Millis(i64::MAX), Millis(i64::MIN), KEEP_KEYS));
        assert!(!is_past(Millis(1), Millis(0), KEEP_KEYS));
    }
}
