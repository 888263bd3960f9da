//! When a service that fails is left alone, and when it is tried again.

use std::time::Duration;

use sync_protocol::Millis;

use crate::is_past;

/// After so many failures in a row a service is left alone.
pub const FAILURES_IN_A_ROW: u32 = 5;

/// How long a service that fails is left alone; then one call at a time tries it.
pub const LEFT_ALONE: Duration = Duration::from_secs(10);

/// One for each service.
///
/// ```text
/// closed ── 5 failures in a row ──> open ── 10 s later, one probe ──> answered: closed
///                                        <───────── it fails ───────┘
/// ```
#[derive(Debug, Default)]
pub(crate) struct Breaker {
    failures: u32,
    opened: Option<Millis>,
    /// Since when a probe is on its way.
    probing: Option<Millis>,
}

/// The leave to make one call, handed back with what became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pass {
    /// The service is well as far as we know.
    Ordinary,
    /// To see whether the service is well again.
    Probe,
}

impl Breaker {
    /// Whether a call may be made now.
    pub(crate) fn admit(&mut self, now: Millis) -> Option<Pass> {
        let Some(opened) = self.opened else {
            return Some(Pass::Ordinary);
        };
        // A probe that was broken off never comes back: it must not keep others out for ever.
        let is_probed = self
            .probing
            .is_some_and(|since| !is_past(since, now, LEFT_ALONE));
        if is_probed || !is_past(opened, now, LEFT_ALONE) {
            return None;
        }
        self.probing = Some(now);
        Some(Pass::Probe)
    }

    /// The service has answered as it should.
    pub(crate) fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// The service has answered, but what it said about this one user is of no use: that is no
    /// failure of the whole service, nor does it end a row of them.
    pub(crate) fn answered(&mut self, pass: Pass) {
        if pass == Pass::Probe {
            self.succeeded();
        }
    }

    /// The service as a whole has failed; whether it is left alone because of that from now on.
    pub(crate) fn failed(&mut self, pass: Pass, now: Millis) -> bool {
        match pass {
            Pass::Probe => self.open(now),
            Pass::Ordinary if self.is_open() => false,
            Pass::Ordinary => {
                self.failures += 1;
                self.failures >= FAILURES_IN_A_ROW && self.open(now)
            }
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.opened.is_some()
    }

    fn open(&mut self, now: Millis) -> bool {
        self.opened = Some(now);
        self.probing = None;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1000;

    fn opened_at(now: i64) -> Breaker {
        let mut breaker = Breaker::default();
        for failure in 1..=FAILURES_IN_A_ROW {
            assert_eq!(breaker.admit(Millis(now)), Some(Pass::Ordinary));
            let opens = breaker.failed(Pass::Ordinary, Millis(now));
            assert_eq!(opens, failure == FAILURES_IN_A_ROW);
        }
        breaker
    }

    #[test]
    fn five_failures_in_a_row_open_it_for_ten_seconds() {
        let mut breaker = opened_at(0);
        assert!(breaker.is_open());
        assert_eq!(breaker.admit(Millis(10 * SECOND - 1)), None);
        assert_eq!(breaker.admit(Millis(10 * SECOND)), Some(Pass::Probe));
    }

    #[test]
    fn a_success_in_between_begins_the_row_anew_and_a_failure_about_one_user_does_not() {
        let mut breaker = Breaker::default();
        for _ in 1..FAILURES_IN_A_ROW {
            breaker.failed(Pass::Ordinary, Millis(0));
        }
        breaker.succeeded();
        for _ in 1..FAILURES_IN_A_ROW {
            assert!(!breaker.failed(Pass::Ordinary, Millis(0)));
            breaker.answered(Pass::Ordinary);
        }
        assert!(!breaker.is_open());
        assert!(breaker.failed(Pass::Ordinary, Millis(0)));
    }

    #[test]
    fn one_probe_at_a_time_decides() {
        let mut breaker = opened_at(0);
        assert_eq!(breaker.admit(Millis(10 * SECOND)), Some(Pass::Probe));
        assert_eq!(breaker.admit(Millis(12 * SECOND)), None);
        assert!(breaker.failed(Pass::Probe, Millis(15 * SECOND)));
        assert_eq!(breaker.admit(Millis(25 * SECOND - 1)), None);
        assert_eq!(breaker.admit(Millis(25 * SECOND)), Some(Pass::Probe));
        breaker.answered(Pass::Probe);
        assert!(!breaker.is_open());
        assert_eq!(breaker.admit(Millis(25 * SECOND)), Some(Pass::Ordinary));
    }

    #[test]
    fn a_probe_that_never_comes_back_holds_the_next_up_for_ten_seconds() {
        let mut breaker = opened_at(0);
        assert_eq!(breaker.admit(Millis(10 * SECOND)), Some(Pass::Probe));
        assert_eq!(breaker.admit(Millis(20 * SECOND - 1)), None);
        assert_eq!(breaker.admit(Millis(20 * SECOND)), Some(Pass::Probe));
    }

    #[test]
    fn a_failure_of_a_call_from_before_does_not_prolong_it_and_a_success_closes_it() {
        let mut breaker = opened_at(0);
        assert!(!breaker.failed(Pass::Ordinary, Millis(9 * SECOND)));
        assert_eq!(breaker.admit(Millis(10 * SECOND)), Some(Pass::Probe));
        assert!(!breaker.failed(Pass::Ordinary, Millis(10 * SECOND)));
        assert_eq!(breaker.admit(Millis(11 * SECOND)), None);
        breaker.succeeded();
        assert_eq!(breaker.admit(Millis(11 * SECOND)), Some(Pass::Ordinary));
    }
}
