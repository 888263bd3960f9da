//! Some devices and a server in a random interleaving: edits, pushes and pulls that overlap, answers that get lost,
//! databases that get lost, clocks that are off and move.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde_json::Value as Json;
use sync_protocol::Millis;
use sync_store::Role;

use super::{Dice, Oracle, PullRequest, PushRequest, Scenario, Server, WebClient};

pub(crate) const TABLES: [&str; 2] = ["tasks", "lists"];
pub(super) const RECORDS: [&str; 2] = ["r1", "r2"];
pub(super) const FIELDS: [&str; 3] = ["title", "done", "note"];
/// 2026-01-01T00:00:00Z.
const START: i64 = 1_767_225_600_000;
pub(super) const SKEW: i64 = 300_000;

/// A request of a device that is under way.
#[derive(Debug)]
pub(super) enum Flight {
    Push {
        body: String,
        sent: Vec<u64>,
        reply: Option<String>,
    },
    Pull {
        table: String,
        /// What the next page is asked for with, and whether a page has been taken.
        since: String,
        moved: bool,
        reply: Option<String>,
    },
}

pub(super) struct Device {
    pub(super) client: WebClient,
    /// How far its clock is from the true time.
    pub(super) offset: i64,
    pub(super) flights: Vec<Flight>,
}

/// A story, as far as it has gone.
pub(crate) struct World<S> {
    pub(super) server: S,
    pub(super) scenario: Scenario,
    pub(super) dice: Dice,
    /// The true time, and how far the server's clock is from it.
    pub(super) now: i64,
    pub(super) server_offset: i64,
    pub(super) devices: Vec<Device>,
    pub(super) oracle: Oracle,
    /// The pending changes that the server has seen.
    pub(super) processed: HashSet<u64>,
    /// Own writes that were ahead of the server when it took them: device, table, record, field, time.
    pub(super) ahead: BTreeSet<(usize, String, String, String, String)>,
    pub(super) last_number: u64,
    /// What the users of the space may do there, if that changes.
    pub(super) roles: BTreeMap<String, Option<Role>>,
    /// What has happened, for whoever reads a failure, if somebody does.
    pub(crate) story: Option<Vec<String>>,
}

impl<S: Server> World<S> {
    pub(crate) fn new(server: S, scenario: Scenario, seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let batch = dice.pick(&[1, 2, 3, 200]);
        let places = if scenario.members { 0..4 } else { 0..3 };
        let devices = places.map(|place| {
            let user = if scenario.space && (1..3).contains(&place) {
                "ben"
            } else {
                "anna"
            };
            let behind_or_ahead = dice.pick(&[0, 0, 1, 30_000, 60_000]);
            let mut client = WebClient::new(user, ["c", "a", "b", "d"][place], &TABLES, batch);
            client.names_spaces = scenario.leaves;
            Device {
                client,
                offset: if scenario.ahead && place == 0 {
                    dice.pick(&[600_000, 86_400_000])
                } else {
                    dice.pick(&[behind_or_ahead, -behind_or_ahead])
                },
                flights: Vec::new(),
            }
        });
        let devices = devices.collect();
        Self {
            server,
            scenario,
            dice,
            now: START,
            server_offset: 0,
            devices,
            oracle: Oracle::default(),
            processed: HashSet::new(),
            ahead: BTreeSet::new(),
            last_number: 0,
            roles: BTreeMap::new(),
            story: None,
        }
    }

    /// Runs the story to its end, lets everybody catch up, and compares what they have.
    pub(crate) fn run(&mut self) {
        for _ in 0..self.scenario.steps {
            self.step();
        }
        self.catch_up();
        self.compare();
    }

    pub(super) fn server_now(&self) -> Millis {
        Millis(self.now + self.server_offset)
    }

    pub(super) fn device_now(&self, device: usize) -> String {
        Millis(self.now + self.devices[device].offset).to_string()
    }

    pub(super) fn tell(&mut self, what: impl FnOnce() -> String) {
        if let Some(story) = &mut self.story {
            story.push(what().chars().take(4_000).collect());
        }
    }

    fn step(&mut self) {
        let pause = self.dice.pick(&[0, 0, 0, 1, 1, 2, 1_000, 20_000]);
        self.now += pause;
        let device = self.dice.throw(self.devices.len());
        match self.dice.throw(100) {
            0..3 => self.move_clocks(device),
            3..5 if self.scenario.wipes => self.wipe(device),
            3..8 if self.scenario.sweeps => {
                let now = self.server_now();
                self.tell(|| "the server sweeps".to_owned());
                self.server.sweep(now);
            }
            5..10 if self.scenario.members => self.change_membership(),
            5..15 if self.scenario.program => self.write_by_program(),
            5..45 => self.edit(device),
            _ if self.devices[device].flights.is_empty() => self.start(device),
            _ => self.go_on(device),
        }
    }

    fn move_clocks(&mut self, device: usize) {
        match self.dice.throw(4) {
            0 => self.now += 10 * 60_000,
            1 => self.server_offset = self.dice.around(60_000),
            2 => self.server_offset = 0,
            _ if self.scenario.ahead && device == 0 => {
                self.devices[0].offset = self.dice.pick(&[0, 600_000, 86_400_000]);
            }
            _ => self.devices[device].offset = self.dice.around(60_000),
        }
    }

    fn wipe(&mut self, device: usize) {
        self.tell(|| format!("{device} loses its database"));
        self.devices[device].flights.clear();
        self.devices[device].client.lose_database();
    }

    /// Sends the next requests of a device: now and then several at once, as tabs do.
    fn start(&mut self, device: usize) {
        for _ in 0..=self.dice.throw(self.scenario.flights) {
            if self.dice.percent(60) {
                self.start_push(device);
            } else {
                let table = self.dice.pick(&TABLES);
                self.start_pull(device, table);
            }
        }
    }

    pub(super) fn start_push(&mut self, device: usize) {
        let now = self.device_now(device);
        if let Some((body, sent)) = self.devices[device].client.next_push(&now) {
            self.devices[device].flights.push(Flight::Push {
                body,
                sent,
                reply: None,
            });
        }
    }

    fn start_pull(&mut self, device: usize, table: &str) {
        let since = self.devices[device].client.cursor(table);
        self.devices[device].flights.push(Flight::Pull {
            table: table.to_owned(),
            since,
            moved: false,
            reply: None,
        });
    }

    /// One of the requests of a device reaches the server, or its answer the device, or it gets lost on either way.
    pub(super) fn go_on(&mut self, device: usize) {
        let place = self.dice.throw(self.devices[device].flights.len());
        let flight = self.devices[device].flights.swap_remove(place);
        if self.dice.percent(10) {
            self.tell(|| format!("{device} loses {flight:?}"));
            self.keep_last_good_page(device, flight);
            return;
        }
        match flight {
            Flight::Push {
                body,
                sent,
                reply: None,
            } => {
                let reply = self.serve_push(device, &body, &sent);
                self.devices[device].flights.push(Flight::Push {
                    body,
                    sent,
                    reply: Some(reply),
                });
            }
            Flight::Pull {
                table,
                since,
                moved,
                reply: None,
            } => {
                let reply = self.serve_pull(device, &table, &since);
                self.devices[device].flights.push(Flight::Pull {
                    table,
                    since,
                    moved,
                    reply: Some(reply),
                });
            }
            Flight::Push {
                sent,
                reply: Some(reply),
                ..
            } => {
                let now = self.device_now(device);
                self.tell(|| format!("{device} takes the answer to {sent:?}: {reply}"));
                self.devices[device]
                    .client
                    .take_push_answer(&reply, &sent, &now);
            }
            Flight::Pull {
                table,
                reply: Some(reply),
                ..
            } => {
                let now = self.device_now(device);
                self.tell(|| format!("{device} takes a page of {table}: {reply}"));
                let Some((cursor, more)) = self.devices[device].client.take_page(&reply, &now)
                else {
                    return;
                };
                let flight = Flight::Pull {
                    table,
                    since: cursor,
                    moved: true,
                    reply: None,
                };
                if more {
                    self.devices[device].flights.push(flight);
                } else {
                    self.keep_last_good_page(device, flight);
                }
            }
        }
    }

    fn keep_last_good_page(&mut self, device: usize, flight: Flight) {
        if let Flight::Pull {
            table,
            since,
            moved: true,
            ..
        } = flight
        {
            self.devices[device].client.cursors.insert(table, since);
        }
    }

    fn serve_push(&mut self, device: usize, body: &str, sent: &[u64]) -> String {
        let now = self.server_now();
        let client = &self.devices[device].client;
        let request = PushRequest {
            user: client.user.clone(),
            client: client.id.clone(),
            body: body.to_owned(),
        };
        self.note_times_ahead(device, body, now);
        self.oracle.push(&request.client, body);
        let reply = self.server.push(&request, now);
        self.tell(|| {
            format!(
                "the server at {now} takes {sent:?} of {device}: {body}\n  -> {}",
                reply.json
            )
        });
        let known = sent.iter().all(|number| self.processed.contains(number));
        // What was forgotten of a deleted record is news when it is sent again.
        let known = known && !self.scenario.sweeps;
        if let (true, Some(appended)) = (known, reply.appended) {
            assert_eq!(appended, 0, "a push sent again stores something: {body}");
        }
        self.processed.extend(sent);
        let answer: Json = serde_json::from_str(&reply.json).expect("an answer is JSON");
        self.check_members_only(device, &answer);
        let since: Json = serde_json::from_str(body).expect("a body is JSON");
        check_cursor(since["since"].as_str().expect("a text"), &answer);
        reply.json
    }

    pub(super) fn serve_pull(&mut self, device: usize, table: &str, since: &str) -> String {
        let client = &self.devices[device].client;
        let request = PullRequest {
            user: client.user.clone(),
            client: client.id.clone(),
            table: table.to_owned(),
            since: since.to_owned(),
            limit: self.dice.pick(&[1, 2, 3, 1000]),
        };
        let now = self.server_now();
        let answer = self.server.pull(&request, now);
        let parsed: Json = serde_json::from_str(&answer).expect("an answer is JSON");
        check_cursor(since, &parsed);
        self.check_members_only(device, &parsed);
        let changes = parsed["serverChanges"].as_array().map_or(0, Vec::len);
        assert!(changes <= request.limit, "a page over its limit: {answer}");
        assert!(
            parsed["hasMore"] == false || changes > 0,
            "an empty page that is not the last: {answer}"
        );
        answer
    }

    fn note_times_ahead(&mut self, device: usize, body: &str, now: Millis) {
        let latest = Millis(now.0 + SKEW).to_string();
        let body: Json = serde_json::from_str(body).expect("a body is JSON");
        for change in body["changes"].as_array().expect("a list of changes") {
            let text = |name: &str| change[name].as_str().expect("a text").to_owned();
            let mut note = |field: &str, at: &str| {
                if at > latest.as_str() {
                    self.ahead.insert((
                        device,
                        text("table"),
                        text("id"),
                        field.to_owned(),
                        at.to_owned(),
                    ));
                }
            };
            for (name, field) in change["fields"].as_object().into_iter().flatten() {
                note(name, field["at"].as_str().expect("a time"));
            }
            for name in change["data"]
                .as_object()
                .into_iter()
                .flatten()
                .map(|(name, _)| name)
            {
                let data = &change["data"];
                let at = data["updatedAt"].as_str().or(data["createdAt"].as_str());
                note(name, at.unwrap_or_default());
            }
            note(
                "deletedAt",
                change["deletedAt"].as_str().unwrap_or_default(),
            );
        }
    }
}

/// A cursor does not go back by an answer, and moves if there is more.
fn check_cursor(since: &str, answer: &Json) {
    let until = answer["syncedUntil"].as_str().expect("a cursor");
    assert!(
        answer["hasMore"] == false || until > since,
        "{since} -> {until}, and more"
    );
}
