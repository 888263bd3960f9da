//! What a store is asked, and how much it may answer.

use std::collections::BTreeSet;

use sync_protocol::{
    Answer, AppId, Change, ClientId, EventIds, Millis, Parked, TableName, Tables, UserId,
};

use crate::{Caller, Cursor, Entry, Position, Scope, server_changes};

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

/// Which rows a page is made of: those of an app in some scopes with `after < position <= until`, in order of position,
/// live ones only, without those of `skip`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// The app.
    pub app: AppId,
    /// The tables.
    pub tables: Tables,
    /// The scopes, locked for reading or writing.
    pub scopes: Vec<Scope>,
    /// The position behind which the page begins.
    pub after: Position,
    /// The last position that may be in it.
    pub until: Position,
    /// Whose own rows are left out, those marked for everyone excepted.
    pub skip: Option<(UserId, ClientId)>,
    /// The most rows.
    pub limit: usize,
    /// The most bytes (see [`Entry::written_size`]); the first row counts as fitting.
    pub bytes: usize,
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
    /// The rows that answer the pull, in these scopes and up to this horizon.
    #[must_use]
    pub fn window(&self, scopes: Vec<Scope>, horizon: Position) -> Window {
        Window {
            app: self.app.clone(),
            tables: self.tables.clone(),
            scopes,
            after: self.since.position(),
            until: horizon,
            skip: own_rows(&self.caller, self.since),
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

/// The cursor after a page: its last row if there are more, else the horizon, but never before what the client had.
pub(crate) fn synced_until(since: Cursor, page: &Page, delta: Delta) -> Cursor {
    match page.entries.last() {
        Some(last) if page.has_more => Cursor::at(last.position).hydrating(since.hydrates()),
        _ => Cursor::at(since.position().min(delta.greatest).max(delta.horizon)),
    }
}

/// The answer of a pull.
#[must_use]
pub fn pull_answer(pull: &Pull, page: &Page, delta: Delta, rules: Rules) -> Answer {
    Answer {
        server_changes: server_changes(&page.entries, pull.now, rules),
        conflicts: Vec::new(),
        synced_until: synced_until(pull.since, page, delta).to_string(),
        has_more: page.has_more,
        warnings: Vec::new(),
        removed_spaces: Vec::new(),
    }
}
