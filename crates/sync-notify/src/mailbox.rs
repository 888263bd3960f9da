//! What waits for one connection: merged, and bounded whatever is written while the connection is busy.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::take;
use std::sync::{Mutex, MutexGuard, PoisonError};

use sync_protocol::{AppId, Audience, ClientId, TableName, Tables, UserId};
use tokio::sync::Notify;

use crate::{Notice, Writer};

/// The most names of tables that wait for one connection.
pub const MAX_TABLES: usize = 1024;

/// What a connection wants to be told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interest {
    /// The verified user that it is of.
    pub user: UserId,
    /// What its client calls itself; it is not told of this client's own writes.
    pub client: Option<ClientId>,
    /// The app; all of them without one.
    pub app: Option<AppId>,
    /// The tables.
    pub tables: Tables,
}

/// What was told since a connection last looked. That the user is gone comes alone, and again and again. That access has
/// changed comes alone, before what else there is: who asks for the spaces then
/// ([`Listener::set_spaces`](crate::Listener::set_spaces)) hears nothing of those that were left.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// The tables that have changes, by app. None is empty.
    pub tables: BTreeMap<AppId, BTreeSet<TableName>>,
    /// Whether what its user may see has changed.
    pub access: bool,
    /// Whether its user is gone: the connection is to be closed.
    pub gone: bool,
    /// Whether there were more than [`MAX_TABLES`] names, so that some are missing: any table may have changes.
    pub overflowed: bool,
}

impl Interest {
    /// The tables of a notice that are to be told.
    fn told<'a>(&'a self, notice: &'a Notice) -> impl Iterator<Item = &'a TableName> {
        let wanted = self.app.as_ref().is_none_or(|app| *app == notice.app)
            && notice.writer.as_ref().is_none_or(|writer| !self.is(writer));
        notice
            .tables
            .iter()
            .filter(move |table| wanted && self.tables.has(table))
    }

    fn is(&self, writer: &Writer) -> bool {
        !writer.client.is_empty()
            && self.client.as_ref() == Some(&writer.client)
            && self.user == writer.user
    }
}

/// What became of a notice at one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// The connection has no interest in it.
    Passed,
    /// It was idle, and is woken.
    Woken,
    /// It was busy: the notice waits with others.
    Merged,
}

/// What waits: the names by who may see them, since the user may cease to.
#[derive(Debug, Default)]
struct Letters {
    tables: BTreeMap<Audience, BTreeMap<AppId, BTreeSet<TableName>>>,
    /// How many names there are.
    names: usize,
    access: bool,
    gone: bool,
    overflowed: bool,
}

impl Letters {
    fn is_empty(&self) -> bool {
        self.tables.is_empty() && !self.access && !self.gone && !self.overflowed
    }

    fn add(&mut self, notice: &Notice, table: &TableName) {
        let of_audience = self.tables.entry(notice.audience.clone()).or_default();
        let tables = of_audience.entry(notice.app.clone()).or_default();
        if tables.contains(table) {
            return;
        }
        if self.names == MAX_TABLES {
            self.overflowed = true;
            return;
        }
        tables.insert(table.clone());
        self.names += 1;
    }

    /// What is to be told first: that the user is gone, or that access has changed. What follows it may be less than what waits now.
    fn take(&mut self) -> Waiting {
        let mut waiting = Waiting::default();
        if self.gone {
            waiting.gone = true;
            return waiting;
        }
        if take(&mut self.access) {
            waiting.access = true;
            return waiting;
        }
        for (app, tables) in take(&mut self.tables).into_values().flatten() {
            waiting.tables.entry(app).or_default().extend(tables);
        }
        waiting.tables.retain(|_, tables| !tables.is_empty());
        waiting.overflowed = take(&mut self.overflowed);
        self.names = 0;
        waiting
    }
}

/// The mailbox of one connection.
#[derive(Debug)]
pub(crate) struct Mailbox {
    inner: Mutex<Inner>,
    woken: Notify,
}

#[derive(Debug)]
struct Inner {
    interest: Interest,
    letters: Letters,
}

impl Mailbox {
    pub(crate) fn new(interest: Interest) -> Self {
        Self {
            inner: Mutex::new(Inner {
                interest,
                letters: Letters::default(),
            }),
            woken: Notify::new(),
        }
    }

    /// Takes in a notice, if it is of interest.
    pub(crate) fn deliver(&self, notice: &Notice) -> Delivery {
        let mut inner = self.inner();
        let Inner { interest, letters } = &mut *inner;
        let mut told = interest.told(notice).peekable();
        if told.peek().is_none() {
            return Delivery::Passed;
        }
        let was_idle = letters.is_empty();
        for table in told {
            // More names change nothing any more; a push may have thousands.
            letters.add(notice, table);
            if letters.overflowed {
                break;
            }
        }
        drop(inner);
        self.wake(was_idle)
    }

    /// Says that what the user may see has changed.
    pub(crate) fn access_changed(&self) -> Delivery {
        self.say(|letters| letters.access = true)
    }

    /// Says that the user is gone.
    pub(crate) fn user_gone(&self) -> Delivery {
        self.say(|letters| letters.gone = true)
    }

    /// Whether the user is gone.
    pub(crate) fn is_gone(&self) -> bool {
        self.inner().letters.gone
    }

    fn say(&self, write: impl FnOnce(&mut Letters)) -> Delivery {
        let mut inner = self.inner();
        let was_idle = inner.letters.is_empty();
        write(&mut inner.letters);
        drop(inner);
        self.wake(was_idle)
    }

    /// Whoever reads takes all there is, so that only the first to come has to wake it.
    fn wake(&self, was_idle: bool) -> Delivery {
        if !was_idle {
            return Delivery::Merged;
        }
        self.woken.notify_one();
        Delivery::Woken
    }

    /// Waits until there is something, and takes it. Dropped while it waits, it has taken nothing.
    pub(crate) async fn take(&self) -> Waiting {
        loop {
            let waiting = self.inner().letters.take();
            if waiting != Waiting::default() {
                return waiting;
            }
            self.woken.notified().await;
        }
    }

    /// Forgets what waits for this audience: the user is not of it any more.
    pub(crate) fn forget(&self, audience: &Audience) {
        let letters = &mut self.inner().letters;
        let forgotten = letters.tables.remove(audience).into_iter().flatten();
        letters.names -= forgotten.map(|(_, tables)| tables.len()).sum::<usize>();
    }

    /// From now on the connection speaks for this client.
    pub(crate) fn set_client(&self, client: Option<ClientId>) {
        self.inner().interest.client = client;
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
