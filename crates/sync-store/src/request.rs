//! What a store is asked, and how much it may answer.

use std::collections::BTreeSet;

use sync_protocol::{
    Answer, AppId, Change, ClientId, EventIds, Millis, Parked, RecordId, SpaceId, TableName,
    Tables, UserId,
};

use crate::{Caller, Cursor, Entry, Intake, Position, Reach, Scope, Stretch, server_changes};

/// The most changes of a page.
pub const MAX_PAGE: usize = 1000;
/// About the most bytes of a page; it holds at least one change whatever its size.
pub const PAGE_BYTES: usize = 4 * 1024 * 1024;

/// What a store has to know to apply the rules of `semantics.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// How far ahead of the server a client's clock may be, in milliseconds.
    pub skew_millis: i64,
    /// How long dead rows, values of deleted records and claims are kept, in milliseconds; 0 is allowed.
    pub history_millis: i64,
}

/// How long uploads are remembered at least, however short the history window is: a device may send again what it got no
/// answer to.
const LEAST_MEMORY_MILLIS: i64 = 24 * 60 * 60 * 1000;

impl Rules {
    /// Since when uploads of the rows dialect are remembered: for the history window, and for a day at least.
    #[must_use]
    pub fn remembers_since(&self, now: Millis) -> Millis {
        Millis(
            now.0
                .saturating_sub(self.history_millis.max(LEAST_MEMORY_MILLIS)),
        )
    }
}

impl Default for Rules {
    /// Five minutes and thirty days.
    fn default() -> Self {
        Self {
            skew_millis: 5 * 60 * 1000,
            history_millis: 30 * 24 * 60 * 60 * 1000,
        }
    }
}

/// A push that was admitted and parsed.
#[derive(Clone, Debug)]
pub struct Push {
    /// Who pushes.
    pub caller: Caller,
    /// The app.
    pub app: AppId,
    /// How far the client has read.
    pub since: Cursor,
    /// What it pushes.
    pub changes: Vec<Change>,
    /// What of it can only be kept aside.
    pub parked: Vec<Parked>,
    /// The time of receipt.
    pub now: Millis,
    /// Where new event ids come from.
    pub ids: EventIds,
}

/// A pull that was admitted and parsed.
#[derive(Clone, Debug)]
pub struct Pull {
    /// Who pulls.
    pub caller: Caller,
    /// The app.
    pub app: AppId,
    /// The tables.
    pub tables: Tables,
    /// How far the client has read.
    pub since: Cursor,
    /// The most changes to answer, 1 to [`MAX_PAGE`].
    pub limit: usize,
    /// About the most bytes to answer, up to [`PAGE_BYTES`]; a page holds at least one change.
    pub bytes: usize,
    /// The time of the request.
    pub now: Millis,
}

/// A wish to move what was kept for a user alone into the spaces that it was meant for.
#[derive(Clone, Debug)]
pub struct Promotion {
    /// The user.
    pub user: UserId,
    /// Behind which position of the personal scope to look; 0 at first.
    pub after: Position,
    /// How many rows to look at, 1 to [`PROMOTION_BATCH`]: fewer, where so many hold too much for one.
    pub limit: usize,
    /// The time of the request.
    pub now: Millis,
    /// Where new event ids come from; others for each batch.
    pub ids: EventIds,
}

/// What became of a [`Promotion`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Promoted {
    /// The app and where in it rows were appended: what others are to be told of.
    pub touched: Option<(AppId, Vec<Touched>)>,
    /// Where to look next; `None` if there is no more.
    pub next: Option<Position>,
}

/// A live row of a user's personal scope that was denied the space that it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    /// Its place in the log.
    pub position: Position,
    /// Its app.
    pub app: AppId,
    /// Its table.
    pub table: TableName,
    /// Its record.
    pub record: RecordId,
    /// The space.
    pub space: SpaceId,
}

/// The most rows that a promotion looks at.
pub const PROMOTION_BATCH: usize = 100;
/// How long after it was denied a change may still be promoted, in milliseconds (`semantics.md`: 30 days).
const PROMOTION_MILLIS: i64 = 30 * 24 * 60 * 60 * 1000;

impl Promotion {
    /// Since when a row must have been received to be promoted.
    #[must_use]
    pub fn received_since(&self) -> Millis {
        Millis(self.now.0.saturating_sub(PROMOTION_MILLIS))
    }

    /// What is to be moved of the rows that were found, at most `limit` in order of position, and where to look
    /// next. Nothing, if there are none.
    #[must_use]
    pub fn intake(&self, reach: Reach, denied: &[Denied]) -> Option<(Intake, Option<Position>)> {
        let app = &denied.first()?.app;
        let of_app = denied.iter().take_while(|row| row.app == *app).count();
        let (batch, others) = denied.split_at(of_app);
        let is_last = others.is_empty() && denied.len() < self.limit;
        let next = batch.last().filter(|_| !is_last).map(|row| row.position);
        let push = Push {
            caller: Caller {
                user: self.user.clone(),
                client: ClientId::nameless(),
            },
            app: app.clone(),
            // Nobody reads the answer.
            since: Cursor::at(Position(i64::MAX)),
            changes: Vec::new(),
            parked: Vec::new(),
            now: self.now,
            ids: self.ids.clone(),
        };
        Some((Intake::promotion(push, reach, batch), next))
    }
}

/// What became of a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// What the client is told.
    pub answer: Answer,
    /// How many rows the push has appended; none if it was a replay.
    pub appended: usize,
    /// Where it has appended them: what others are to be told of.
    pub touched: Vec<Touched>,
}

/// The tables of one scope to which a push has appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Touched {
    /// The scope.
    pub scope: Scope,
    /// The tables; never none.
    pub tables: BTreeSet<TableName>,
    /// The greatest position of the rows.
    pub position: Position,
    /// Whether the rows go out to the client that wrote them, too.
    pub to_everyone: bool,
}

/// Which rows a page is made of: those of an app in some stretches of scopes, live ones only, in the order in which they
/// are read (see [`Window::place`]), without those of `skip`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// The app.
    pub app: AppId,
    /// The tables.
    pub tables: Tables,
    /// Where the rows are. None of them is empty, and no two of the same scope overlap.
    pub stretches: Vec<Stretch>,
    /// Whose own rows are left out, those marked for everyone excepted, and those of stretches that are read at a grant.
    pub skip: Option<(UserId, ClientId)>,
    /// The most rows.
    pub limit: usize,
    /// The most bytes (see [`Entry::written_size`]); the first row counts as fitting.
    pub bytes: usize,
}

impl Window {
    /// The grant at which a row of the page is read, if it is not read at its own position.
    #[must_use]
    pub fn joined(&self, entry: &Entry) -> Option<Position> {
        let has = |stretch: &&Stretch| {
            stretch.scope == entry.scope
                && stretch.after < entry.position
                && entry.position <= stretch.until
        };
        self.stretches.iter().find(has)?.joined
    }

    /// The place of a row of the page among the others: by the position at which it is read, then by its own.
    #[must_use]
    pub fn place(&self, entry: &Entry) -> (Position, Position) {
        let joined = self.joined(entry);
        (joined.unwrap_or(entry.position), entry.position)
    }
}

/// The rows that a store found for a [`Window`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The rows, in order of position.
    pub entries: Vec<Entry>,
    /// Whether the window has more.
    pub has_more: bool,
}

/// Where the log stands for a reader, read under the locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delta {
    /// The greatest committed position of the app in the scopes locked; 0 if there is none.
    pub horizon: Position,
    /// The greatest committed position of the whole database; asked for only if the cursor is above the horizon.
    pub greatest: Position,
    /// Where the import of a replaced service's table has ended; 0 if there was none.
    pub imported: Position,
}

impl Page {
    /// Fills a page from rows in order of position, one more than fits at the most.
    #[must_use]
    pub fn fill(rows: impl IntoIterator<Item = Entry>, window: &Window) -> Self {
        let mut page = Self::default();
        let mut room = window.bytes;
        for entry in rows {
            let size = entry.written_size();
            if page.entries.len() == window.limit || size > room && !page.entries.is_empty() {
                page.has_more = true;
                break;
            }
            room = room.saturating_sub(size);
            page.entries.push(entry);
        }
        page
    }
}

impl Pull {
    /// Where it begins to read.
    fn begins(&self) -> Cursor {
        match &self.tables {
            Tables::Only(tables) if tables.len() <= 1 => self.since,
            Tables::Only(_) | Tables::All => self.since.of_several_tables(),
        }
    }

    /// The rows that answer the pull, for a caller with this reach and up to this horizon.
    #[must_use]
    pub fn window(&self, reach: &Reach, horizon: Position) -> Window {
        let since = self.begins();
        Window {
            app: self.app.clone(),
            tables: self.tables.clone(),
            stretches: reach.stretches(since, horizon),
            skip: own_rows(&self.caller, since),
            limit: self.limit.clamp(1, MAX_PAGE),
            bytes: self.bytes.min(PAGE_BYTES),
        }
    }
}

/// Whose rows are left out of a delta: the caller's own, unless it has no name or hydrates.
pub(crate) fn own_rows(caller: &Caller, since: Cursor) -> Option<(UserId, ClientId)> {
    let own = !caller.client.is_empty() && !since.hydrates();
    own.then(|| (caller.user.clone(), caller.client.clone()))
}

/// The cursor after a page of this window: behind its last row if there are more, else at the horizon, but never before
/// what the client had.
pub(crate) fn synced_until(
    since: Cursor,
    reach: &Reach,
    (window, page): (&Window, &Page),
    delta: Delta,
) -> Cursor {
    let until = match page.entries.last() {
        Some(last) if page.has_more => {
            since.behind(last.position, window.joined(last), reach.newest())
        }
        _ => {
            let horizon = delta.horizon.max(reach.newest());
            Cursor::at(since.position().min(delta.greatest).max(horizon))
        }
    };
    until.given_out(delta.imported)
}

/// The answer of a pull, from the page of its window.
#[must_use]
pub fn pull_answer(
    pull: &Pull,
    reach: &Reach,
    (window, page): (&Window, &Page),
    delta: Delta,
    rules: Rules,
) -> Answer {
    Answer {
        server_changes: server_changes(&page.entries, pull.now, rules),
        conflicts: Vec::new(),
        synced_until: synced_until(pull.begins(), reach, (window, page), delta).to_string(),
        has_more: page.has_more,
        warnings: Vec::new(),
        removed_spaces: reach.left_behind(pull.since),
    }
}
