//! P9: a backend answers as the store in memory does, on random requests.

use std::sync::Arc;

use serde_json::{Value as Json, json};
use sync_protocol::Millis;

use super::device::{Device, START, TIMES};
use super::row_device::RowDevice;
use super::size::sweep_all;
use crate::{MemoryStore, Occasion, OwnRows, Role, Rules, Store};

const SEEDS: u64 = 12;
const REQUESTS: usize = 100;
/// The records of rows clients.
const ROWS: [&str; 2] = [
    "00000000-0000-4000-8000-000000000001",
    "00000000-0000-4000-8000-000000000002",
];

/// Sends the same random requests to the store and to the one in memory: every answer is the same, to the byte.
pub async fn it_answers_as_the_store_in_memory(store: Arc<dyn Store>) {
    // One world after the other: each seed has users, and times, of its own.
    let oracle: Arc<dyn Store> = Arc::new(MemoryStore::new(Rules::default()));
    for seed in 0..SEEDS {
        let mut dice = Dice::new(seed);
        let start = Millis(START.0 + i64::try_from(seed).unwrap_or(0) * 86_400_000);
        let mut world = World::new(&store, &oracle, seed, start);
        for request in 0..REQUESTS {
            world
                .step(&mut dice, &format!("seed {seed}, request {request}"))
                .await;
        }
    }
}

pub(super) struct Dice(u64);

impl Dice {
    /// Dice that fall alike for the same seed.
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) + 1)
    }

    /// A number below `sides`.
    pub(super) fn throw(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap_or(0) % sides
    }

    pub(super) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.throw(choices.len())]
    }
}

struct World {
    stores: [Arc<dyn Store>; 2],
    /// Each device as the store knows it, and as the oracle does.
    devices: Vec<[Device; 2]>,
    /// The same, of those that speak the rows dialect.
    row_devices: Vec<[RowDevice; 2]>,
    seed: u64,
    now: Millis,
    pushed: Vec<(usize, String)>,
}

impl World {
    fn new(store: &Arc<dyn Store>, oracle: &Arc<dyn Store>, seed: u64, now: Millis) -> Self {
        let names = [format!("anna{seed}"), format!("ben{seed}")];
        let device = |user: &str, client: &str| {
            [
                Device::new(store, user, client),
                Device::new(oracle, user, client),
            ]
        };
        let devices = names
            .iter()
            .flat_map(|user| ["a", "b", ""].map(|client| device(user, client)))
            .collect();
        let row_device = |user: &str, client: &str| {
            [
                RowDevice::new(store, user, client),
                RowDevice::new(oracle, user, client),
            ]
        };
        // One of them speaks both, under one name.
        let row_devices = names
            .iter()
            .flat_map(|user| ["a", "phone"].map(|client| row_device(user, client)))
            .collect();
        Self {
            stores: [store.clone(), oracle.clone()],
            devices,
            row_devices,
            seed,
            now,
            pushed: Vec::new(),
        }
    }

    async fn step(&mut self, dice: &mut Dice, place: &str) {
        self.now.0 += 1000 + i64::try_from(dice.throw(200_000)).unwrap_or(0);
        let who = dice.throw(self.devices.len());
        for device in &mut self.devices[who] {
            device.now = self.now;
        }
        match dice.throw(16) {
            12..14 => self.upload(dice, place).await,
            14 => self.download(dice, place).await,
            0..5 => {
                let changes = self.random_changes(dice).to_string();
                self.push(who, &changes, place).await;
                self.pushed.push((who, changes));
            }
            5 if !self.pushed.is_empty() => {
                let (who, changes) = self.pushed[dice.throw(self.pushed.len())].clone();
                self.push(who, &changes, place).await;
            }
            6 if dice.throw(3) == 0 => self.sweep(place).await,
            6 => self.tell_memberships(who, dice, place).await,
            8 => self.promote(who, place).await,
            9 => {
                self.tell_memberships(who, dice, place).await;
                self.promote(who, place).await;
            }
            7 => {
                for device in &mut self.devices[who] {
                    device.since = String::new();
                }
            }
            _ => {
                self.pull(
                    who,
                    dice.pick(&["", "tasks", "lists"]),
                    dice.pick(&[1, 2, 5, 1000]),
                    place,
                )
                .await
            }
        }
    }

    async fn push(&mut self, who: usize, changes: &str, place: &str) {
        let [device, oracle] = &mut self.devices[who];
        (device.now, oracle.now) = (self.now, self.now);
        let (answer, expected) = (
            device.push_text(changes).await,
            oracle.push_text(changes).await,
        );
        assert_eq!(
            json!(answer.answer),
            json!(expected.answer),
            "{place}: push of {changes}"
        );
        assert_eq!(answer.appended, expected.appended, "{place}");
    }

    async fn pull(&mut self, who: usize, table: &str, limit: usize, place: &str) {
        let [device, oracle] = &mut self.devices[who];
        let (answer, expected) = (
            device.page(table, limit).await,
            oracle.page(table, limit).await,
        );
        assert_eq!(json!(answer), json!(expected), "{place}: pull of {table:?}");
    }

    async fn upload(&mut self, dice: &mut Dice, place: &str) {
        let changes: Json = (0..=dice.throw(3))
            .map(|_| {
                let mut change = json!({
                    "source_change_id": dice.throw(20),
                    "table": dice.pick(&["tasks", "lists"]),
                    "op": dice.pick(&["INSERT", "UPDATE", "UPDATE", "DELETE", "x"]),
                    "pk": dice.pick(&ROWS),
                    "server_version": dice.throw(5),
                });
                if change["op"] != "DELETE" {
                    let mut payload = json!({});
                    for name in ["title", "done", "list"] {
                        if dice.throw(3) > 0 {
                            payload[name] = self.random_value(dice);
                        }
                    }
                    change["payload"] = payload;
                }
                change
            })
            .collect();
        let who = dice.throw(self.row_devices.len());
        let [device, oracle] = &mut self.row_devices[who];
        (device.now, oracle.now) = (self.now, self.now);
        let (uploaded, expected) = (
            device.upload(changes.clone()).await,
            oracle.upload(changes.clone()).await,
        );
        assert_eq!(
            (json!(uploaded.answer), uploaded.touched),
            (json!(expected.answer), expected.touched),
            "{place}: upload of {changes}"
        );
    }

    async fn download(&mut self, dice: &mut Dice, place: &str) {
        let limit = dice.pick(&[1, 2, 1000]);
        let own = dice.pick(&[OwnRows::LeftOut, OwnRows::Included]);
        let who = dice.throw(self.row_devices.len());
        let [device, oracle] = &mut self.row_devices[who];
        let (read, expected) = (
            device.catch_up(limit, own).await,
            oracle.catch_up(limit, own).await,
        );
        assert_eq!(read, expected, "{place}: download");
        assert_eq!(device.after, oracle.after, "{place}");
        if dice.throw(4) == 0 {
            (device.after, oracle.after) = (0, 0);
        }
    }

    /// Sweeps as if the history window of all there is had passed.
    async fn sweep(&self, place: &str) {
        let later = Millis(self.now.0 + Rules::default().history_millis);
        let mut swept = Vec::new();
        for store in &self.stores {
            swept.push(sweep_all(store, later).await);
        }
        assert_eq!(swept[0], swept[1], "{place}: sweep");
    }

    /// Says what spaces the user of a device has: some, with roles, as somebody asks for them now or asked a while ago.
    async fn tell_memberships(&mut self, who: usize, dice: &mut Dice, place: &str) {
        let occasion = dice.pick(&[Occasion::Refresh, Occasion::Refresh, Occasion::Announcement]);
        let spaces = self.spaces();
        let roles = [
            Some(Role::Writer),
            Some(Role::Writer),
            Some(Role::Reader),
            None,
        ];
        let spaces = spaces
            .iter()
            .filter_map(|space| Some((space.as_str(), dice.pick(&roles)?)));
        let spaces: Vec<_> = spaces.collect();
        let ago = dice.pick(&[0, 0, 0, 5_000, 90_000]);
        let [device, oracle] = &mut self.devices[who];
        device.wait(-ago);
        oracle.wait(-ago);
        let told = device.told(occasion, &spaces).await;
        let expected = oracle.told(occasion, &spaces).await;
        assert_eq!(told, expected, "{place}: {occasion:?} of {spaces:?}");
        assert_eq!(device.grants().await, oracle.grants().await, "{place}");
    }

    /// Lets what was denied go where it may: each batch touches the same.
    async fn promote(&mut self, who: usize, place: &str) {
        let [device, oracle] = &mut self.devices[who];
        let (promoted, expected) = (device.promote().await, oracle.promote().await);
        assert_eq!(promoted, expected, "{place}: promotion");
    }

    fn spaces(&self) -> [String; 2] {
        ["club", "team"].map(|name| format!("{name}{}", self.seed))
    }

    fn random_changes(&self, dice: &mut Dice) -> Json {
        (0..=dice.throw(4))
            .map(|_| self.random_change(dice))
            .collect()
    }

    fn random_change(&self, dice: &mut Dice) -> Json {
        let mut change = json!({
            "table": dice.pick(&["tasks", "lists"]),
            "id": dice.pick(&["r1", ROWS[0], ROWS[1]]),
            "op": dice.pick(&["insert", "update", "update", "delete"]),
        });
        let mut data = json!({});
        let mut fields = json!({});
        for name in ["title", "done", "deletedAt"] {
            if dice.throw(if name == "deletedAt" { 5 } else { 2 }) == 0 {
                data[name] = self.random_value(dice);
                fields[name] = json!({"value": data[name], "at": self.random_time(dice)});
            }
        }
        if dice.throw(3) == 0 {
            data["updatedAt"] = self.random_time(dice);
        }
        if change["op"] == "insert" {
            change["data"] = data;
        } else {
            change["fields"] = fields;
        }
        if dice.throw(6) == 0 {
            change["deletedAt"] = self.random_time(dice);
        }
        if dice.throw(3) == 0 {
            change["spaceId"] = json!(self.spaces()[dice.throw(2)]);
        }
        change
    }

    fn random_value(&self, dice: &mut Dice) -> Json {
        match dice.throw(4) {
            0 => Json::Null,
            1 => json!(dice.throw(3)),
            2 => json!("text"),
            _ => json!({"nested": [dice.throw(3)]}),
        }
    }

    /// A time of the past, often the same one; now; within the skew; ahead; none.
    fn random_time(&self, dice: &mut Dice) -> Json {
        let offset = dice.pick(&[0, 0, 200_000, 400_000, 90_000_000]);
        match dice.throw(4) {
            0 => json!(Millis(self.now.0 + offset).to_string()),
            1 if offset > 0 => Json::Null,
            _ => json!(dice.pick(&TIMES)),
        }
    }
}
