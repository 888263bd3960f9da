//! The existing web client: its database, its pending changes and its cursors, and how it takes what a server answers.
//! Several tabs of a browser share one of these.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value as Json, json};

/// What it takes for the cursor of a table that it has never read.
const BEGINNING: &str = "1970-01-01T00:00:00.000Z";

/// Where the time of a field comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// A change of the server said so.
    Server,
    /// An edit made here.
    Edit,
    /// The client's own now, for lack of a time in an insert (its own, or one of the server).
    Stamp,
}

/// A field of a record. Times are compared as text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Held {
    pub(crate) value: Json,
    pub(crate) at: String,
    pub(crate) source: Source,
}

/// A record: its fields by name.
pub(crate) type Record = BTreeMap<String, Held>;

/// A change that waits to be pushed.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    /// Unlike that of any other pending change of any client.
    pub(crate) number: u64,
    pub(crate) change: Json,
}

/// A browser with a client id. Its database can be lost; its id stays.
#[derive(Clone, Debug)]
pub(crate) struct WebClient {
    pub(crate) user: String,
    pub(crate) id: String,
    tables: Vec<String>,
    /// How many pending changes go into one push; 200 in the real one.
    batch: usize,
    /// Whether each change names the space that its record has in `spaceId`.
    pub(crate) names_spaces: bool,
    pub(crate) records: BTreeMap<(String, String), Record>,
    pub(crate) pending: Vec<Pending>,
    pub(crate) cursors: BTreeMap<String, String>,
    /// The fields that have come for its user alone, by record.
    pub(crate) personal: BTreeMap<(String, String), BTreeSet<String>>,
    /// Changes of the server that it dropped, or answers that failed as a whole, each with the reason: there may be none.
    pub(crate) dropped: Vec<String>,
}

impl WebClient {
    pub(crate) fn new(user: &str, id: &str, tables: &[&str], batch: usize) -> Self {
        Self {
            user: user.to_owned(),
            id: id.to_owned(),
            tables: tables.iter().map(|table| (*table).to_owned()).collect(),
            batch,
            names_spaces: false,
            records: BTreeMap::new(),
            pending: Vec::new(),
            cursors: BTreeMap::new(),
            personal: BTreeMap::new(),
            dropped: Vec::new(),
        }
    }

    /// The browser clears the database, and everything pending with it. The id is kept elsewhere.
    pub(crate) fn lose_database(&mut self) {
        self.records.clear();
        self.pending.clear();
        self.cursors.clear();
    }

    pub(crate) fn cursor(&self, table: &str) -> String {
        self.cursors
            .get(table)
            .map_or(BEGINNING, String::as_str)
            .to_owned()
    }

    /// The body of the next push, and which pending changes are in it. It pushes only if there are any.
    pub(crate) fn next_push(&self, now: &str) -> Option<(String, Vec<u64>)> {
        if self.pending.is_empty() {
            return None;
        }
        let oldest = self.tables.iter().map(|table| self.cursor(table)).min();
        let since = oldest.map_or_else(|| now.to_owned(), |oldest| oldest.min(now.to_owned()));
        let batch = &self.pending[..self.batch.min(self.pending.len())];
        let changes: Vec<&Json> = batch.iter().map(|pending| &pending.change).collect();
        let body =
            json!({"clientId": self.id, "since": since, "schemaVersion": 1, "changes": changes});
        Some((
            body.to_string(),
            batch.iter().map(|pending| pending.number).collect(),
        ))
    }

    /// Takes the answer of a push: what the server changed, then the cursor for all tables, whatever `hasMore` says, then
    /// the pending changes are gone.
    pub(crate) fn take_push_answer(&mut self, answer: &str, sent: &[u64], now: &str) {
        let answer: Json = serde_json::from_str(answer).expect("an answer is JSON");
        if !self.apply_all(&answer, now) {
            return;
        }
        for table in self.tables.clone() {
            self.cursors.insert(table, cursor_of(&answer));
        }
        self.pending
            .retain(|pending| !sent.contains(&pending.number));
    }

    /// Takes a page of a pull: the cursor behind it, and whether to ask for another. `None` if the answer failed.
    pub(crate) fn take_page(&mut self, answer: &str, now: &str) -> Option<(String, bool)> {
        let answer: Json = serde_json::from_str(answer).expect("an answer is JSON");
        let applied = self.apply_all(&answer, now);
        applied.then(|| (cursor_of(&answer), answer["hasMore"] == true))
    }

    fn apply_all(&mut self, answer: &Json, now: &str) -> bool {
        let changes = answer["serverChanges"]
            .as_array()
            .expect("a list of changes");
        for change in changes {
            if let Some(fault) = fault(change) {
                self.dropped.push(format!("{fault}: {change}"));
                continue;
            }
            if !self
                .tables
                .iter()
                .any(|table| change["table"] == table.as_str())
            {
                self.dropped.push(format!("unknown table: {change}"));
                return false;
            }
            self.apply(change, now);
        }
        true
    }

    fn apply(&mut self, change: &Json, now: &str) {
        let text = |name: &str| change[name].as_str().expect("checked before").to_owned();
        let key = (text("table"), text("id"));
        if change.get("author").is_none() {
            let fields = ["fields", "data"].iter();
            let names = fields
                .filter_map(|part| change[part].as_object())
                .flat_map(Map::keys);
            let deletion = change.get("deletedAt").map(|_| "deletedAt".to_owned());
            let personal = self.personal.entry(key.clone()).or_default();
            personal.extend(names.cloned().chain(deletion));
        }
        if change["op"] == "delete" || change.get("deletedAt").is_some() {
            self.apply_delete(&key, change["deletedAt"].as_str());
        } else if change["op"] == "insert" {
            let data = change["data"].as_object().cloned().unwrap_or_default();
            self.apply_insert(key, data, now);
        } else if let Some(fields) = change["fields"].as_object() {
            let fields = fields.iter().map(|(name, field)| {
                let held = Held {
                    value: field["value"].clone(),
                    at: field["at"].as_str().unwrap_or_default().to_owned(),
                    source: Source::Server,
                };
                (name.clone(), held)
            });
            self.merge(key, fields.collect());
        }
    }

    fn apply_delete(&mut self, key: &(String, String), deleted_at: Option<&str>) {
        let Some(record) = self.records.get_mut(key) else {
            return;
        };
        let Some(time) = deleted_at else {
            self.records.remove(key);
            return;
        };
        if record
            .get("deletedAt")
            .is_none_or(|held| time >= held.at.as_str())
        {
            let held = Held {
                value: json!(time),
                at: time.to_owned(),
                source: Source::Server,
            };
            record.insert("deletedAt".to_owned(), held);
        }
    }

    fn apply_insert(&mut self, key: (String, String), data: Map<String, Json>, now: &str) {
        let (at, source) = match time_of(&data) {
            Some(time) => (time, Source::Server),
            None => (now.to_owned(), Source::Stamp),
        };
        let fields = data.into_iter().map(|(name, value)| {
            let held = Held {
                value,
                at: at.clone(),
                source,
            };
            (name, held)
        });
        self.merge(key, fields.collect());
    }

    /// Makes a record of the fields, or takes those into it that are not older.
    fn merge(&mut self, key: (String, String), fields: Record) {
        let record = self.records.entry(key).or_default();
        for (name, field) in fields {
            if record.get(&name).is_none_or(|held| field.at >= held.at) {
                record.insert(name, field);
            }
        }
    }

    // Edits by the person in front of it.

    pub(crate) fn is_live(&self, key: &(String, String)) -> bool {
        self.records
            .get(key)
            .is_some_and(|record| !is_deleted(record))
    }

    /// Makes a record. Where `data` has no time, the own now counts here.
    pub(crate) fn insert(
        &mut self,
        key: &(String, String),
        mut data: Map<String, Json>,
        now: &str,
        number: u64,
    ) {
        data.insert("id".to_owned(), json!(key.1));
        let (at, source) = match time_of(&data) {
            Some(time) => (time, Source::Edit),
            None => (now.to_owned(), Source::Stamp),
        };
        let record = data.iter().map(|(name, value)| {
            let held = Held {
                value: value.clone(),
                at: at.clone(),
                source,
            };
            (name.clone(), held)
        });
        self.records.insert(key.clone(), record.collect());
        self.wait(
            json!({"table": key.0, "id": key.1, "op": "insert", "data": data}),
            number,
        );
    }

    /// Writes fields of a record that is there, at the own now.
    pub(crate) fn update(
        &mut self,
        key: &(String, String),
        fields: &[(&str, Json)],
        now: &str,
        number: u64,
    ) {
        self.edit(key, "update", fields, now, number);
    }

    /// Writes `deletedAt` and fields beside it.
    pub(crate) fn soft_delete(
        &mut self,
        key: &(String, String),
        fields: &[(&str, Json)],
        now: &str,
        number: u64,
    ) {
        self.edit(key, "delete", fields, now, number);
    }

    /// Deletes with the time at the top of the change and no fields.
    pub(crate) fn delete(&mut self, key: &(String, String), now: &str, number: u64) {
        self.write(key, "deletedAt", json!(now), now);
        self.wait(
            json!({"table": key.0, "id": key.1, "op": "delete", "deletedAt": now}),
            number,
        );
    }

    fn edit(
        &mut self,
        key: &(String, String),
        op: &str,
        fields: &[(&str, Json)],
        now: &str,
        number: u64,
    ) {
        let mut written = Map::new();
        for (name, value) in fields {
            self.write(key, name, value.clone(), now);
            written.insert((*name).to_owned(), json!({"value": value, "at": now}));
        }
        self.wait(
            json!({"table": key.0, "id": key.1, "op": op, "fields": written}),
            number,
        );
    }

    fn write(&mut self, key: &(String, String), name: &str, value: Json, now: &str) {
        let held = Held {
            value,
            at: now.to_owned(),
            source: Source::Edit,
        };
        let record = self
            .records
            .get_mut(key)
            .expect("only what is there is edited");
        record.insert(name.to_owned(), held);
    }

    fn wait(&mut self, mut change: Json, number: u64) {
        let key = ["table", "id"].map(|name| change[name].as_str().unwrap_or_default().to_owned());
        let record = self.records.get(&key.into());
        let space = record.and_then(|record| record.get("spaceId"));
        if let (true, Some(space)) = (self.names_spaces, space) {
            change["spaceId"] = space.value.clone();
        }
        self.pending.push(Pending { number, change });
    }
}

pub(crate) fn is_deleted(record: &Record) -> bool {
    record
        .get("deletedAt")
        .is_some_and(|held| !held.value.is_null())
}

/// The time of an insert as a whole.
fn time_of(data: &Map<String, Json>) -> Option<String> {
    ["updatedAt", "createdAt"]
        .into_iter()
        .find_map(|name| data.get(name)?.as_str())
        .map(str::to_owned)
}

fn cursor_of(answer: &Json) -> String {
    answer["syncedUntil"].as_str().expect("a cursor").to_owned()
}

/// Why the client drops a change as a whole.
pub(crate) fn fault(change: &Json) -> Option<&'static str> {
    let is_name = |name: &str| change[name].as_str().is_some_and(|text| !text.is_empty());
    let absent_or = |name: &str, check: fn(&Json) -> bool| change.get(name).is_none_or(check);
    let is_field =
        |field: &Json| field.is_object() && field.get("value").is_some() && field["at"].is_string();
    let fields = change.get("fields");
    let good_fields = fields.is_none_or(|fields| {
        fields
            .as_object()
            .is_some_and(|fields| fields.values().all(is_field))
    });
    let checks = [
        (is_name("table") && is_name("id"), "table or id is no text"),
        (
            matches!(change["op"].as_str(), Some("insert" | "update" | "delete")),
            "op is unknown",
        ),
        (good_fields, "fields are no map of fields"),
        (absent_or("data", Json::is_object), "data is no object"),
        (absent_or("actor", Json::is_object), "actor is no object"),
        (
            absent_or("deletedAt", Json::is_string),
            "deletedAt is no text",
        ),
        (absent_or("origin", Json::is_string), "origin is no text"),
        (absent_or("eventId", Json::is_string), "eventId is no text"),
        (
            absent_or("schemaVersion", Json::is_number),
            "schemaVersion is no number",
        ),
    ];
    checks
        .into_iter()
        .find(|(good, _)| !good)
        .map(|(_, fault)| fault)
}
