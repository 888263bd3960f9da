//! What follows the log for one stream: it reads to the head by itself, then waits to be told, and reads again from its
//! cursor. Whatever it is told and however slowly it is asked, it holds one page and no queue.
//!
//! ```text
//! listen -> grants -> page, page, ... up to the head -> wait -> told -> page -> wait ...
//!                  \-> the store is away: wait -> again
//! ```

use std::collections::BTreeSet;
use std::future::pending;
use std::mem::take;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sync_notify::Listener;
use sync_protocol::{Answer, AppId, SpaceId, TableName, Tables};
use sync_store::{Caller, Cursor, MAX_PAGE, Pull, StoreError};
use tokio::time::{Instant, sleep_until};

use crate::event;
use crate::metrics::Call;
use crate::service::Shared;

/// About the most bytes of a page of a stream. A slow reader holds one.
const PAGE_BYTES: usize = 1024 * 1024;
/// How long it waits after the store was away for the first time; each further time twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

/// One stream.
pub(crate) struct Reader {
    service: Shared,
    listener: Listener,
    caller: Caller,
    app: AppId,
    tables: Tables,
    cursor: Cursor,
    /// The tables that were named and have had no event yet; none any more once the head was reached.
    silent: BTreeSet<TableName>,
    next: Next,
    /// Whether the grants are to be asked for before the next read.
    ask_grants: bool,
    pause: Duration,
    is_over: bool,
}

/// When it reads next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// Now.
    Read,
    /// When it is told, or at a time after a failure.
    Wait(Option<Instant>),
}

impl Reader {
    /// Follows what the caller may see of an app's tables from the cursor on.
    pub(crate) fn new(
        service: Shared,
        listener: Listener,
        (caller, app, tables): (Caller, AppId, Tables),
        cursor: Cursor,
    ) -> Self {
        let silent = match &tables {
            Tables::All => BTreeSet::new(),
            Tables::Only(tables) => tables.clone(),
        };
        Self {
            service,
            listener,
            caller,
            app,
            tables,
            cursor,
            silent,
            next: Next::Read,
            ask_grants: true,
            pause: FIRST_PAUSE,
            is_over: false,
        }
    }

    /// The next thing to send; `None` at the end. Dropped while it waits to be told, it has lost nothing.
    pub(crate) async fn next(&mut self) -> Option<Bytes> {
        while !self.is_over {
            let said = match self.next {
                Next::Read => self.read().await,
                Next::Wait(until) => {
                    self.wait(until).await;
                    None
                }
            };
            if said.is_some() {
                return said;
            }
        }
        None
    }

    /// Waits for news, and for the time to try again.
    async fn wait(&mut self, until: Option<Instant>) {
        let again = async {
            match until {
                Some(until) => sleep_until(until).await,
                None => pending().await,
            }
        };
        tokio::select! {
            waiting = self.listener.waiting() => self.ask_grants |= waiting.access,
            () = again => {}
        }
        self.next = Next::Read;
    }

    /// Reads once: what there is to send of it.
    async fn read(&mut self) -> Option<Bytes> {
        match self.try_to_read().await {
            Ok(said) => {
                self.pause = FIRST_PAUSE;
                said
            }
            Err(StoreError::Unavailable(_)) => {
                self.next = Next::Wait(Some(Instant::now() + self.pause));
                self.pause = LONGEST_PAUSE.min(self.pause * 2);
                None
            }
            Err(error) => {
                tracing::error!(%error, "a stream ends");
                self.is_over = true;
                None
            }
        }
    }

    async fn try_to_read(&mut self) -> Result<Option<Bytes>, StoreError> {
        let turn = Arc::clone(&self.service.stream_reads).acquire_owned().await;
        let _turn = turn.expect("the semaphore is never closed");
        if self.ask_grants {
            let removed = self.listen_to_spaces().await?;
            self.ask_grants = false;
            if !removed.is_empty() {
                return Ok(Some(event::spaces(&removed)));
            }
        }
        let answer = self.page().await?;
        self.cursor = Cursor::parse(&answer.synced_until);
        for change in &answer.server_changes {
            self.silent.remove(&change.table);
        }
        let mut silent = BTreeSet::new();
        if !answer.has_more {
            self.next = Next::Wait(None);
            silent = take(&mut self.silent);
        }
        let has_events = !answer.server_changes.is_empty() || !silent.is_empty();
        Ok(has_events.then(|| event::page(&answer, &silent)))
    }

    /// Listens to the spaces of the grants; gives those that were left.
    async fn listen_to_spaces(&mut self) -> Result<BTreeSet<SpaceId>, StoreError> {
        let grants = self.service.store.grants(self.caller.user.clone()).await?;
        let spaces: BTreeSet<_> = grants.into_iter().map(|grant| grant.space).collect();
        let removed = self
            .listener
            .spaces()
            .difference(&spaces)
            .cloned()
            .collect();
        self.listener.set_spaces(spaces);
        Ok(removed)
    }

    async fn page(&self) -> Result<Answer, StoreError> {
        let pull = Pull {
            caller: self.caller.clone(),
            app: self.app.clone(),
            tables: self.tables.clone(),
            since: self.cursor,
            limit: MAX_PAGE,
            bytes: PAGE_BYTES,
            now: self.service.now(),
        };
        let began = Instant::now();
        let answer = self.service.store.pull(pull).await;
        let metrics = &self.service.metrics;
        metrics.waited(Call::Stream, began.elapsed(), answer.as_ref().err());
        let answer = answer?;
        metrics.answered(&answer);
        Ok(answer)
    }
}
