//! What the services know, how they feel, and what they were asked: shared by the test and all connections.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tokio::sync::watch;

use crate::mood::{Mood, Service};
use crate::request::Request;

/// The most requests that are kept; older ones are forgotten, but counted.
pub const MAX_RECORDED: usize = 10_000;

/// The header with the key of the service that asks.
const KEY_HEADER: &str = "x-service-key";

/// The user that [`Mood::AnotherUser`] speaks of.
const ANOTHER: &str = "somebody-else";

/// Everything that can be told or asked while connections are served.
pub(crate) struct Stage {
    props: Mutex<Props>,
    tally: watch::Sender<Tally>,
    /// How often held answers were let go.
    releases: watch::Sender<Releases>,
}

#[derive(Default)]
struct Props {
    spaces: BTreeMap<String, Vec<(String, String)>>,
    inactive: BTreeSet<String>,
    moods: HashMap<Service, Mood>,
    moods_of: HashMap<(Service, String), Mood>,
    key: Option<String>,
    requests: VecDeque<Request>,
    /// How often each has been flapping.
    flaps: HashMap<Service, u64>,
}

/// How many have asked since the start.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tally {
    billing: usize,
    memberships: usize,
    strays: usize,
}

#[derive(Debug, Clone, Copy, Default)]
struct Releases {
    billing: u64,
    memberships: u64,
}

/// What goes back to one request.
pub(crate) enum Reply {
    Answer {
        status: u16,
        body: String,
    },
    Later {
        mood: Mood,
        body: String,
        service: Service,
        released: u64,
    },
}

impl Stage {
    pub(crate) fn new() -> Self {
        Self {
            props: Mutex::default(),
            tally: watch::Sender::new(Tally::default()),
            releases: watch::Sender::new(Releases::default()),
        }
    }

    pub(crate) fn set_memberships(&self, user: &str, spaces: &[(&str, &str)]) {
        let owned = |(space, role): &(&str, &str)| ((*space).to_owned(), (*role).to_owned());
        let spaces = spaces.iter().map(owned).collect();
        self.lock().spaces.insert(user.to_owned(), spaces);
    }

    pub(crate) fn set_active(&self, user: &str) {
        self.lock().inactive.remove(user);
    }

    pub(crate) fn set_inactive(&self, user: &str) {
        self.lock().inactive.insert(user.to_owned());
    }

    pub(crate) fn require_key(&self, key: Option<&str>) {
        self.lock().key = key.map(str::to_owned);
    }

    pub(crate) fn mood(&self, service: Service, mood: Mood) {
        self.lock().moods.insert(service, mood);
    }

    pub(crate) fn mood_of(&self, service: Service, user: &str, mood: Mood) {
        let mut props = self.lock();
        props.moods_of.insert((service, user.to_owned()), mood);
    }

    pub(crate) fn release(&self, service: Service) {
        self.releases
            .send_modify(|releases| *releases.of_mut(service) += 1);
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.lock().requests.iter().cloned().collect()
    }

    pub(crate) fn tally(&self) -> watch::Receiver<Tally> {
        self.tally.subscribe()
    }

    /// Writes a request down and says what becomes of it. The answer is made now, whenever it is sent.
    pub(crate) fn take(&self, request: Request) -> Reply {
        let mut props = self.lock();
        let reply = props.reply(&request, *self.releases.borrow());
        let service = request.service;
        if props.requests.len() >= MAX_RECORDED {
            props.requests.pop_front();
        }
        props.requests.push_back(request);
        self.tally.send_modify(|tally| *tally.of_mut(service) += 1);
        reply
    }

    /// Returns when held answers of this service were let go more often than `before`.
    pub(crate) async fn released(&self, service: Service, before: u64) {
        let mut releases = self.releases.subscribe();
        // The sender lives in this very value.
        let _ = releases
            .wait_for(|releases| releases.of(service) > before)
            .await;
    }

    fn lock(&self) -> MutexGuard<'_, Props> {
        // Each change is one call on a collection, so a panic elsewhere leaves nothing half done.
        self.props.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Props {
    fn reply(&mut self, request: &Request, releases: Releases) -> Reply {
        let (Some(service), Some(user)) = (request.service, &request.user) else {
            return refusal(404, "no such path");
        };
        if request.method != "GET" {
            return refusal(405, "only GET is understood");
        }
        if self.key.is_some() && self.key.as_deref() != request.header(KEY_HEADER) {
            return refusal(401, "the service key is missing or wrong");
        }
        let mood = self.mood_towards(service, user);
        let about = if mood == Mood::AnotherUser {
            ANOTHER
        } else {
            user
        };
        Reply::Later {
            body: self.answer(service, user, about).to_string(),
            released: releases.of(service),
            mood,
            service,
        }
    }

    fn mood_towards(&mut self, service: Service, user: &str) -> Mood {
        let own = self.moods_of.get(&(service, user.to_owned()));
        let mood = own.or_else(|| self.moods.get(&service));
        let mood = mood.cloned().unwrap_or_default();
        if mood != Mood::Flapping {
            return mood;
        }
        let flaps = self.flaps.entry(service).or_default();
        *flaps += 1;
        if *flaps % 2 == 1 {
            Mood::Well
        } else {
            Mood::Status(500)
        }
    }

    fn answer(&self, service: Service, user: &str, about: &str) -> Value {
        if service == Service::Billing {
            return json!({"userId": about, "active": !self.inactive.contains(user)});
        }
        let spaces = self.spaces.get(user).map_or(&[][..], Vec::as_slice);
        let memberships: Vec<Value> = spaces
            .iter()
            .map(|(space, role)| json!({"organizationId": space, "role": role}))
            .collect();
        json!({"userId": about, "memberships": memberships})
    }
}

impl Tally {
    /// How many have asked this service.
    pub(crate) fn of(self, service: Service) -> usize {
        match service {
            Service::Billing => self.billing,
            Service::Memberships => self.memberships,
        }
    }

    /// How many have asked at all.
    pub(crate) fn all(self) -> usize {
        self.billing + self.memberships + self.strays
    }

    fn of_mut(&mut self, service: Option<Service>) -> &mut usize {
        match service {
            Some(Service::Billing) => &mut self.billing,
            Some(Service::Memberships) => &mut self.memberships,
            None => &mut self.strays,
        }
    }
}

impl Releases {
    fn of(self, service: Service) -> u64 {
        match service {
            Service::Billing => self.billing,
            Service::Memberships => self.memberships,
        }
    }

    fn of_mut(&mut self, service: Service) -> &mut u64 {
        match service {
            Service::Billing => &mut self.billing,
            Service::Memberships => &mut self.memberships,
        }
    }
}

fn refusal(status: u16, why: &str) -> Reply {
    let body = json!({"error": why}).to_string();
    Reply::Answer { status, body }
}
