//! Keeps the grants as they are where the service does not say: which spaces a user is in, asked, and handed to whoever
//! keeps grants.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use sync_protocol::{Millis, SpaceId, UserId};

use crate::error::{NotSettled, SetupError};
use crate::figures::{Counter, MembershipFigures};
use crate::flights::{Flights, Moment, Sky};
use crate::membership_answer;
use crate::remembered::Remembered;
use crate::upstream::{Question, Upstream, UpstreamSettings, hashed};
use crate::{Clock, is_past};

/// A user about whom an answer counts is asked about anew at most once in this time.
pub const ASK_ANEW_COOL_DOWN: Duration = Duration::from_secs(10);

const MEMBERSHIPS: Question = Question {
    service: "memberships",
    before: &["api", "v1", "internal", "users"],
    after: &["memberships"],
};

/// The service's answer about a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// About whom.
    pub user: UserId,
    /// The spaces that the user is in, each with the roles there, as the service writes them. There
    /// is one role, unless the answer names the space more than once: then all of them, in an
    /// order that does not hang on that of the answer.
    pub spaces: BTreeMap<SpaceId, BTreeSet<String>>,
    /// When the call began: the answer is at least this fresh.
    pub asked: Millis,
    /// Whether the service has said that this user's memberships have changed, and this is the
    /// first answer since.
    pub announced: bool,
}

/// What comes of handing an answer over: for how long it counts, from when it was asked for, or
/// `None` if it could not be taken.
pub type Taking = Pin<Box<dyn Future<Output = Option<Duration>> + Send>>;

/// Takes an answer over. For one user it is called again only after the future has ended, and with
/// a `Membership::asked` that is no earlier, unless the clock was set back. Every waiting request
/// of the user waits for it: it must have a time limit of its own. It is dropped where it stands
/// when [`Memberships`] is.
pub type Take = Arc<dyn Fn(Membership) -> Taking + Send + Sync>;

/// How a user's memberships stand after all went well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// An answer that was taken earlier still counts; nobody was asked.
    Already,
    /// An answer that came now was taken.
    Now,
}

/// What comes of asking; not settled means that the grants stand as they are.
pub type Outcome = Result<Settled, NotSettled>;

/// Asks the membership service about users, and has the answers taken.
///
/// One call at a time about a user, from the question to the end of the taking, whoever waits for
/// it. Dropping this ends the calls that are on their way.
pub struct Memberships {
    desk: Arc<Desk>,
    flights: Flights<Outcome>,
    from_memory: Counter,
    announcements: Counter,
}

/// What a call needs.
struct Desk {
    upstream: Upstream,
    clock: Clock,
    take: Take,
    users: Remembered<UserId, Standing>,
    not_taken: Counter,
    passed_over: Counter,
}

/// How it stands with a user.
#[derive(Debug, Clone, Copy, Default)]
struct Standing {
    /// Answers to calls that began before do not count.
    after: Moment,
    /// Whether the next answer is the first since an announcement.
    announced: bool,
    asked: Option<Millis>,
    taken: Option<Taken>,
}

/// The last answer that counted when it was taken.
#[derive(Debug, Clone, Copy)]
struct Taken {
    began: Moment,
    asked: Millis,
    counts: Duration,
}

/// A call that begins.
#[derive(Clone, Copy)]
struct Start {
    began: Moment,
    asked: Millis,
    announced: bool,
}

impl Memberships {
    /// Asks nobody yet; answers go to `take`.
    ///
    /// # Errors
    ///
    /// For an address that is none, or a key that cannot be sent.
    pub fn new(settings: &UpstreamSettings, clock: Clock, take: Take) -> Result<Self, SetupError> {
        Ok(Self {
            desk: Arc::new(Desk {
                upstream: Upstream::new(MEMBERSHIPS, settings, Arc::clone(&clock))?,
                clock,
                take,
                users: Remembered::at_most(settings.remembered_users),
                not_taken: Counter::default(),
                passed_over: Counter::default(),
            }),
            flights: Flights::new(),
            from_memory: Counter::default(),
            announcements: Counter::default(),
        })
    }

    /// Returns when an answer about this user that still counts has been taken, at once if one has.
    /// Dropping the future at any point is harmless.
    ///
    /// # Errors
    ///
    /// Why none was taken. It is not remembered: the next request asks again.
    pub async fn settle(&self, user: &UserId) -> Outcome {
        let standing = self.desk.standing(user);
        if self.desk.counting(standing) {
            self.from_memory.count();
            return Ok(Settled::Already);
        }
        let already = |_| self.desk.counting(self.desk.standing(user));
        self.share(user, standing.after, already).await
    }

    /// Asks again although an answer counts, unless the user was asked about within
    /// [`ASK_ANEW_COOL_DOWN`], answered or not; joins a call on its way. A change that was
    /// announced and is not yet known does not wait.
    ///
    /// # Errors
    ///
    /// As [`Memberships::settle`]. An answer that counted goes on counting.
    pub async fn settle_anew(&self, user: &UserId) -> Outcome {
        let after = self.desk.standing(user).after;
        let already = |sky| {
            let standing = self.desk.standing(user);
            let is_awaited = standing.announced && !self.desk.counting(standing);
            sky == Sky::Clear && self.desk.is_cooling(standing) && !is_awaited
        };
        self.share(user, after, already).await
    }

    /// The service says that this user's memberships have changed: what was answered before does
    /// not count any more, and it is asked again. A call that has begun does not do.
    ///
    /// # Errors
    ///
    /// Why no answer was taken. The next one that is counts as announced all the same, as long as
    /// the user is among those remembered.
    pub async fn announced(&self, user: &UserId) -> Result<(), NotSettled> {
        self.announcements.count();
        let now = self.flights.mark(|now| {
            let announce = |standing: &mut Standing| {
                (standing.after, standing.announced, standing.taken) = (now, true, None);
            };
            self.desk.users.alter(user, announce);
            now
        });
        let already = |_| self.desk.standing(user).is_taken_after(now);
        self.share(user, now, already).await.map(|_| ())
    }

    /// Forgets that an answer was taken, also one that is on its way: who comes next asks. An
    /// announcement is not forgotten.
    pub fn forget(&self, user: &UserId) {
        self.flights.mark(|now| {
            let forget = |standing: &mut Standing| {
                (standing.after, standing.asked, standing.taken) = (now, None, None);
            };
            self.desk.users.alter(user, forget);
        });
    }

    /// What to watch this by.
    #[must_use]
    pub fn figures(&self) -> MembershipFigures {
        MembershipFigures {
            calls: self.desk.upstream.calls(),
            from_memory: self.from_memory.total(),
            not_taken: self.desk.not_taken.total(),
            passed_over: self.desk.passed_over.total(),
            announcements: self.announcements.total(),
            breaker_open: self.desk.upstream.is_left_alone(),
            users_remembered: self.desk.users.count(),
        }
    }

    async fn share(
        &self,
        user: &UserId,
        after: Moment,
        already: impl FnOnce(Sky) -> bool,
    ) -> Outcome {
        let known = |sky| already(sky).then_some(Ok(Settled::Already));
        let (desk, about) = (Arc::clone(&self.desk), user.clone());
        let call = move |began| {
            // Before anything else can happen: an announcement comes before this, or after.
            let start = desk.begin(&about, began);
            async move { desk.ask_and_take(about, start).await }
        };
        let shared = self.flights.share(user, after, known, call);
        shared.await.unwrap_or(Err(NotSettled::NotTaken))
    }
}

impl Desk {
    fn standing(&self, user: &UserId) -> Standing {
        self.users.recall(user).unwrap_or_default()
    }

    fn counting(&self, standing: Standing) -> bool {
        let now = (self.clock)();
        let taken = standing.taken;
        taken.is_some_and(|taken| !is_past(taken.asked, now, taken.counts))
    }

    fn is_cooling(&self, standing: Standing) -> bool {
        let now = (self.clock)();
        let asked = standing.asked;
        asked.is_some_and(|asked| !is_past(asked, now, ASK_ANEW_COOL_DOWN))
    }

    fn begin(&self, user: &UserId, began: Moment) -> Start {
        let asked = (self.clock)();
        let announced = self.users.alter(user, |standing| {
            standing.asked = Some(asked);
            standing.announced
        });
        Start {
            began,
            asked,
            announced,
        }
    }

    async fn ask_and_take(&self, user: UserId, start: Start) -> Outcome {
        let read = |body: &[u8]| membership_answer::read(body, &user);
        let answer = self.upstream.ask(&user, read).await?;
        self.passed_over(&user, answer.passed_over);
        let membership = Membership {
            user: user.clone(),
            spaces: answer.spaces,
            asked: start.asked,
            announced: start.announced,
        };
        let Some(counts) = (self.take)(membership).await else {
            self.not_taken.count();
            return Err(NotSettled::NotTaken);
        };
        self.users
            .alter(&user, |standing| standing.take(start, counts));
        Ok(Settled::Now)
    }

    fn passed_over(&self, user: &UserId, count: u64) {
        if count > 0 {
            self.passed_over.add(count);
            let user = hashed(user);
            tracing::warn!(user, count, "memberships of no space were passed over");
        }
    }
}

impl Standing {
    fn is_taken_after(&self, moment: Moment) -> bool {
        self.taken.is_some_and(|taken| taken.began > moment)
    }

    /// An answer was taken; it counts unless something has happened since it was asked for.
    fn take(&mut self, start: Start, counts: Duration) {
        if start.began > self.after {
            self.announced = false;
            self.taken = Some(Taken {
                began: start.began,
                asked: start.asked,
                counts,
            });
        }
    }
}
