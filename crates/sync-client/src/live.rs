//! The times of a connection that is meant to last: the wait before the next one, and how long it may be silent.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::client::Failed;
use crate::{ClientError, Retry};

/// How long the other side may be silent: servers let a stream hear something every 30 s.
pub(crate) const SILENCE: Duration = Duration::from_secs(75);

/// What stands for ever, where a wait is longer than clocks can count.
const FOR_EVER: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

/// How long a caller that has been elsewhere has to read what came meanwhile.
const MOMENT: Duration = Duration::from_secs(2);

/// The time after a wait from now.
pub(crate) fn after(wait: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(wait).unwrap_or(now + FOR_EVER)
}

/// The wait between two connections. Its end is kept, so that waiting for it can be broken off and taken up again.
pub(crate) struct Pause {
    retry: Retry,
    failed: u32,
    until: Option<Instant>,
    is_refusal: bool,
}

impl Pause {
    /// No wait before the first connection.
    pub(crate) fn new(retry: Retry) -> Self {
        Self {
            retry,
            failed: 0,
            until: None,
            is_refusal: false,
        }
    }

    /// Begins when a connection came to nothing; what is final is for the caller. Each pause is longer than the one
    /// before. Even the first has a random length, so that the clients of a server that restarts do not come all at once.
    pub(crate) fn begin(&mut self, failed: Failed) -> Result<(), ClientError> {
        let (asked, end) = match failed {
            Failed::ForNow(_, asked) => (asked, Ok(())),
            Failed::ForGood(error) => (None, Err(error)),
        };
        self.until = Some(after(self.retry.wait(self.failed, asked)));
        self.failed = self.failed.saturating_add(1);
        self.is_refusal = end.is_err();
        end
    }

    /// The connection works: the next pause is a first one.
    pub(crate) fn start_afresh(&mut self) {
        self.failed = 0;
    }

    /// There is something new to say. If the server said no there is nothing to wait for; if it is away there is.
    pub(crate) fn forgive(&mut self) {
        if self.is_refusal {
            *self = Self::new(self.retry);
        }
    }

    /// Waits for its end.
    pub(crate) async fn over(&self) {
        if let Some(until) = self.until {
            sleep_until(until).await;
        }
    }
}

/// How long nothing has been heard. The caller of a cancelled wait may come back much later, when all that came in the
/// meantime is still unread: then it gets a moment to read it, once, before the silence counts.
pub(crate) struct Silence {
    limit: Duration,
    until: Instant,
    is_last_moment: bool,
}

impl Silence {
    /// It begins now.
    pub(crate) fn new(limit: Duration) -> Self {
        Self {
            limit,
            until: after(limit),
            is_last_moment: false,
        }
    }

    /// Something was heard: it begins again.
    pub(crate) fn broken(&mut self) {
        *self = Self::new(self.limit);
    }

    /// When it has been too long, for a wait that begins now.
    pub(crate) fn until(&mut self) -> Instant {
        if self.until <= Instant::now() && !self.is_last_moment {
            self.is_last_moment = true;
            self.until = after(self.limit.min(MOMENT));
        }
        self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn away(asked: Option<Duration>) -> Failed {
        Failed::ForNow(ClientError::Unavailable(String::new()), asked)
    }

    fn refusal() -> Failed {
        Failed::ForGood(ClientError::Answer(String::new()))
    }

    fn retry() -> Retry {
        Retry {
            tries: 1,
            first: SECOND,
            longest: 60 * SECOND,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn there_is_no_wait_before_the_first_connection_and_the_server_is_heeded_after_it() {
        let begin = Instant::now();
        let mut pause = Pause::new(retry());
        pause.over().await;
        assert_eq!(begin.elapsed(), Duration::ZERO);
        assert!(pause.begin(away(Some(20 * SECOND))).is_ok());
        pause.over().await;
        assert!((20 * SECOND..=22 * SECOND).contains(&begin.elapsed()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_that_is_waited_for_in_pieces_is_as_long() {
        let begin = Instant::now();
        let mut pause = Pause::new(retry());
        assert!(pause.begin(away(Some(20 * SECOND))).is_ok());
        while tokio::time::timeout(SECOND, pause.over()).await.is_err() {}
        assert!((20 * SECOND..=22 * SECOND).contains(&begin.elapsed()));
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_until_the_connection_works() {
        let longest = |pause: &mut Pause| {
            let waits = (0..200).map(|_| {
                let failed = pause.failed;
                assert!(pause.begin(away(None)).is_ok());
                pause.failed = failed;
                pause.until.expect("it has begun") - Instant::now()
            });
            waits.max().expect("there are some")
        };
        let mut pause = Pause::new(retry());
        assert!(longest(&mut pause) <= SECOND);
        pause.failed = 5;
        assert!(longest(&mut pause) > 10 * SECOND);
        pause.start_afresh();
        assert!(longest(&mut pause) <= SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_token_ends_the_pause_after_a_refusal_and_no_other() {
        let mut pause = Pause::new(retry());
        assert!(pause.begin(refusal()).is_err());
        pause.forgive();
        assert_eq!((pause.until, pause.failed), (None, 0));
        assert!(pause.begin(refusal()).is_err());
        assert!(pause.begin(away(None)).is_ok());
        let until = pause.until;
        pause.forgive();
        assert_eq!((pause.until, pause.failed), (until, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_back_late_has_a_moment_to_read_but_only_one() {
        let mut silence = Silence::new(75 * SECOND);
        let begin = Instant::now();
        assert_eq!(silence.until(), begin + 75 * SECOND);
        tokio::time::advance(80 * SECOND).await;
        assert_eq!(silence.until(), begin + 82 * SECOND);
        tokio::time::advance(SECOND).await;
        assert_eq!(silence.until(), begin + 82 * SECOND);
        tokio::time::advance(2 * SECOND).await;
        assert_eq!(silence.until(), begin + 82 * SECOND);
        silence.broken();
        assert_eq!(silence.until(), begin + (83 + 75) * SECOND);
    }

    #[tokio::test]
    async fn a_wait_may_be_longer_than_clocks_count() {
        assert!(after(Duration::MAX) > Instant::now());
    }
}
