//! What follows the log for one stream: it reads to the head by itself, then waits to be told, and reads again from its
//! cursor. Whatever it is told and however slowly it is asked, it holds one page and no queue. Reads are tasks of their own:
//! a client that does not ask for more while one is under way holds up nobody else's.
//!
//! ```text
//! listen -> grants -> page, page, ... up to the head -> wait -> told -> page -> wait ...
//!                  \-> the store is away: wait -> again
//! ```

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use sync_notify::Listener;
use sync_protocol::{Answer, AppId, SpaceId, TableName, Tables};
use sync_store::{Caller, Cursor, MAX_PAGE, Pull, StoreError};
use tokio::time::{Instant, sleep_until};

use crate::grants;
use crate::metrics::Call;
use crate::service::Shared;
use crate::turns::{Part, UserTurns};
use crate::{event, random, task};

/// About the most bytes of a page of a stream. A slow reader holds one.
const PAGE_BYTES: usize = 1024 * 1024;
/// About the most bytes of a page while its user has as many large parts waiting as one may have. A part that is not longer
/// than twice that is not counted.
const SMALL_BYTES: usize = 64 * 1024;
/// How long it waits after the store was away for the first time; each further time twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// One stream.
pub(crate) struct Reader {
    service: Shared,
    listener: Listener,
    turns: UserTurns,
    caller: Caller,
    app: AppId,
    tables: Tables,
    cursor: Cursor,
    /// The tables that were named, until the head is reached for the first time.
    named: BTreeSet<TableName>,
    next: Next,
    /// The spaces that were left, as far as the client was told so since it has read behind that.
    told_left: BTreeSet<SpaceId>,
    /// When it is to be asked how the user stands, before the next read.
    ask_at: Instant,
    pause: Duration,
    is_over: bool,
}

/// When it reads next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// Now.
    Read,
    /// Now, with leave for a large part: there is a change that is one by itself.
    ReadLarge,
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
        let named = match &tables {
            Tables::All => BTreeSet::new(),
            Tables::Only(tables) => tables.clone(),
        };
        Self {
            turns: service.turns.of(&caller.user),
            service,
            listener,
            caller,
            app,
            tables,
            cursor,
            named,
            next: Next::Read,
            told_left: BTreeSet::new(),
            ask_at: Instant::now(),
            pause: FIRST_PAUSE,
            is_over: false,
        }
    }

    /// The next thing to send; `None` at the end. Dropped while it waits to be told, it has lost nothing.
    pub(crate) async fn next(&mut self) -> Option<Bytes> {
        while !self.is_over && !self.listener.is_gone() {
            let said = match self.next {
                Next::Read => {
                    let part = self.turns.try_part();
                    self.read(part).await
                }
                Next::ReadLarge => {
                    let part = self.turns.part().await;
                    self.read(Some(part)).await
                }
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
        match until {
            // What is told meanwhile waits, too.
            Some(until) => sleep_until(until).await,
            None => tokio::select! {
                waiting = self.listener.waiting() => if waiting.access {
                    self.ask_at = Instant::now();
                },
                () = sleep_until(self.ask_at) => {}
            },
        }
        self.next = Next::Read;
    }

    /// Reads once: what there is to send of it.
    async fn read(&mut self, part: Option<Part>) -> Option<Bytes> {
        match self.try_to_read(part).await {
            Ok(said) => {
                self.pause = FIRST_PAUSE;
                said
            }
            Err(StoreError::Unavailable(_)) => {
                self.next = Next::Wait(Some(Instant::now() + random::shortened(self.pause)));
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

    async fn try_to_read(&mut self, part: Option<Part>) -> Result<Option<Bytes>, StoreError> {
        if self.ask_at <= Instant::now() && !self.stands().await? {
            self.is_over = true;
            return Ok(None);
        }
        let bytes = if part.is_some() {
            PAGE_BYTES
        } else {
            SMALL_BYTES
        };
        let answer = self.page(bytes).await?;
        let mut silent = BTreeSet::new();
        if !answer.has_more {
            silent.clone_from(&self.named);
            for change in &answer.server_changes {
                silent.remove(&change.table);
            }
        }
        let mut said = self.left(&answer);
        if !answer.server_changes.is_empty() || !silent.is_empty() {
            said = joined(said, event::page(&answer, &silent));
        }
        match part {
            None if said.len() > 2 * SMALL_BYTES => {
                self.next = Next::ReadLarge;
                Ok(None)
            }
            part => {
                self.pass(&answer);
                Ok((!said.is_empty()).then(|| held(said, part)))
            }
        }
    }

    /// What there is to say of spaces that were left, before the page: whoever goes on behind it must have heard that.
    fn left(&self, answer: &Answer) -> Bytes {
        let left: BTreeSet<_> = answer.removed_spaces.iter().cloned().collect();
        let news: BTreeSet<_> = left.difference(&self.told_left).cloned().collect();
        if news.is_empty() {
            return Bytes::new();
        }
        event::spaces(&news)
    }

    /// The page is said, or has nothing to say: what comes next is behind it.
    fn pass(&mut self, answer: &Answer) {
        self.cursor = Cursor::parse(&answer.synced_until);
        self.told_left = answer.removed_spaces.iter().cloned().collect();
        self.next = Next::Read;
        if !answer.has_more {
            self.next = Next::Wait(None);
            self.named.clear();
        }
    }

    /// Listens to the spaces that the user may read; says whether the user may go on at all.
    async fn stands(&mut self) -> Result<bool, StoreError> {
        let who = (&self.caller.user, Some(&self.app));
        let standing = grants::standing(&self.service, &self.turns, who).await?;
        self.listener.set_spaces(standing.spaces);
        self.ask_at = Instant::now() + standing.again;
        Ok(standing.is_active)
    }

    async fn page(&self, bytes: usize) -> Result<Answer, StoreError> {
        let pull = Pull {
            caller: self.caller.clone(),
            app: self.app.clone(),
            tables: self.tables.clone(),
            since: self.cursor,
            limit: MAX_PAGE,
            bytes,
            now: self.service.now(),
        };
        let (service, turn) = (self.service.clone(), self.turns.take());
        task::alone(async move {
            let _turn = turn.await;
            let began = Instant::now();
            let answer = service.store.pull(pull).await;
            let metrics = &service.metrics;
            metrics.waited(Call::Stream, began.elapsed(), answer.as_ref().err());
            let answer = answer?;
            metrics.answered(&answer);
            Ok(answer)
        })
        .await
    }
}

/// One behind the other; mostly there is only one.
fn joined(first: Bytes, second: Bytes) -> Bytes {
    if first.is_empty() {
        return second;
    }
    Bytes::from([first, second].concat())
}

/// A part of a stream; one that is large keeps its leave until it is on its way.
fn held(part: Bytes, leave: Option<Part>) -> Bytes {
    match leave {
        Some(leave) if part.len() > 2 * SMALL_BYTES => Bytes::from_owner(Held {
            part,
            _leave: leave,
        }),
        _ => part,
    }
}

struct Held {
    part: Bytes,
    _leave: Part,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.part
    }
}
