//! Calls about users that are on their way: one at a time for each user, shared by all who need it.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use sync_protocol::UserId;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// A place in the order of what happens here. The default is before everything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(u64);

/// The calls on their way. They are tasks of their own, so that they land also if those who caused
/// them go away; they end when this is dropped.
///
/// ```text
/// share ──> joined: waits for begun ──> begun ──> landed
///             ^ who needs a call that begins after now joins one that waits, or makes one
/// ```
pub(crate) struct Flights<T>(Arc<Mutex<Board<T>>>);

struct Board<T> {
    now: Moment,
    flights: HashMap<UserId, Flight<T>>,
    tasks: JoinSet<()>,
}

/// The newest call about a user.
struct Flight<T> {
    id: Moment,
    /// `None` while it waits for an earlier one to land.
    began: Option<Moment>,
    landed: watch::Receiver<Option<T>>,
}

/// Whether a call about the user is on its way when a caller looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sky {
    Clear,
    Flying,
}

impl<T: Clone + Send + Sync + 'static> Flights<T> {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Board {
            now: Moment::default(),
            flights: HashMap::new(),
            tasks: JoinSet::new(),
        })))
    }

    /// Does something at a moment of its own: every call has begun either before or after it.
    pub(crate) fn mark<R>(&self, happens: impl FnOnce(Moment) -> R) -> R {
        let mut board = lock(&self.0);
        happens(board.next_moment())
    }

    /// What is `known`; else what a call brings that began after `after`: one on its way, or else
    /// `call`, which is then made as soon as no other about this user is on its way.
    ///
    /// Neither `known` nor the part of `call` before its future may wait, or use these flights.
    /// `None` if the call broke off.
    pub(crate) async fn share<F>(
        &self,
        user: &UserId,
        after: Moment,
        known: impl FnOnce(Sky) -> Option<T>,
        call: impl FnOnce(Moment) -> F + Send + 'static,
    ) -> Option<T>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut landed = match self.join(user, after, known, call) {
            Ok(known) => return Some(known),
            Err(landed) => landed,
        };
        let outcome = landed.wait_for(Option::is_some).await.ok()?;
        outcome.clone()
    }

    fn join<F>(
        &self,
        user: &UserId,
        after: Moment,
        known: impl FnOnce(Sky) -> Option<T>,
        call: impl FnOnce(Moment) -> F + Send + 'static,
    ) -> Result<T, watch::Receiver<Option<T>>>
    where
        F: Future<Output = T> + Send + 'static,
    {
        // Under the lock: what a call finds out is remembered before it leaves the board, so it is
        // either known here or still on its way.
        let mut board = lock(&self.0);
        let current = board.flights.get(user);
        let sky = current.map_or(Sky::Clear, |_| Sky::Flying);
        if let Some(known) = known(sky) {
            return Ok(known);
        }
        let serves = |flight: &&Flight<T>| flight.began.is_none_or(|began| began > after);
        if let Some(flight) = current.filter(serves) {
            return Err(flight.landed.clone());
        }
        let earlier = current.map(|flight| flight.landed.clone());
        Err(self.take_off(&mut board, user, earlier, call))
    }

    fn take_off<F>(
        &self,
        board: &mut Board<T>,
        user: &UserId,
        earlier: Option<watch::Receiver<Option<T>>>,
        call: impl FnOnce(Moment) -> F + Send + 'static,
    ) -> watch::Receiver<Option<T>>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let (landing, landed) = watch::channel(None);
        let place = Place {
            board: Arc::downgrade(&self.0),
            user: user.clone(),
            id: board.next_moment(),
        };
        let flight = Flight {
            id: place.id,
            began: None,
            landed: landed.clone(),
        };
        board.flights.insert(user.clone(), flight);
        // Those that have landed are let go of.
        while board.tasks.try_join_next().is_some() {}
        board.tasks.spawn(async move {
            if let Some(mut earlier) = earlier {
                let _ = earlier.wait_for(Option::is_some).await;
            }
            let Some(call) = place.begin(call) else {
                return;
            };
            let outcome = call.await;
            drop(place);
            landing.send_replace(Some(outcome));
        });
        landed
    }
}

/// A call's place on the board; it is left by whatever way the call ends.
struct Place<T> {
    board: Weak<Mutex<Board<T>>>,
    user: UserId,
    id: Moment,
}

impl<T> Place<T> {
    /// From now on who needs a later call must make one. `None` if nobody needs any call any more.
    fn begin<F>(&self, call: impl FnOnce(Moment) -> F) -> Option<F> {
        let board = self.board.upgrade()?;
        let mut board = lock(&board);
        let now = board.next_moment();
        if let Some(flight) = board.flights.get_mut(&self.user)
            && flight.id == self.id
        {
            flight.began = Some(now);
        }
        Some(call(now))
    }
}

impl<T> Drop for Place<T> {
    fn drop(&mut self) {
        let Some(board) = self.board.upgrade() else {
            return;
        };
        let mut board = lock(&board);
        let current = board.flights.get(&self.user);
        if current.is_some_and(|flight| flight.id == self.id) {
            board.flights.remove(&self.user);
        }
    }
}

impl<T> Board<T> {
    fn next_moment(&mut self) -> Moment {
        self.now = Moment(self.now.0 + 1);
        self.now
    }
}

fn lock<T>(board: &Arc<Mutex<Board<T>>>) -> MutexGuard<'_, Board<T>> {
    // Each change is one call on a map, so a panic elsewhere leaves nothing half done.
    board.lock().unwrap_or_else(PoisonError::into_inner)
}
