//! What the tests of other services share: the services, a clock, and those who ask and take.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sync_access::{
    Billing, Membership, Memberships, NotSettled, Outcome, Take, UpstreamError, UpstreamSettings,
};
use sync_protocol::{SpaceId, UserId};
use test_services::{Mood, Service, Services};
use tokio::sync::watch;

use crate::support::SteppedClock;

/// How long the taker says that an answer counts.
pub(crate) const COUNTS: Duration = Duration::from_secs(5 * 60);

pub(crate) fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

/// Whoever keeps grants: writes down what it is given.
pub(crate) struct Taker {
    taken: Mutex<Vec<Membership>>,
    says: Mutex<Option<Duration>>,
    open: watch::Sender<bool>,
    begun: watch::Sender<usize>,
}

impl Taker {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            taken: Mutex::default(),
            says: Mutex::new(Some(COUNTS)),
            open: watch::Sender::new(true),
            begun: watch::Sender::new(0),
        })
    }

    fn as_take(self: &Arc<Self>) -> Take {
        let taker = Arc::clone(self);
        Arc::new(move |membership| {
            let taker = Arc::clone(&taker);
            Box::pin(async move {
                taker.begun.send_modify(|begun| *begun += 1);
                taker.open.subscribe().wait_for(|open| *open).await.unwrap();
                taker.taken.lock().unwrap().push(membership);
                *taker.says.lock().unwrap()
            })
        })
    }

    /// What it says to all answers from now on.
    pub(crate) fn says(&self, says: Option<Duration>) {
        *self.says.lock().unwrap() = says;
    }

    /// From now on it takes nothing, but lets everybody wait, until [`Taker::open`].
    pub(crate) fn close(&self) {
        self.open.send_replace(false);
    }

    pub(crate) fn open(&self) {
        self.open.send_replace(true);
    }

    /// Returns when so many answers were handed over, taken or not yet.
    pub(crate) async fn begun(&self, times: usize) {
        let mut begun = self.begun.subscribe();
        begun.wait_for(|begun| *begun >= times).await.unwrap();
    }

    /// Everything taken: the spaces with their roles, and whether it was announced.
    pub(crate) fn taken(&self) -> Vec<(String, bool)> {
        let taken = self.taken.lock().unwrap();
        taken
            .iter()
            .map(|one| (spaces(one), one.announced))
            .collect()
    }

    pub(crate) fn memberships(&self) -> Vec<Membership> {
        self.taken.lock().unwrap().clone()
    }
}

/// `club:owner hall:member,reader`
fn spaces(membership: &Membership) -> String {
    let space = |(space, roles): (&SpaceId, &std::collections::BTreeSet<String>)| {
        let roles: Vec<&str> = roles.iter().map(String::as_str).collect();
        format!("{space}:{}", roles.join(","))
    };
    let spaces: Vec<String> = membership.spaces.iter().map(space).collect();
    spaces.join(" ")
}

/// Services, and those who ask them.
pub(crate) struct Neighbours {
    pub(crate) services: Services,
    pub(crate) clock: SteppedClock,
    pub(crate) billing: Arc<Billing>,
    pub(crate) memberships: Arc<Memberships>,
    pub(crate) taker: Arc<Taker>,
}

impl Neighbours {
    pub(crate) async fn start() -> Self {
        Self::remembering(1000).await
    }

    /// Both remember so many users.
    pub(crate) async fn remembering(users: usize) -> Self {
        Self::with(|settings| settings.remembered_users = users).await
    }

    pub(crate) async fn with(set: impl FnOnce(&mut UpstreamSettings)) -> Self {
        let services = Services::start().await.unwrap();
        let clock = SteppedClock::new();
        let taker = Taker::new();
        let mut settings = UpstreamSettings::at(&services.url());
        set(&mut settings);
        let memberships = Memberships::new(&settings, clock.as_clock(), taker.as_take()).unwrap();
        Self {
            billing: Arc::new(Billing::new(&settings, clock.as_clock()).unwrap()),
            memberships: Arc::new(memberships),
            services,
            clock,
            taker,
        }
    }

    pub(crate) fn mood(&self, mood: Mood) {
        self.services.mood(Service::Billing, mood.clone());
        self.services.mood(Service::Memberships, mood);
    }

    pub(crate) async fn is_active(&self, name: &str) -> bool {
        self.billing.is_active(&user(name)).await
    }

    pub(crate) async fn settle(&self, name: &str) -> Outcome {
        self.memberships.settle(&user(name)).await
    }

    pub(crate) async fn settle_anew(&self, name: &str) -> Outcome {
        self.memberships.settle_anew(&user(name)).await
    }

    pub(crate) async fn announced(&self, name: &str) -> Result<(), NotSettled> {
        self.memberships.announced(&user(name)).await
    }

    /// How many have asked: billing, memberships.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let count = |service| self.services.count(service);
        (count(Service::Billing), count(Service::Memberships))
    }
}

pub(crate) fn unanswered(error: UpstreamError) -> Outcome {
    Err(NotSettled::Unanswered(error))
}

/// Starts something that goes on by itself, and lets it come to its first wait.
pub(crate) async fn begin<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> tokio::task::JoinHandle<T> {
    let task = tokio::spawn(work);
    settle_down().await;
    task
}

/// Lets every task come to a wait for something outside this process.
pub(crate) async fn settle_down() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// Waits for something that times out, without the time that it takes: nothing else may be on its
/// way.
pub(crate) async fn at_once<T>(work: impl Future<Output = T>) -> T {
    tokio::time::pause();
    let outcome = work.await;
    tokio::time::resume();
    outcome
}
