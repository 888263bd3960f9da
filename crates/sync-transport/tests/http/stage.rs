//! A store whose reads can be held, refused and counted, while others go on writing to it.

use std::sync::Arc;

use sync_protocol::{Answer, AppId, Millis, UserId};
use sync_store::{
    Erased, Erasure, Export, Exported, Grant, Membership, MemoryStore, ParkedChange, Pending,
    Promoted, Promotion, Pull, Push, Pushed, Regranted, Role, Rules, Stats, Store, StoreError,
    Swept,
};
use tokio::sync::watch;

use crate::support::{NOW, in_time};

/// What becomes of reads; pushes always go through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Well,
    Away,
    Broken,
    /// Nothing is answered, not even for the grants.
    Silent,
    /// So many pulls are answered; what the further ones have read is held back.
    Holding(usize),
}

#[derive(Clone, Copy)]
struct State {
    mood: Mood,
    asked: usize,
    read: usize,
}

/// The store in memory, with moods.
pub(crate) struct Stage {
    store: MemoryStore,
    state: watch::Sender<State>,
}

impl Stage {
    pub(crate) fn new(mood: Mood) -> Arc<Self> {
        let state = State {
            mood,
            asked: 0,
            read: 0,
        };
        Arc::new(Self {
            store: MemoryStore::new(Rules::default()),
            state: watch::Sender::new(state),
        })
    }

    pub(crate) fn set(&self, mood: Mood) {
        self.state.send_modify(|state| state.mood = mood);
    }

    /// How many times it was asked for grants or a page.
    pub(crate) fn asked(&self) -> usize {
        self.state.borrow().asked
    }

    /// How many pulls have read.
    pub(crate) fn reads(&self) -> usize {
        self.state.borrow().read
    }

    /// Until so many pulls have read, whether or not they are answered yet.
    pub(crate) async fn have_read(&self, count: usize) {
        self.wait(|state| state.read >= count).await;
    }

    /// Until it was asked so many times, for grants or a page, whatever it answered.
    pub(crate) async fn was_asked(&self, count: usize) {
        self.wait(|state| state.asked >= count).await;
    }

    pub(crate) async fn grant(&self, user: &str, space: &str, role: Option<Role>) {
        sync_store::contract::grant(&self.store, user, space, role, NOW).await;
    }

    async fn wait(&self, is_so: impl Fn(&State) -> bool) {
        let mut state = self.state.subscribe();
        in_time(state.wait_for(is_so)).await.unwrap();
    }

    async fn pass(&self) -> Result<(), StoreError> {
        self.state.send_modify(|state| state.asked += 1);
        let mut state = self.state.subscribe();
        let awake = state.wait_for(|state| state.mood != Mood::Silent).await;
        match awake.unwrap().mood {
            Mood::Away => Err(StoreError::unavailable("connection refused")),
            Mood::Broken => Err(StoreError::fault("column \"secret\" does not exist")),
            Mood::Well | Mood::Silent | Mood::Holding(_) => Ok(()),
        }
    }
}

impl Store for Stage {
    fn push(&self, push: Push) -> Pending<'_, Pushed> {
        self.store.push(push)
    }

    fn upload(&self, upload: sync_store::Upload) -> Pending<'_, sync_store::Uploaded> {
        Box::pin(async {
            self.pass().await?;
            self.store.upload(upload).await
        })
    }

    fn download(
        &self,
        download: sync_store::Download,
    ) -> Pending<'_, sync_protocol::rows::DownloadPage> {
        Box::pin(async {
            self.pass().await?;
            self.store.download(download).await
        })
    }

    fn pull(&self, pull: Pull) -> Pending<'_, Answer> {
        Box::pin(async {
            self.pass().await?;
            let answer = self.store.pull(pull).await;
            self.state.send_modify(|state| state.read += 1);
            let own = self.reads();
            let held = |state: &State| matches!(state.mood, Mood::Holding(free) if own > free);
            let mut state = self.state.subscribe();
            drop(state.wait_for(|state| !held(state)).await);
            answer
        })
    }

    fn regrant(&self, membership: Membership, now: Millis) -> Pending<'_, Regranted> {
        self.store.regrant(membership, now)
    }

    fn promote(&self, promotion: Promotion) -> Pending<'_, Promoted> {
        self.store.promote(promotion)
    }

    fn grants(&self, user: UserId) -> Pending<'_, Vec<Grant>> {
        Box::pin(async {
            self.pass().await?;
            self.store.grants(user).await
        })
    }

    fn parked(&self, user: UserId, app: AppId) -> Pending<'_, Vec<ParkedChange>> {
        self.store.parked(user, app)
    }

    fn export(&self, export: Export) -> Pending<'_, Exported> {
        Box::pin(async {
            self.pass().await?;
            self.store.export(export).await
        })
    }

    fn erase(&self, erasure: Erasure) -> Pending<'_, Erased> {
        Box::pin(async {
            self.pass().await?;
            self.store.erase(erasure).await
        })
    }

    fn sweep(&self, now: Millis) -> Pending<'_, Swept> {
        self.store.sweep(now)
    }

    fn stats(&self) -> Pending<'_, Stats> {
        self.store.stats()
    }

    fn ready(&self) -> Pending<'_, ()> {
        self.store.ready()
    }
}
