//! What a relay counts.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use sync_notify::RelayFigures;

/// Figures that several tasks write.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    is_up: AtomicBool,
    sent: AtomicU64,
    received: AtomicU64,
    lost: AtomicU64,
    failures: AtomicU64,
}

impl Counts {
    pub(crate) fn came(&self) {
        self.is_up.store(true, Ordering::Relaxed);
    }

    /// A connection was lost or could not be made.
    pub(crate) fn went(&self) {
        self.is_up.store(false, Ordering::Relaxed);
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn received(&self) {
        self.received.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn lost(&self, pieces: usize) {
        self.lost.fetch_add(pieces as u64, Ordering::Relaxed);
    }

    /// Takes pieces of news in hand. They are lost unless they are [`InHand::sent`].
    pub(crate) fn in_hand(&self, pieces: usize) -> InHand<'_> {
        InHand {
            counts: self,
            pieces,
        }
    }

    pub(crate) fn figures(&self) -> RelayFigures {
        RelayFigures {
            is_up: self.is_up.load(Ordering::Relaxed),
            sent: self.sent.load(Ordering::Relaxed),
            received: self.received.load(Ordering::Relaxed),
            lost: self.lost.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
        }
    }
}

/// Pieces of news on their way out of this node, which may be given up at any wait.
#[derive(Debug)]
pub(crate) struct InHand<'a> {
    counts: &'a Counts,
    pieces: usize,
}

impl InHand<'_> {
    /// All went out, in so many messages.
    pub(crate) fn sent(mut self, messages: usize) {
        self.pieces = 0;
        let messages = messages as u64;
        self.counts.sent.fetch_add(messages, Ordering::Relaxed);
    }
}

impl Drop for InHand<'_> {
    fn drop(&mut self) {
        self.counts.lost(self.pieces);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_up_is_lost_and_what_is_sent_is_not() {
        let counts = Counts::default();
        counts.in_hand(3).sent(2);
        drop(counts.in_hand(5));
        let expected = RelayFigures {
            sent: 2,
            lost: 5,
            ..RelayFigures::default()
        };
        assert_eq!(counts.figures(), expected);
    }
}
