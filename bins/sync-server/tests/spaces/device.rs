//! One device of a person: it writes on the first node and reads on the last.

use std::pin::pin;

use sync_client::{Answer, Client, NewChange, WarningCode};
use sync_protocol::{FieldTime, Value};
use tokio::time::timeout;

use crate::ear::Ear;
use crate::held::Held;
use crate::waiting::PATIENCE;
use crate::world::TABLE;

/// When everybody began to write: 2025.
const BEGINNING: i64 = 1_735_689_600_000;

/// A device, with what it holds.
pub(crate) struct Device {
    pub(crate) writes: Client,
    pub(crate) reads: Client,
    pub(crate) held: Held,
    cursor: String,
}

/// What a device was given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Given {
    /// How many changes.
    pub(crate) changes: usize,
    /// The spaces to be purged, once for each page that said so.
    pub(crate) removed: Vec<String>,
}

impl Device {
    /// One that has nothing yet.
    pub(crate) fn new(writes: Client, reads: Client) -> Self {
        Self {
            writes,
            reads,
            held: Held::default(),
            cursor: String::new(),
        }
    }

    /// Pushes, and takes in what is answered.
    pub(crate) async fn push(&mut self, changes: &[NewChange]) -> Answer {
        let pushed = within(self.writes.push(&self.cursor, changes)).await;
        let answer = pushed.unwrap();
        self.held.take(&answer);
        self.cursor.clone_from(&answer.synced_until);
        answer
    }

    /// Pushes what is taken as it is.
    pub(crate) async fn writes(&mut self, changes: &[NewChange]) {
        assert_eq!(self.push(changes).await.warnings, []);
    }

    /// Pushes what is kept for this person alone, each change of it.
    pub(crate) async fn is_denied(&mut self, changes: &[NewChange]) -> Answer {
        let answer = self.push(changes).await;
        let warned = answer.warnings.iter();
        let warned: Vec<_> = warned
            .map(|warning| (warning.change, warning.code))
            .collect();
        let denied = |change| (change, WarningCode::SpaceWriteDenied);
        let all: Vec<_> = (0..changes.len()).map(denied).collect();
        assert_eq!(warned, all);
        answer
    }

    /// Reads to the head.
    pub(crate) async fn pull(&mut self) -> Given {
        let mut given = Given::default();
        let held = &mut self.held;
        let page = |answer: Answer| {
            given.changes += answer.server_changes.len();
            let removed = answer.removed_spaces.iter().map(ToString::to_string);
            given.removed.extend(removed);
            held.take(&answer);
        };
        let pulled = within(self.reads.pull_to_head(TABLE, &self.cursor, page)).await;
        self.cursor = pulled.unwrap();
        given
    }

    /// Reads one page: whether there is more.
    pub(crate) async fn pull_a_page(&mut self) -> bool {
        let answer = within(self.reads.pull(TABLE, &self.cursor)).await.unwrap();
        self.held.take(&answer);
        self.cursor.clone_from(&answer.synced_until);
        answer.has_more
    }

    /// Listens from where it is.
    pub(crate) fn stream(&self) -> Ear {
        Ear(self.reads.stream(&[TABLE], &self.cursor))
    }
}

/// A field of a record, written so many milliseconds after the beginning.
pub(crate) fn edit(id: &str, field: &str, text: &str, after: i64) -> NewChange {
    let at = FieldTime::from_millis(BEGINNING + after);
    NewChange::update(TABLE, id).set(field, Value::string(text), at)
}

/// The same, in a space.
pub(crate) fn edit_in(space: &str, id: &str, field: &str, text: &str, after: i64) -> NewChange {
    NewChange {
        space_id: Some(space.to_owned()),
        ..edit(id, field, text, after)
    }
}

/// The end of a record in a space.
pub(crate) fn delete_in(space: &str, id: &str, after: i64) -> NewChange {
    let at = FieldTime::from_millis(BEGINNING + after);
    NewChange {
        space_id: Some(space.to_owned()),
        ..NewChange::delete(TABLE, id, at)
    }
}

/// A new record in a space.
pub(crate) fn note_in(space: &str, id: &str) -> NewChange {
    let at = FieldTime::from_millis(BEGINNING).to_string();
    let note = NewChange::insert(TABLE, id)
        .with("title", Value::string(id))
        .with("updatedAt", Value::string(&at));
    NewChange {
        space_id: Some(space.to_owned()),
        ..note
    }
}

/// What comes of something, in time.
pub(crate) async fn within<T>(something: impl Future<Output = T>) -> T {
    let outcome = timeout(PATIENCE, pin!(something)).await;
    outcome.expect("it is done in time")
}
