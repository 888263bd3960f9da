//! An export as lines of JSON: first whose it is, then one line for each thing, last how many lines there were. A file that
//! was cut off lacks the last line.

use std::sync::Arc;

use async_stream::try_stream;
use bytes::Bytes;
use futures_util::Stream;
use serde::Serialize;
use sync_protocol::{
    AppId, Audience, ClientId, EventId, FieldName, Members, Millis, RecordId, SpaceId, TableName,
    UserId, Value,
};
use sync_store::{
    Cursor, Entry, Export, Exported, Grant, Item, ParkedChange, Place, Position, Role, Store,
    StoreError,
};

use crate::task;

/// What the lines look like; it rises when a reader would have to know.
const VERSION: u32 = 1;

/// Everything of a user or a space as lines of JSON, a part for each page of the store. A page is asked for when the part
/// before it was taken: whoever reads slowly holds one part, and no transaction.
///
/// # Errors
///
/// Those of the store; they end it.
pub fn export(
    store: Arc<dyn Store>,
    of: Audience,
    now: Millis,
) -> impl Stream<Item = Result<Bytes, StoreError>> + Send {
    try_stream! {
        let mut lines = Lines::default();
        lines.add(&Line::head(&of, now));
        let mut after = Some(Place::default());
        while let Some(place) = after {
            let export = Export { of: of.clone(), after: place };
            let store = Arc::clone(&store);
            let page = task::alone(async move { store.export(export).await });
            let Exported { items, next } = page.await?;
            items.iter().for_each(|item| lines.add(&Line::of(item)));
            after = next;
            if !lines.text.is_empty() {
                yield lines.take();
            }
        }
        let count = lines.count;
        lines.add(&Line::End { lines: count });
        yield lines.take();
    }
}

/// Lines that are to go out, and how many there were.
#[derive(Default)]
struct Lines {
    text: Vec<u8>,
    count: u64,
}

impl Lines {
    fn add(&mut self, line: &Line<'_>) {
        let begins = self.text.len();
        serde_json::to_writer(&mut self.text, line)
            .expect("texts, numbers and kept JSON are always JSON, and memory takes them");
        // Values are kept as they came, with line breaks between their parts; inside of strings there are none.
        for byte in &mut self.text[begins..] {
            if matches!(byte, b'\n' | b'\r') {
                *byte = b' ';
            }
        }
        self.text.push(b'\n');
        self.count += 1;
    }

    fn take(&mut self) -> Bytes {
        Bytes::from(std::mem::take(&mut self.text))
    }
}

#[derive(Serialize)]
#[serde(
    tag = "kind",
    rename_all = "lowercase",
    rename_all_fields = "camelCase"
)]
enum Line<'a> {
    Export {
        version: u32,
        #[serde(skip_serializing_if = "Option::is_none")]
        user: Option<&'a UserId>,
        #[serde(skip_serializing_if = "Option::is_none")]
        space: Option<&'a SpaceId>,
        at: String,
    },
    Grant {
        user: &'a UserId,
        space: &'a SpaceId,
        #[serde(skip_serializing_if = "Option::is_none")]
        role: Option<&'static str>,
        position: String,
    },
    Parked {
        app_id: &'a AppId,
        reason: &'a str,
        change: &'a Value,
    },
    Change {
        position: String,
        scope: String,
        app_id: &'a AppId,
        table: &'a TableName,
        id: &'a RecordId,
        op: &'static str,
        event_id: EventId,
        schema_version: i64,
        author: &'a UserId,
        client_id: &'a str,
        received_at: String,
        fields: Members<&'a FieldName, FieldLine<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        space_id: Option<&'a SpaceId>,
        #[serde(skip_serializing_if = "Option::is_none")]
        actor: Option<&'a Value>,
        #[serde(skip_serializing_if = "Option::is_none")]
        origin: Option<&'a Value>,
        #[serde(skip_serializing_if = "Option::is_none")]
        dead_since: Option<String>,
    },
    End {
        lines: u64,
    },
}

#[derive(Serialize)]
struct FieldLine<'a> {
    value: &'a Value,
    at: String,
}

impl<'a> Line<'a> {
    fn head(of: &'a Audience, now: Millis) -> Self {
        let (user, space) = match of {
            Audience::User(user) => (Some(user), None),
            Audience::Space(space) => (None, Some(space)),
        };
        Self::Export {
            version: VERSION,
            user,
            space,
            at: now.to_string(),
        }
    }

    fn of(item: &'a Item) -> Self {
        match item {
            Item::Grant(user, grant) => Self::grant(user, grant),
            Item::Parked(app_id, ParkedChange { raw, reason }) => Self::Parked {
                app_id,
                reason,
                change: raw,
            },
            Item::Change(entry, dead_since) => Self::change(entry, *dead_since),
        }
    }

    fn grant(user: &'a UserId, grant: &'a Grant) -> Self {
        Self::Grant {
            user,
            space: &grant.space,
            role: grant.role.map(Role::as_str),
            position: position(grant.position),
        }
    }

    fn change(entry: &'a Entry, dead_since: Option<Millis>) -> Self {
        let fields = entry.fields.iter().map(|(name, value, at)| {
            let at = at.to_string();
            (name, FieldLine { value, at })
        });
        Self::Change {
            position: position(entry.position),
            scope: entry.scope.key(),
            app_id: &entry.app,
            table: &entry.table,
            id: &entry.record,
            op: entry.op.as_str(),
            event_id: entry.event_id,
            schema_version: entry.schema_version,
            author: &entry.user,
            client_id: ClientId::as_str(&entry.client),
            received_at: entry.received.to_string(),
            fields: fields.collect(),
            space_id: entry.space.as_ref(),
            actor: entry.actor.as_ref(),
            origin: entry.origin.as_ref(),
            dead_since: dead_since.map(|since| since.to_string()),
        }
    }
}

/// A position as cursors have it.
fn position(position: Position) -> String {
    Cursor::at(position).to_string()
}
