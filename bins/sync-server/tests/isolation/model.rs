//! Who could reach what, and when; who wrote what; and everything that anybody was told.
//!
//! Time is that of the server's clock, in nanoseconds, so that it compares with positions. While a change of memberships is
//! under way the old and the new role are both possible; from its acknowledgement on the new one alone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::names::{SPACES, USERS};

/// A moment, or a position.
pub(crate) type Nanos = i64;

/// Sets of the roles that are possible.
pub(crate) type Roles = u8;
pub(crate) const NONE: Roles = 1;
pub(crate) const READER: Roles = 2;
pub(crate) const WRITER: Roles = 4;

/// The routes, as the table of a run names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Route {
    Push,
    Pull,
    Stream,
    Socket,
    SocketOfApp,
    ServicePush,
    MembershipChanged,
    Upload,
    Download,
    Failures,
    Retry,
    WrongToken,
    Operators,
}

impl Route {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Push => "POST /sync/{app}",
            Self::Pull => "GET /sync/{app}/pull",
            Self::Stream => "GET /sync/{app}/stream",
            Self::Socket => "GET /ws",
            Self::SocketOfApp => "GET /ws/{app}",
            Self::ServicePush => "POST /internal/sync/{app}",
            Self::MembershipChanged => "POST /internal/memberships/{user}/changed",
            Self::Upload => "POST /sync/upload",
            Self::Download => "GET /sync/download",
            Self::Failures => "GET /admin/materialize-failures",
            Self::Retry => "POST /admin/materialize-failures/retry",
            Self::WrongToken => "any, with a wrong token or key",
            Self::Operators => "GET /health, /ready, /metrics",
        }
    }
}

/// What somebody asked, and what came of it.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) route: Route,
    /// Who asked; nobody if the token was wrong or there was none.
    pub(crate) reader: Option<usize>,
    pub(crate) app: Option<usize>,
    pub(crate) from: Nanos,
    pub(crate) until: Nanos,
    pub(crate) asked: String,
    pub(crate) status: u16,
    pub(crate) said: String,
    /// The marks of what was pushed with it.
    pub(crate) own: Vec<usize>,
}

/// What one change wrote: each of its values names it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    pub(crate) author: u16,
    pub(crate) app: u8,
    pub(crate) table: u16,
    pub(crate) record: u8,
}

/// The text by which a value names the change that wrote it.
pub(crate) fn mark_text(number: usize) -> String {
    format!("~w{number}~")
}

/// The marks in a text, each once.
pub(crate) fn marks_in(text: &str) -> Vec<usize> {
    let parts = text.split("~w").skip(1);
    let numbers = parts.filter_map(|part| part.split_once('~')?.0.parse().ok());
    let mut found: Vec<usize> = numbers.collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// What is known of a run.
#[derive(Default)]
pub(crate) struct Model {
    inner: Mutex<Inner>,
}

#[derive(Default)]
pub(crate) struct Inner {
    /// Which roles were possible from when on.
    roles: HashMap<(usize, usize), Vec<(Nanos, Roles)>>,
    pub(crate) marks: Vec<Mark>,
    /// When users pushed, from when until when.
    pushes: HashMap<usize, Vec<(Nanos, Nanos)>>,
    pub(crate) exchanges: Vec<Arc<Exchange>>,
}

impl Model {
    pub(crate) fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn mark(&self, mark: Mark) -> usize {
        let marks = &mut self.inner().marks;
        marks.push(mark);
        marks.len() - 1
    }

    pub(crate) fn note(&self, exchange: Exchange) {
        let mut inner = self.inner();
        let is_push = matches!(exchange.route, Route::Push | Route::ServicePush);
        if let (true, Some(user)) = (is_push, exchange.reader) {
            let pushes = inner.pushes.entry(user).or_default();
            pushes.push((exchange.from, exchange.until));
        }
        inner.exchanges.push(Arc::new(exchange));
    }

    /// From now on these roles are possible, beside those that were possible before.
    pub(crate) fn begin_change(&self, user: usize, now: Nanos, roles: &[Roles; SPACES]) {
        let mut inner = self.inner();
        for (space, role) in roles.iter().enumerate() {
            let known = inner.roles_now(user, space);
            inner.set(user, space, now, known | role);
        }
    }

    /// From now on no other roles are possible.
    pub(crate) fn end_change(&self, user: usize, now: Nanos, roles: &[Roles; SPACES]) {
        let mut inner = self.inner();
        for (space, role) in roles.iter().enumerate() {
            inner.set(user, space, now, *role);
        }
    }
}

impl Inner {
    fn set(&mut self, user: usize, space: usize, now: Nanos, roles: Roles) {
        let known = self.roles.entry((user, space)).or_default();
        if known.last().map_or(NONE, |(_, last)| *last) != roles {
            known.push((now, roles));
        }
    }

    /// The roles that are possible now.
    pub(crate) fn roles_now(&self, user: usize, space: usize) -> Roles {
        let known = self.roles.get(&(user, space));
        let last = known.and_then(|known| known.last());
        last.map_or(NONE, |(_, roles)| *roles)
    }

    /// Whether a user could have one of these roles at some moment of a time.
    pub(crate) fn could(
        &self,
        (user, space): (usize, usize),
        roles: Roles,
        (from, until): (Nanos, Nanos),
    ) -> bool {
        let known = self
            .roles
            .get(&(user, space))
            .map_or(&[][..], Vec::as_slice);
        let first = known.partition_point(|(at, _)| *at <= from);
        let before = first.checked_sub(1).map_or(NONE, |last| known[last].1);
        let during = known[first..].iter().take_while(|(at, _)| *at <= until);
        let mut possible = during.map(|(_, roles)| *roles);
        before & roles != 0 || possible.any(|possible| possible & roles != 0)
    }

    /// When the last push of a user ended that was under way at this moment.
    pub(crate) fn pushed_until(&self, user: usize, at: Nanos) -> Option<Nanos> {
        let pushes = self.pushes.get(&user)?.iter();
        let around = pushes.filter(|(from, until)| *from <= at && at <= *until);
        around.map(|(_, until)| *until).max()
    }

    /// What is asked about pushes from now on is later than this.
    pub(crate) fn forget_pushes_before(&mut self, at: Nanos) {
        for pushes in self.pushes.values_mut() {
            pushes.retain(|(_, until)| *until >= at);
        }
    }

    /// The spaces in which a user surely has this role or surely has none, and which of the two.
    pub(crate) fn settled(&self) -> impl Iterator<Item = ((usize, usize), Roles)> {
        let all = (0..USERS).flat_map(|user| (0..SPACES).map(move |space| (user, space)));
        all.map(|(user, space)| ((user, space), self.roles_now(user, space)))
            .filter(|(_, roles)| roles.count_ones() == 1)
    }
}
