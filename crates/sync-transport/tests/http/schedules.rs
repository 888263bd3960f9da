//! Random schedules: two users write on two devices each into two tables, alone and in a space, while two readers read now
//! and then, are cut off at any byte, and come back. In the end each has what a pull from the beginning gives.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::Response;
use serde_json::{Value, json};
use sync_store::Role;
use sync_transport::Limits;

use crate::live::inserts;
use crate::stage::{Mood, Stage};
use crate::support::{Server, in_time};

const TABLES: [&str; 2] = ["notes", "tasks"];
const BEGINNING: &str = "1970-01-01T00:00:00.000Z";
const END: &str = "end";

/// splitmix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((bits ^ (bits >> 31)) % sides as u64).unwrap()
    }

    fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }
}

/// What a client has: per record the value of each field and its time, and per table the new records as they came.
#[derive(Debug, Default, PartialEq)]
struct Held {
    records: BTreeMap<(String, String), BTreeMap<String, (String, Value)>>,
    new: BTreeMap<String, Vec<String>>,
}

impl Held {
    /// As the web client does: of a field the later time counts, compared as text, and the later to come of equal ones.
    fn apply(&mut self, change: &Value) {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let (table, id) = (text(&change["table"]), text(&change["id"]));
        let record = self.records.entry((table, id)).or_default();
        let mut take = |name: &String, at: String, value: &Value| {
            if record.get(name).is_none_or(|(own, _)| *own <= at) {
                record.insert(name.clone(), (at, value.clone()));
            }
        };
        if let Some(fields) = change["fields"].as_object() {
            for (name, field) in fields {
                take(name, text(&field["at"]), &field["value"]);
            }
            return;
        }
        for (name, value) in change["data"].as_object().unwrap() {
            take(name, text(&change["data"]["updatedAt"]), value);
        }
    }

    /// New records are written once and never again, so that their order is that of the log.
    fn arrived(&mut self, change: &Value) {
        let id = change["id"].as_str().unwrap().to_owned();
        if id.starts_with("new") {
            let table = change["table"].as_str().unwrap().to_owned();
            self.new.entry(table).or_default().push(id);
        }
    }
}

struct Reader {
    user: String,
    /// Whether it comes back with `Last-Event-ID`, or with the smallest of its tables' cursors, as existing clients do.
    remembers: bool,
    stream: Option<Response>,
    rest: Vec<u8>,
    last_id: Option<String>,
    cursors: BTreeMap<String, String>,
    seen: BTreeSet<String>,
    of_stream: BTreeSet<String>,
    held: Held,
}

impl Reader {
    fn new(user: String, remembers: bool) -> Self {
        Self {
            user,
            remembers,
            stream: None,
            rest: Vec::new(),
            last_id: None,
            cursors: TABLES
                .map(|table| (table.to_owned(), BEGINNING.to_owned()))
                .into(),
            seen: BTreeSet::new(),
            of_stream: BTreeSet::new(),
            held: Held::default(),
        }
    }

    async fn connect(&mut self, server: &Server) {
        let since = self.cursors.values().min().unwrap();
        let query = if self.remembers {
            String::new()
        } else {
            format!("?collections=tasks,notes&since={since}")
        };
        let mut request = server.stream(&self.user, "reader", &query);
        if let (true, Some(id)) = (self.remembers, &self.last_id) {
            request = request.header("Last-Event-ID", id);
        }
        self.stream = Some(in_time(request.send()).await.unwrap());
        self.rest.clear();
        self.of_stream.clear();
    }

    /// Takes what is there, and is cut off in the middle of it, perhaps.
    async fn step(&mut self, server: &Server, dice: &mut Dice) {
        let Some(stream) = &mut self.stream else {
            return self.connect(server).await;
        };
        let patience = async {
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
        };
        let taken = tokio::select! {
            biased;
            taken = stream.chunk() => taken.unwrap().unwrap(),
            () = patience => return,
        };
        if dice.below(3) == 0 {
            self.take(&taken[..dice.below(taken.len())]);
            self.stream = None;
        } else {
            self.take(&taken);
        }
    }

    async fn finish(&mut self, server: &Server) {
        if self.stream.is_none() {
            self.connect(server).await;
        }
        let ends = TABLES.map(|table| (table.to_owned(), END.to_owned()));
        while !ends.iter().all(|end| self.held.records.contains_key(end)) {
            let taken = in_time(self.stream.as_mut().unwrap().chunk()).await;
            self.take(&taken.unwrap().unwrap());
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
        while let Some(end) = self.rest.windows(2).position(|pair| pair == b"\n\n") {
            let event: Vec<u8> = self.rest.drain(..end + 2).collect();
            self.hear(str::from_utf8(&event).unwrap());
        }
    }

    fn hear(&mut self, event: &str) {
        let Some(rest) = event.strip_prefix("event: changes\ndata: ") else {
            assert_eq!(event, ": open\n\n");
            return;
        };
        let (data, rest) = rest.split_once('\n').unwrap();
        let data: Value = serde_json::from_str(data).unwrap();
        for change in data["changes"].as_array().unwrap() {
            let id = change["eventId"].as_str().unwrap().to_owned();
            assert!(
                self.of_stream.insert(id.clone()),
                "one stream sends nothing twice"
            );
            self.held.apply(change);
            if self.seen.insert(id) {
                self.held.arrived(change);
            }
        }
        let until = data["syncedUntil"].as_str().unwrap().to_owned();
        let table = data["table"].as_str().unwrap().to_owned();
        self.cursors.insert(table, until);
        if let Some(id) = rest.strip_prefix("id: ") {
            self.last_id = Some(id.trim_end().to_owned());
        }
    }

    /// What a pull from the beginning gives.
    async fn pulled(&self, server: &Server) -> Held {
        let mut held = Held::default();
        for table in TABLES {
            let (mut since, mut more) = (BEGINNING.to_owned(), true);
            while more {
                let page = server.pull_as(&self.user, "reader", table, &since).await;
                for change in page["serverChanges"].as_array().unwrap() {
                    held.apply(change);
                    held.arrived(change);
                }
                since = page["syncedUntil"].as_str().unwrap().to_owned();
                more = page["hasMore"] == json!(true);
            }
        }
        held
    }
}

/// A few changes: new records, and fields of records that others write, too, at times that are equal now and then.
fn changes(dice: &mut Dice, step: usize, space: &str) -> Value {
    let changes: Vec<_> = (0..=dice.below(4))
        .map(|n| {
            let at = format!("2025-01-0{}T00:00:00.000Z", 1 + dice.below(5));
            let table = dice.of(&TABLES);
            let mut change = if dice.below(2) == 0 {
                json!({"table": table, "id": format!("new{step}-{n}"), "op": "insert",
                    "data": {"a": step, "updatedAt": at}})
            } else {
                json!({"table": table, "id": dice.of(&["x", "y"]), "op": "update",
                    "fields": {dice.of(&["a", "b"]): {"value": dice.below(9), "at": at}}})
            };
            if dice.below(2) == 0 {
                change["spaceId"] = json!(space);
            }
            change
        })
        .collect();
    json!({"since": "", "changes": changes})
}

fn ends() -> Value {
    let at = "2025-01-01T00:00:00.000Z";
    let changes = TABLES
        .map(|table| json!({"table": table, "id": END, "op": "insert", "data": {"updatedAt": at}}));
    json!({"since": "", "changes": changes})
}

/// More than a page.
fn many() -> Value {
    let mut push = inserts(&TABLES, "new-many", 1200);
    for change in push["changes"].as_array_mut().unwrap() {
        change["data"]["updatedAt"] = json!("2025-01-01T00:00:00.000Z");
    }
    push
}

/// With users and a space of its own.
async fn run(seed: u64, server: &Server, stage: &Stage) {
    let mut dice = Dice(seed);
    let space = format!("team{seed}");
    let users = [format!("alice{seed}"), format!("bob{seed}")];
    for user in &users {
        stage.grant(user, &space, Some(Role::Writer)).await;
    }
    let reader = |user: &String| Reader::new(user.clone(), dice.below(2) == 0);
    let mut readers: Vec<_> = users.iter().map(reader).collect();
    let flood = (dice.below(20) == 0).then(|| dice.below(30));
    for step in 0..30 {
        let user = &users[dice.below(2)];
        if flood == Some(step) {
            server.push_as(user, "a", many()).await;
        }
        if dice.below(2) == 0 {
            let body = changes(&mut dice, step, &space);
            server.push_as(user, dice.of(&["a", "b"]), body).await;
        }
        for reader in &mut readers {
            reader.step(server, &mut dice).await;
        }
    }
    for reader in &mut readers {
        server.push_as(&reader.user, "a", ends()).await;
        reader.finish(server).await;
        // Rows that were replaced since are in no pull, and pages put tables together: so the states are compared, and the
        // order of those rows that nothing replaces, table by table.
        assert_eq!(reader.held, reader.pulled(server).await, "seed {seed}");
    }
}

#[tokio::test]
async fn whatever_happens_a_stream_brings_what_a_pull_does() {
    let stage = Stage::new(Mood::Well);
    let (server, _) = Server::live(stage.clone(), Limits::default()).await;
    for seed in 0..200 {
        run(seed, &server, &stage).await;
    }
}
