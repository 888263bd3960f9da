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

/// The wait between two connections, and what the one that stands means for it. Its end is kept, so that waiting for it can
/// be broken off and taken up again.
pub(crate) struct Pause {
    retry: Retry,
    failed: u32,
    until: Option<Instant>,
    is_refusal: bool,
    standing: Option<Standing>,
}

/// A connection that is open.
struct Standing {
    since: Instant,
    /// How many tokens were set since, and not taken by the server yet.
    new_tokens: u32,
}

impl Pause {
    /// No wait before the first connection.
    pub(crate) fn new(retry: Retry) -> Self {
        Self {
            retry,
            failed: 0,
            until: None,
            is_refusal: false,
            standing: None,
        }
    }

    /// There is a connection. If it ends before it has stood for as long as the longest pause, it is one more failure:
    /// a server that ends each connection after its first events is left alone longer each time, too.
    pub(crate) fn connected(&mut self) {
        self.standing = Some(Standing {
            since: Instant::now(),
            new_tokens: 0,
        });
    }

    /// Begins when a connection came to nothing; what is final is for the caller. Each pause is longer than the one
    /// before. Even the first has a random length, so that the clients of a server that restarts do not come all at once.
    /// There is none if the server refused a token that has been replaced.
    pub(crate) fn begin(&mut self, failed: Failed) -> Result<(), ClientError> {
        if let Some(standing) = self.standing.take() {
            if standing.new_tokens > 0 && failed.is_of_token() {
                *self = Self::new(self.retry);
                return Ok(());
            }
            if standing.since.elapsed() >= self.retry.longest {
                self.failed = 0;
            }
        }
        let (asked, end) = match failed {
            Failed::ForNow(_, asked) => (asked, Ok(())),
            Failed::ForGood(error) => (None, Err(error)),
        };
        self.until = Some(after(self.retry.wait(self.failed, asked)));
        self.failed = self.failed.saturating_add(1);
        self.is_refusal = end.is_err();
        end
    }

    /// There is a new token. If the server said no there is nothing to wait for; if it is away there is. A connection that
    /// stands may still end because of the token before.
    pub(crate) fn token_set(&mut self) {
        if let Some(standing) = &mut self.standing {
            standing.new_tokens += 1;
        } else if self.is_refusal {
            *self = Self::new(self.retry);
        }
    }

    /// The server took the next of the new tokens on the connection that stands.
    pub(crate) fn token_taken(&mut self) {
        if let Some(standing) = &mut self.standing {
            standing.new_tokens = standing.new_tokens.saturating_sub(1);
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
    use reqwest::header::HeaderMap;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn away(asked: Option<Duration>) -> Failed {
        Failed::ForNow(ClientError::Unavailable(String::new()), asked)
    }

    fn refusal() -> Failed {
        Failed::ForGood(ClientError::Answer(String::new()))
    }

    fn expired() -> Failed {
        Failed::answered(401, &HeaderMap::new(), b"")
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
    async fn pauses_grow_until_a_connection_has_stood_for_as_long_as_the_longest() {
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
        for (stood, failed) in [(59, 6), (59, 7), (60, 1), (0, 2)] {
            pause.connected();
            tokio::time::advance(stood * SECOND).await;
            assert!(pause.begin(away(None)).is_ok());
            assert_eq!(pause.failed, failed);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_token_ends_the_pause_after_a_refusal_and_no_other() {
        let mut pause = Pause::new(retry());
        assert!(pause.begin(refusal()).is_err());
        pause.token_set();
        assert_eq!((pause.until, pause.failed), (None, 0));
        assert!(pause.begin(refusal()).is_err());
        assert!(pause.begin(away(None)).is_ok());
        let until = pause.until;
        pause.token_set();
        assert_eq!((pause.until, pause.failed), (until, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn only_the_refusal_of_a_token_is_passed_over_when_a_new_one_was_set() {
        let mut pause = Pause::new(retry());
        for (failed, is_passed_over) in [(expired(), true), (refusal(), false)] {
            pause.connected();
            pause.token_set();
            assert_eq!(pause.begin(failed).is_ok(), is_passed_over);
            assert_eq!(pause.until.is_none(), is_passed_over);
        }
        pause.connected();
        assert!(pause.begin(expired()).is_err());
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
