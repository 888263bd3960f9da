//! Names, notices and listeners, in few words.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use sync_notify::{Hub, Interest, Listener, News, Notice, Waiting, Writer};
use sync_protocol::{AppId, Audience, ClientId, SpaceId, TableName, Tables, UserId};

pub(crate) fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

pub(crate) fn space(name: &str) -> SpaceId {
    SpaceId::new(name).unwrap()
}

pub(crate) fn app(name: &str) -> AppId {
    AppId::new(name).unwrap()
}

pub(crate) fn table(name: &str) -> TableName {
    TableName::new(name).unwrap()
}

pub(crate) fn tables(names: &[&str]) -> BTreeSet<TableName> {
    names.iter().map(|name| table(name)).collect()
}

pub(crate) fn to_user(name: &str) -> Audience {
    Audience::User(user(name))
}

pub(crate) fn to_space(name: &str) -> Audience {
    Audience::Space(space(name))
}

pub(crate) fn by(name: &str, client: &str) -> Option<Writer> {
    Some(Writer {
        user: user(name),
        client: ClientId::new(client).unwrap(),
    })
}

/// A notice of the app `app` at position 1 that anybody could have written.
pub(crate) fn notice(audience: Audience, names: &[&str]) -> Notice {
    Notice {
        audience,
        app: app("app"),
        tables: tables(names),
        writer: None,
        position: 1,
    }
}

/// An interest in everything of a user.
pub(crate) fn everything(name: &str) -> Interest {
    Interest {
        user: user(name),
        client: None,
        app: None,
        tables: Tables::All,
    }
}

/// A listener to everything of a user.
pub(crate) fn listens(hub: &Arc<Hub>, name: &str) -> Listener {
    hub.listen(everything(name)).unwrap()
}

/// A listener to everything of a user that speaks for this client.
pub(crate) fn listens_as(hub: &Arc<Hub>, name: &str, client: &str) -> Listener {
    let client = Some(ClientId::new(client).unwrap());
    let interest = Interest {
        client,
        ..everything(name)
    };
    hub.listen(interest).unwrap()
}

pub(crate) fn announce(hub: &Hub, notice: Notice) {
    hub.announce(&News::Changes(notice));
}

/// Who is woken, and remembers it.
#[derive(Default)]
pub(crate) struct Alarm(AtomicBool);

impl Alarm {
    pub(crate) fn rang(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What a future gives without waiting.
pub(crate) fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

/// All that waits for a listener, if anything does.
pub(crate) fn told(listener: &Listener) -> Option<Waiting> {
    at_once(listener.waiting())
}

/// The tables of the app `app` that a listener is told of, and nothing else.
pub(crate) fn told_tables(listener: &Listener) -> Vec<String> {
    let Some(mut waiting) = told(listener) else {
        return Vec::new();
    };
    let tables = waiting.tables.remove(&app("app")).unwrap_or_default();
    assert_eq!(waiting, Waiting::default());
    tables.iter().map(ToString::to_string).collect()
}
