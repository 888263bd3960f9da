//! P3, P4 and P5 with a model of the existing web client: whatever happens on the way, everybody ends with the same.

mod web_client;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use serde_json::{Value as Json, json};
use sync_protocol::Millis;
use sync_store::contract::grant;
use sync_store::{MemoryStore, Role, Rules};
use web_client::{
    Dice, InProcess, OldestClient, PullRequest, PushRequest, Scenario, Server, TABLES, World,
};

fn world(scenario: Scenario, seed: u64) -> World<InProcess> {
    let rules = Rules::default();
    let history_millis = if scenario.sweeps {
        1_000
    } else {
        rules.history_millis
    };
    let store = Arc::new(MemoryStore::new(Rules {
        history_millis,
        ..rules
    }));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    if scenario.space {
        for user in ["anna", "ben"] {
            let given = grant(&*store, user, "club", Some(Role::Writer), Millis(0));
            runtime.block_on(given);
        }
    }
    World::new(InProcess::new(store), scenario, seed)
}

/// Runs so many stories; of the first that fails it prints the seed and, as short as it fails, what happened.
fn tell(scenario: Scenario, seeds: u64) {
    for seed in 0..seeds {
        if fails(scenario, seed, None).is_some() {
            let shorter = |steps| fails(Scenario { steps, ..scenario }, seed, Some(Vec::new()));
            let story = (0..=scenario.steps).find_map(shorter).flatten();
            let story = story.unwrap_or_default().join("\n");
            panic!("seed {seed} of {scenario:?}\n{story}");
        }
    }
}

/// Whether a story fails, and what has happened if somebody wants to know.
fn fails(scenario: Scenario, seed: u64, story: Option<Vec<String>>) -> Option<Option<Vec<String>>> {
    let mut world = world(scenario, seed);
    world.story = story;
    let run = catch_unwind(AssertUnwindSafe(|| world.run()));
    run.is_err().then_some(world.story)
}

#[test]
fn web_clients_converge_whatever_happens_on_the_way() {
    tell(Scenario::PLAIN, 600);
}

#[test]
fn web_clients_of_two_users_converge_in_a_space() {
    let scenario = Scenario {
        space: true,
        ..Scenario::PLAIN
    };
    tell(scenario, 200);
}

#[test]
fn whoever_is_in_a_space_at_the_end_holds_the_same_of_it() {
    let scenario = Scenario {
        space: true,
        members: true,
        leaves: true,
        ..Scenario::PLAIN
    };
    tell(scenario, 300);
}

#[test]
fn viewers_and_members_of_a_space_hold_the_same_of_it() {
    let scenario = Scenario {
        space: true,
        members: true,
        ..Scenario::PLAIN
    };
    tell(scenario, 300);
}

#[test]
fn a_clock_far_ahead_keeps_its_own_values_and_nothing_else() {
    let scenario = Scenario {
        ahead: true,
        ..Scenario::PLAIN
    };
    tell(scenario, 200);
}

#[test]
fn timeless_inserts_hide_older_edits_and_nothing_else() {
    let scenario = Scenario {
        timeless: true,
        ..Scenario::PLAIN
    };
    tell(scenario, 300);
}

#[test]
fn programs_with_other_habits_do_not_disturb_web_clients() {
    let scenario = Scenario {
        program: true,
        ..Scenario::PLAIN
    };
    tell(scenario, 300);
}

#[test]
fn web_clients_converge_though_pages_and_corrections_overflow() {
    let scenario = Scenario {
        steps: 60,
        fat: true,
        ..Scenario::PLAIN
    };
    tell(scenario, 8);
}

#[test]
fn what_the_server_forgets_does_not_come_back() {
    let scenario = Scenario {
        sweeps: true,
        ..Scenario::PLAIN
    };
    tell(scenario, 200);
}

/// Somebody who reads one table in pages of any size, and what of it has come.
struct Reader {
    name: String,
    table: &'static str,
    since: String,
    seen: BTreeSet<String>,
    oldest: OldestClient,
}

impl Reader {
    fn new(name: &str, table: &'static str) -> Self {
        Self {
            name: name.to_owned(),
            table,
            since: "1970-01-01T00:00:00.000000000Z".to_owned(),
            seen: BTreeSet::new(),
            oldest: OldestClient::default(),
        }
    }

    /// Reads one page; whether there is more.
    fn read(&mut self, server: &mut InProcess, limit: usize, now: Millis) -> bool {
        let request = PullRequest {
            user: "anna".to_owned(),
            client: self.name.clone(),
            table: self.table.to_owned(),
            since: self.since.clone(),
            limit,
        };
        let answer = server.pull(&request, now);
        self.oldest.take_page(&answer);
        let answer: Json = serde_json::from_str(&answer).expect("an answer is JSON");
        for change in answer["serverChanges"].as_array().expect("a list") {
            let event = change["eventId"].as_str().expect("a text").to_owned();
            assert!(self.seen.insert(event), "it comes twice: {change}");
        }
        let until = answer["syncedUntil"].as_str().expect("a text").to_owned();
        assert!(until >= self.since, "{} -> {until}", self.since);
        self.since = until;
        answer["hasMore"] == true
    }
}

/// A change that undeletes nothing: clients of the oldest generation have no record of what they once deleted.
fn random_change(dice: &mut Dice, now: Millis) -> Json {
    let (field, time) = (
        dice.pick(&["title", "done", "deletedAt"]),
        Millis(now.0 + dice.around(3)).to_string(),
    );
    let mut change = json!({"table": dice.pick(&TABLES), "id": dice.pick(&["r1", "r2", "r3"])});
    change["op"] = json!(dice.pick(&["insert", "update", "update", "delete"]));
    let value = match dice.throw(3) {
        0 if field != "deletedAt" => Json::Null,
        other => json!(other),
    };
    change["data"] = json!({field: value, "updatedAt": time});
    change["fields"] = json!({field: {"value": value, "at": time}});
    change
}

#[test]
fn no_reader_misses_a_live_row_whatever_the_size_of_its_pages() {
    for seed in 0..150 {
        let mut dice = Dice::new(seed);
        let mut server = InProcess::new(Arc::new(MemoryStore::new(Rules::default())));
        let readers = ["p", "q"].iter();
        let mut readers: Vec<_> = readers
            .flat_map(|name| TABLES.map(|table| Reader::new(name, table)))
            .collect();
        let mut now = Millis(1_767_225_600_000);
        for _ in 0..80 {
            now.0 += dice.pick(&[0, 0, 1, 1_000, -3_600_000]);
            if dice.percent(50) {
                let changes: Vec<_> = (0..=dice.throw(3))
                    .map(|_| random_change(&mut dice, now))
                    .collect();
                let request = PushRequest {
                    user: "anna".to_owned(),
                    client: dice.pick(&["a", "b"]).to_owned(),
                    body: json!({"since": "", "changes": changes}).to_string(),
                };
                server.push(&request, now);
            } else {
                let reader = dice.throw(readers.len());
                let limit = dice.pick(&[1, 2, 3, 1000]);
                readers[reader].read(&mut server, limit, now);
            }
        }
        for reader in &mut readers {
            while reader.read(&mut server, dice.pick(&[1, 2, 3]), now) {}
            let mut newcomer = Reader::new("newcomer", reader.table);
            while newcomer.read(&mut server, 1000, now) {}
            let missed: Vec<_> = newcomer.seen.difference(&reader.seen).collect();
            assert!(missed.is_empty(), "seed {seed}: {missed:?}");
            let lacks = |key: &&(String, String)| !reader.oldest.records.contains_key(*key);
            let lacking: Vec<_> = newcomer.oldest.live().filter(lacks).collect();
            assert!(lacking.is_empty(), "seed {seed}: {lacking:?}");
        }
    }
}
