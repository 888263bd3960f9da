//! What a stream says, as existing clients parse it by hand: `event: `, LF, `data: ` and one line of JSON, LF, then perhaps
//! `id: ` and LF, and an empty line.

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;
use serde::Serialize;
use sync_protocol::{Answer, ServerChange, SpaceId, TableName};

/// What is sent at once: a comment, so that proxies and clients see that the stream is there.
pub(crate) const GREETING: Bytes = Bytes::from_static(b": open\n\n");
/// What is sent now and then.
pub(crate) const HEARTBEAT: Bytes = Bytes::from_static(b"event: heartbeat\ndata: {}\n\n");
/// The last word of a stream whose token has expired.
pub(crate) const AUTH_EXPIRED: Bytes = Bytes::from_static(b"event: auth-expired\ndata: {}\n\n");

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Changes<'a> {
    table: &'a TableName,
    changes: Vec<&'a ServerChange>,
    synced_until: &'a str,
    has_more: bool,
}

#[derive(Serialize)]
struct Spaces<'a> {
    removed: &'a BTreeSet<SpaceId>,
}

/// A page as events: one for each of its tables, in the order of their first changes, then an empty one for each table of
/// `silent`. The last one has the cursor of the page as its id: whoever has read up to it has read all of the page.
pub(crate) fn page(answer: &Answer, silent: &BTreeSet<TableName>) -> Bytes {
    let mut tables: Vec<(&TableName, Vec<&ServerChange>)> = Vec::new();
    let mut places = HashMap::new();
    for change in &answer.server_changes {
        let place = *places.entry(&change.table).or_insert(tables.len());
        if place == tables.len() {
            tables.push((&change.table, Vec::new()));
        }
        tables[place].1.push(change);
    }
    tables.extend(silent.iter().map(|table| (table, Vec::new())));
    let mut text = Vec::new();
    let last = tables.len().saturating_sub(1);
    for (place, (table, changes)) in tables.into_iter().enumerate() {
        let changes = Changes {
            table,
            changes,
            synced_until: &answer.synced_until,
            has_more: answer.has_more,
        };
        let id = (place == last).then_some(answer.synced_until.as_str());
        write(&mut text, "changes", &changes, id);
    }
    // It may wait long to be taken: not with the room that it was written in.
    Bytes::from(text.into_boxed_slice())
}

/// These spaces have been left.
pub(crate) fn spaces(removed: &BTreeSet<SpaceId>) -> Bytes {
    let mut text = Vec::new();
    write(&mut text, "spaces", &Spaces { removed }, None);
    Bytes::from(text)
}

fn write(text: &mut Vec<u8>, event: &str, data: &impl Serialize, id: Option<&str>) {
    text.extend_from_slice(b"event: ");
    text.extend_from_slice(event.as_bytes());
    text.extend_from_slice(b"\ndata: ");
    let data_begins = text.len();
    serde_json::to_writer(&mut *text, data)
        .expect("texts, numbers and kept JSON are always JSON, and memory takes them");
    // Values are kept as they came, with line breaks between their parts; inside of strings there are none. One here would
    // end the event, and what follows it could pose as another.
    for byte in &mut text[data_begins..] {
        if matches!(byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
    if let Some(id) = id {
        text.extend_from_slice(b"\nid: ");
        text.extend_from_slice(id.as_bytes());
    }
    text.extend_from_slice(b"\n\n");
}
