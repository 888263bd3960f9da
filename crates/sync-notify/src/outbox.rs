//! What a relay has still to send: merged while it is busy or away, and bounded.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::take;
use std::sync::{Mutex, MutexGuard, PoisonError};

use sync_protocol::{AppId, Audience, UserId};
use tokio::sync::Notify;

use crate::{News, Notice, Writer};

/// How many notices wait at the most, how many changes of access, and how many users that are gone. Those
/// beyond are lost, and found by looks, but for the last.
const MAX_WAITING: usize = 10_000;
/// How many tables one waiting notice has at the most.
const MAX_TABLES: usize = 1_000;

/// Where pushes put their news, and one task of a relay takes it from. Putting never waits.
#[derive(Debug, Default)]
pub struct Outbox {
    waiting: Mutex<Waiting>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    changes: BTreeMap<(Audience, AppId, Option<Writer>), Notice>,
    access: BTreeSet<UserId>,
    gone: BTreeSet<UserId>,
    lost: u64,
}

impl Outbox {
    /// Puts news in, merged with what waits already.
    pub fn put(&self, news: News) {
        self.waiting().add(news);
        self.filled.notify_one();
    }

    /// Waits until there is news, and takes all of it. Dropped while it waits, it has taken nothing.
    pub async fn take(&self) -> Vec<News> {
        loop {
            let news = self.waiting().take();
            if !news.is_empty() {
                return news;
            }
            self.filled.notified().await;
        }
    }

    /// How many pieces of news there was no room for.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.waiting().lost
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn add(&mut self, news: News) {
        match news {
            News::Access(user) => Self::add_user(&mut self.access, &mut self.lost, user),
            News::Gone(user) => Self::add_user(&mut self.gone, &mut self.lost, user),
            News::Changes(notice) => self.add_changes(notice),
        }
    }

    fn add_user(users: &mut BTreeSet<UserId>, lost: &mut u64, user: UserId) {
        if users.len() < MAX_WAITING || users.contains(&user) {
            users.insert(user);
        } else {
            *lost += 1;
        }
    }

    fn add_changes(&mut self, notice: Notice) {
        let Notice {
            audience,
            app,
            writer,
            ..
        } = &notice;
        let key = (audience.clone(), app.clone(), writer.clone());
        let has_room = self.changes.len() < MAX_WAITING;
        match self.changes.get_mut(&key) {
            Some(known) if known.tables_with(&notice) <= MAX_TABLES => known.merge(&notice),
            None if has_room && notice.tables.len() <= MAX_TABLES => {
                self.changes.insert(key, notice);
            }
            _ => self.lost += 1,
        }
    }

    fn take(&mut self) -> Vec<News> {
        let access = take(&mut self.access).into_iter().map(News::Access);
        let changes = take(&mut self.changes).into_values().map(News::Changes);
        let gone = take(&mut self.gone).into_iter().map(News::Gone);
        gone.chain(access).chain(changes).collect()
    }
}
