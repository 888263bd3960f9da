//! Both services on one port, and the strings that tests pull.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

use crate::connection::serve;
use crate::mood::{Mood, Service};
use crate::request::Request;
use crate::script::Script;
use crate::stage::{Stage, Tally};

/// How long a test waits for a request that does not come.
const PATIENCE: Duration = Duration::from_secs(20);

/// Both services, on one port of this machine; they end when this is dropped.
pub struct Services {
    stage: Arc<Stage>,
    address: SocketAddr,
    listening: Option<JoinHandle<()>>,
}

impl Services {
    /// Both services, well, on a free port.
    ///
    /// # Errors
    ///
    /// When no port can be had.
    pub async fn start() -> io::Result<Self> {
        Self::start_on(0).await
    }

    /// Both services, well, on this port.
    ///
    /// # Errors
    ///
    /// When the port cannot be had.
    pub async fn start_on(port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let stage = Arc::new(Stage::new());
        Ok(Self {
            address: listener.local_addr()?,
            listening: Some(tokio::spawn(listen(listener, Arc::clone(&stage)))),
            stage,
        })
    }

    /// The address of both: `http://127.0.0.1:port`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Closes the port and every connection: who calls now is refused. What was told and written down stays.
    pub async fn stop(&mut self) {
        if let Some(listening) = self.listening.take() {
            listening.abort();
            // It was told to break off; that it did is all that there is to know.
            let _ = listening.await;
        }
    }

    /// Opens the same port again after [`Services::stop`]; does nothing to services that run.
    ///
    /// # Errors
    ///
    /// When somebody else has taken the port.
    pub async fn start_again(&mut self) -> io::Result<()> {
        if self.listening.is_none() {
            let listener = TcpListener::bind(self.address).await?;
            let stage = Arc::clone(&self.stage);
            self.listening = Some(tokio::spawn(listen(listener, stage)));
        }
        Ok(())
    }

    /// From now on this user is in these spaces, each with a role, in this order.
    pub fn set_memberships(&self, user: &str, spaces: &[(&str, &str)]) {
        self.stage.set_memberships(user, spaces);
    }

    /// From now on this user's sync is not paid for.
    pub fn set_inactive(&self, user: &str) {
        self.stage.set_inactive(user);
    }

    /// From now on this user's sync is paid for, as it is at the start.
    pub fn set_active(&self, user: &str) {
        self.stage.set_active(user);
    }

    /// From now on requests with another key than this, or with none, are answered 401.
    pub fn require_key(&self, key: &str) {
        self.stage.require_key(Some(key));
    }

    /// How a service behaves from now on. Requests on their way, held ones too, are not touched.
    pub fn mood(&self, service: Service, mood: Mood) {
        self.stage.mood(service, mood);
    }

    /// How a service behaves towards one user from now on, however it feels otherwise.
    pub fn mood_of(&self, service: Service, user: &str, mood: Mood) {
        self.stage.mood_of(service, user, mood);
    }

    /// Sends the answers that [`Mood::Hold`] holds back now.
    pub fn release(&self, service: Service) {
        self.stage.release(service);
    }

    /// Every request that has arrived, in order; the last [`MAX_RECORDED`](crate::MAX_RECORDED) of them.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.stage.requests()
    }

    /// How many requests this service has had.
    #[must_use]
    pub fn count(&self, service: Service) -> usize {
        self.stage.tally().borrow().of(service)
    }

    /// Returns when this service has had so many requests in all.
    ///
    /// # Panics
    ///
    /// When they do not come for long: the test has failed.
    pub async fn asked(&self, service: Service, times: usize) {
        let enough = self.tallied(|tally| tally.of(service) >= times);
        let in_time = tokio::time::timeout(PATIENCE, enough).await;
        in_time.unwrap_or_else(|_| {
            let count = self.count(service);
            panic!("{service:?} was asked {count} times, not {times}, in {PATIENCE:?}")
        });
    }

    /// Returns when there were more requests of any kind than `before`, and says how many there were.
    pub async fn asked_again(&self, before: usize) -> usize {
        self.tallied(|tally| tally.all() > before).await;
        self.stage.tally().borrow().all()
    }

    /// Does what a script says, each thing at its time; returns after the last.
    pub async fn play(&self, script: &Script) {
        self.set_the_scene(script);
        let start = tokio::time::Instant::now();
        for cue in &script.moods {
            tokio::time::sleep_until(start + cue.after).await;
            match &cue.user {
                Some(user) => self.mood_of(cue.service, user, cue.mood.clone()),
                None => self.mood(cue.service, cue.mood.clone()),
            }
            // A script has no other way to let go of what an earlier mood has held.
            self.release(cue.service);
        }
    }

    fn set_the_scene(&self, script: &Script) {
        for (user, spaces) in &script.memberships {
            let spaces: Vec<(&str, &str)> = spaces
                .iter()
                .map(|(space, role)| (space.as_str(), role.as_str()))
                .collect();
            self.set_memberships(user, &spaces);
        }
        for user in &script.inactive {
            self.set_inactive(user);
        }
    }

    async fn tallied(&self, mut enough: impl FnMut(Tally) -> bool) {
        // The sender lives as long as this value does.
        let _ = self.stage.tally().wait_for(|tally| enough(*tally)).await;
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        if let Some(listening) = &self.listening {
            listening.abort();
        }
    }
}

/// Takes connections until it is broken off, and they with it.
async fn listen(listener: TcpListener, stage: Arc<Stage>) {
    let mut connections = JoinSet::new();
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            connections.spawn(serve(stream, Arc::clone(&stage)));
        }
        // Those that have ended are let go of.
        while connections.try_join_next().is_some() {}
    }
}
