//! What waits for one connection: merged, and bounded whatever is written while the connection is busy.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::take;
use std::sync::{Mutex, MutexGuard, PoisonError};

use sync_protocol::{AppId, ClientId, TableName, Tables, UserId};
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

/// What was told since a connection last looked.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// The tables that have changes, by app. None is empty.
    pub tables: BTreeMap<AppId, BTreeSet<TableName>>,
    /// Whether what its user may see has changed.
    pub access: bool,
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

impl Waiting {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn add(&mut self, app: &AppId, table: &TableName) {
        let known = self.tables.get(app);
        if self.overflowed || known.is_some_and(|tables| tables.contains(table)) {
            return;
        }
        let names: usize = self.tables.values().map(BTreeSet::len).sum();
        if names == MAX_TABLES {
            self.overflowed = true;
            return;
        }
        let tables = self.tables.entry(app.clone()).or_default();
        tables.insert(table.clone());
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
    waiting: Waiting,
}

impl Mailbox {
    pub(crate) fn new(interest: Interest) -> Self {
        Self {
            inner: Mutex::new(Inner {
                interest,
                waiting: Waiting::default(),
            }),
            woken: Notify::new(),
        }
    }

    /// Takes in a notice, if it is of interest.
    pub(crate) fn deliver(&self, notice: &Notice) -> Delivery {
        let mut inner = self.inner();
        let Inner { interest, waiting } = &mut *inner;
        let mut told = interest.told(notice).peekable();
        if told.peek().is_none() {
            return Delivery::Passed;
        }
        let was_idle = waiting.is_empty();
        for table in told {
            waiting.add(&notice.app, table);
            // More names change nothing any more; a push may have thousands.
            if waiting.overflowed {
                break;
            }
        }
        drop(inner);
        self.wake(was_idle)
    }

    /// Says that what the user may see has changed.
    pub(crate) fn access_changed(&self) -> Delivery {
        let mut inner = self.inner();
        let was_idle = inner.waiting.is_empty();
        inner.waiting.access = true;
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
            let waiting = take(&mut self.inner().waiting);
            if !waiting.is_empty() {
                return waiting;
            }
            self.woken.notified().await;
        }
    }

    /// From now on the connection speaks for this client.
    pub(crate) fn set_client(&self, client: Option<ClientId>) {
        self.inner().interest.client = client;
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
