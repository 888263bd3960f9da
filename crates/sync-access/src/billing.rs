//! Fails open: whether a user's sync is paid for; where the service does not say, it is taken to be.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use sync_protocol::{Millis, UserId};

use crate::error::{SetupError, UpstreamError};
use crate::figures::{BillingFigures, Counter};
use crate::flights::{Flights, Moment};
use crate::remembered::Remembered;
use crate::upstream::{More, Question, Upstream, UpstreamSettings};
use crate::{Clock, is_past};

/// How long an answer about a user counts, from when it was asked for.
pub const KEEP_STATUS: Duration = Duration::from_secs(5 * 60);

/// How long nobody asks again about a user after a call that brought nothing, so that a slow
/// service does not hold up every request.
pub const KEEP_FAILURE: Duration = Duration::from_secs(10);

const STATUS: Question = Question {
    service: "billing",
    before: &["api", "v1", "internal", "sync", "status"],
    after: &[],
};

/// Knows whose sync is paid for, and asks the billing service about the others.
///
/// One call at a time about a user, whoever waits for it; the answer is remembered. Dropping this
/// ends the calls that are on their way.
pub struct Billing {
    desk: Arc<Desk>,
    flights: Flights<Status>,
    from_memory: Counter,
    failed_open: Counter,
}

/// What a call needs.
struct Desk {
    upstream: Upstream,
    clock: Clock,
    users: Remembered<UserId, Known>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Active,
    Inactive,
    Unknown,
}

/// What is known of a user.
#[derive(Debug, Clone, Copy, Default)]
struct Known {
    /// What was asked for before is not to be known.
    after: Moment,
    status: Option<Kept>,
}

#[derive(Debug, Clone, Copy)]
struct Kept {
    status: Status,
    from: Millis,
}

#[derive(Deserialize)]
struct Answer {
    active: bool,
    #[serde(flatten)]
    _more: More,
}

impl Billing {
    /// Asks nobody yet.
    ///
    /// # Errors
    ///
    /// For an address that is none, or a key that cannot be sent.
    pub fn new(settings: &UpstreamSettings, clock: Clock) -> Result<Self, SetupError> {
        Ok(Self {
            desk: Arc::new(Desk {
                upstream: Upstream::new(STATUS, settings, Arc::clone(&clock))?,
                clock,
                users: Remembered::at_most(settings.remembered_users),
            }),
            flights: Flights::new(),
            from_memory: Counter::default(),
            failed_open: Counter::default(),
        })
    }

    /// Whether this user's sync is paid for; `true` where nothing is known, whatever the reason.
    ///
    /// Waits for the service at most [`CALL_TIME_LIMIT`](crate::CALL_TIME_LIMIT) (twice that right
    /// after [`Billing::forget`]), and only if nothing is remembered. Dropping the future at any
    /// point is harmless.
    pub async fn is_active(&self, user: &UserId) -> bool {
        let status = self.status(user).await;
        if status == Status::Unknown {
            self.failed_open.count();
        }
        status != Status::Inactive
    }

    /// Forgets what is known of a user: who asks next asks the service.
    pub fn forget(&self, user: &UserId) {
        self.flights.mark(|now| {
            let forgotten = Known {
                after: now,
                status: None,
            };
            self.desk.users.remember(user.clone(), forgotten);
        });
    }

    /// What to watch this by.
    #[must_use]
    pub fn figures(&self) -> BillingFigures {
        BillingFigures {
            calls: self.desk.upstream.calls(),
            from_memory: self.from_memory.total(),
            failed_open: self.failed_open.total(),
            breaker_open: self.desk.upstream.is_left_alone(),
            users_remembered: self.desk.users.count(),
        }
    }

    async fn status(&self, user: &UserId) -> Status {
        // Most requests end here, and need not know what is on its way.
        let known = self.desk.known(user);
        if let Some(status) = self.desk.counting(known) {
            self.from_memory.count();
            return status;
        }
        let recalled = |_| self.desk.counting(self.desk.known(user));
        let (desk, asked_about) = (Arc::clone(&self.desk), user.clone());
        let call = |began| async move { desk.ask(&asked_about, began).await };
        let shared = self.flights.share(user, known.after, recalled, call);
        shared.await.unwrap_or(Status::Unknown)
    }
}

impl Desk {
    fn known(&self, user: &UserId) -> Known {
        self.users.recall(user).unwrap_or_default()
    }

    fn counting(&self, known: Known) -> Option<Status> {
        let now = (self.clock)();
        let kept = known.status.filter(|kept| kept.counts(now))?;
        Some(kept.status)
    }

    async fn ask(&self, user: &UserId, began: Moment) -> Status {
        let from = (self.clock)();
        let outcome = self.upstream.ask(user, read).await;
        let status = outcome.as_ref().copied().unwrap_or(Status::Unknown);
        if is_worth_remembering(&outcome) {
            self.users.alter(user, |known| {
                if began > known.after {
                    known.status = Some(Kept { status, from });
                }
            });
        }
        status
    }
}

impl Kept {
    fn counts(&self, now: Millis) -> bool {
        let span = match self.status {
            Status::Active | Status::Inactive => KEEP_STATUS,
            Status::Unknown => KEEP_FAILURE,
        };
        !is_past(self.from, now, span)
    }
}

fn read(body: &[u8]) -> Result<Status, &'static str> {
    let answer: Answer = serde_json::from_slice(body).map_err(|_| "it is no status")?;
    Ok(if answer.active {
        Status::Active
    } else {
        Status::Inactive
    })
}

/// What nobody was asked about is found out again at no cost, and may be otherwise in a moment.
fn is_worth_remembering(outcome: &Result<Status, UpstreamError>) -> bool {
    !matches!(
        outcome,
        Err(UpstreamError::LeftAlone | UpstreamError::Unaskable)
    )
}
