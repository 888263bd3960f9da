//! Spaces: databases of before keep their grants, and pages over many of them are those of the store in memory.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::Connection;
use serde_json::{Value as Json, json};
use sync_protocol::{EventIds, Millis, UserId};
use sync_store::contract::{Device, START, changes, grant};
use sync_store::{Grant, MemoryStore, PROMOTION_BATCH, Position, Promotion, Role, Rules, Store};
use sync_store_sqlite::{SqliteStore, migrate};
use tempfile::TempDir;

fn place() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let path = folder.path().join("sync.db");
    (folder, path)
}

fn open(path: &Path) -> Arc<dyn Store> {
    Arc::new(SqliteStore::open(path, Rules::default()).expect("the database opens"))
}

fn user(name: &str) -> UserId {
    UserId::new(name).expect("an identifier")
}

fn insert(table: &str, id: &str, space: &str) -> Json {
    json!({"table": table, "id": id, "op": "insert", "data": {"title": id}, "spaceId": space})
}

async fn grants(store: &Arc<dyn Store>, name: &str) -> Vec<Grant> {
    store.grants(user(name)).await.expect("there are grants")
}

/// Promotes all that there is to promote for a user; what became of it, as text.
async fn promote(store: &Arc<dyn Store>, name: &str, now: Millis) -> Vec<String> {
    let mut promotion = Promotion {
        user: user(name),
        after: Position(0),
        limit: PROMOTION_BATCH,
        now,
        ids: EventIds::new(now, 7),
    };
    let mut told = Vec::new();
    loop {
        let promoted = store.promote(promotion.clone()).await.expect("it is moved");
        told.push(format!("{promoted:?}"));
        match promoted.next {
            Some(next) => {
                promotion.after = next;
                promotion.ids = EventIds::new(now, u128::from(next.0.unsigned_abs()));
            }
            None => return told,
        }
    }
}

/// Makes of a database what the server before the second migration left behind.
const BACK: &str = "
DROP INDEX sync_changes_denied;
DROP INDEX sync_changes_buried;
ALTER TABLE sync_grants RENAME TO later;
CREATE TABLE sync_grants (
    user_id  TEXT    NOT NULL,
    space_id TEXT    NOT NULL,
    role     TEXT    NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (user_id, space_id)
) STRICT, WITHOUT ROWID;
INSERT INTO sync_grants SELECT user_id, space_id, role, position FROM later;
DROP TABLE later;
DROP TABLE sync_import;
DROP TABLE sync_uploads;
ALTER TABLE sync_changes DROP COLUMN source_change_id;
DELETE FROM sync_migrations WHERE version >= 2;
";

#[tokio::test]
async fn a_database_of_before_keeps_its_grants_and_what_was_denied() {
    let (_folder, path) = place();
    let store = open(&path);
    let (mut anna, mut ben) = (
        Device::new(&store, "anna", "phone"),
        Device::new(&store, "ben", "phone"),
    );
    anna.grant("club", Some(Role::Writer)).await;
    ben.grant("club", Some(Role::Reader)).await;
    ben.grant("band", Some(Role::Writer)).await;
    anna.push(json!([insert("tasks", "a", "club")])).await;
    ben.push(json!([insert("tasks", "b", "club")])).await;
    let read = ben.since.clone();
    let known = grants(&store, "ben").await;
    drop((store, anna, ben));
    Connection::open(&path)
        .and_then(|connection| connection.execute_batch(BACK))
        .expect("the file is changed");

    assert_eq!(
        migrate(&path),
        Ok([
            "applied 0002_spaces",
            "applied 0003_erase",
            "applied 0004_import",
            "applied 0005_rows"
        ]
        .map(str::to_owned)
        .into())
    );
    let store = open(&path);
    let of_before = |grant: &Grant| Grant {
        role: grant.role,
        ..Grant::new(grant.space.clone(), grant.position)
    };
    let kept: Vec<_> = known.iter().map(of_before).collect();
    assert_eq!(grants(&store, "ben").await, kept);
    let roles: Vec<_> = kept.iter().map(|grant| grant.role).collect();
    assert_eq!(roles, [Some(Role::Writer), Some(Role::Reader)]);

    let mut ben = Device::new(&store, "ben", "phone");
    ben.since.clone_from(&read);
    assert_eq!(ben.pull().await, json!([]));
    let hydrated = Device::new(&store, "ben", "tab").page("", 10).await;
    let ids: Vec<_> = hydrated
        .server_changes
        .iter()
        .map(|change| change.id.as_str())
        .collect();
    assert_eq!(ids, ["a", "b"]);
    ben.grant("club", Some(Role::Writer)).await;
    promote(&store, "ben", START).await;
    let mut anna = Device::new(&store, "anna", "phone");
    anna.since = read;
    let moved = anna.page("", 10).await;
    let moved = changes(&moved.server_changes);
    let told = ["id", "spaceId", "author"].map(|member| &moved[0][member]);
    assert_eq!(told, ["b", "club", "ben"], "{moved}");
}

/// What was denied: old changes first, then 210 of two apps about two spaces.
async fn denied(store: &Arc<dyn Store>) {
    let mut phone = Device::new(store, "anna", "phone");
    phone.now.0 = START.0 - Rules::default().history_millis - 1;
    phone.push(json!([insert("tasks", "old", "club")])).await;
    phone.now = START;
    for (app, count) in [("todo", 140), ("notes", 20), ("todo", 50)] {
        phone = phone.in_app(app);
        phone.wait(1000);
        let space = |n| if n % 10 == 0 { "band" } else { "club" };
        let change = |n| insert("tasks", &format!("{}/{n}", phone.now.0), space(n));
        let changes = (0..count).map(change).collect();
        phone.push(changes).await;
    }
}

#[tokio::test]
async fn a_promotion_takes_the_batches_that_the_store_in_memory_takes() {
    let (_folder, path) = place();
    let stores = [
        open(&path),
        Arc::new(MemoryStore::new(Rules::default())) as Arc<dyn Store>,
    ];
    let mut told = Vec::new();
    for store in &stores {
        denied(store).await;
        grant(&**store, "anna", "club", Some(Role::Writer), START).await;
        let promoted = promote(store, "anna", START).await;
        grant(&**store, "ben", "club", Some(Role::Reader), START).await;
        let read = Device::new(store, "ben", "tab").page("", 1000).await;
        told.push((promoted, json!(read)));
    }
    assert_eq!(told[0], told[1]);
    assert_eq!(told[0].0.len(), 4, "{:?}", told[0].0);
    let shared = told[0].1["serverChanges"].as_array().map(Vec::len);
    assert_eq!(shared, Some(126 + 45));
}

const USERS: [&str; 3] = ["anna", "ben", "carl"];
const SPACES: [&str; 4] = ["band", "club", "crew", "team"];
const TABLES: [&str; 3] = ["lists", "notes", "tasks"];
const REQUESTS: usize = 400;

struct Dice(u64);

impl Dice {
    /// A number below `sides`.
    fn throw(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).expect("31 bits") % sides
    }

    fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.throw(choices.len())]
    }
}

/// The same world in this store, and in memory.
struct Worlds {
    stores: [Arc<dyn Store>; 2],
    devices: Vec<(&'static str, [Device; 2])>,
    now: Millis,
}

impl Worlds {
    fn new(stores: [Arc<dyn Store>; 2]) -> Self {
        let device = |name, client| {
            stores
                .each_ref()
                .map(|store| Device::new(store, name, client))
        };
        let devices = USERS
            .into_iter()
            .flat_map(|name| ["phone", "tab"].map(|client| (name, device(name, client))))
            .collect();
        Self {
            stores,
            devices,
            now: START,
        }
    }

    async fn step(&mut self, dice: &mut Dice, number: usize) -> [Json; 2] {
        self.now.0 += 1000;
        let who = dice.throw(self.devices.len());
        let (name, devices) = &mut self.devices[who];
        let mut told = Vec::new();
        match dice.throw(8) {
            0..3 => {
                let changes: Json = (0..=dice.throw(5))
                    .map(|change| {
                        let id = format!("r{}", (number + change) % 40);
                        insert(dice.pick(&TABLES), &id, dice.pick(&SPACES))
                    })
                    .collect();
                for device in devices {
                    device.now = self.now;
                    told.push(json!(device.push(changes.clone()).await.answer));
                }
            }
            3 => {
                let space = dice.pick(&SPACES);
                let role = dice.pick(&[Some(Role::Writer), Some(Role::Reader), None]);
                for store in &self.stores {
                    grant(&**store, name, space, role, self.now).await;
                    let promoted = promote(store, name, self.now).await;
                    let grants = format!("{:?}", grants(store, name).await);
                    told.push(json!([promoted, grants]));
                }
            }
            4 => {
                for device in devices {
                    device.since = String::new();
                    told.push(Json::Null);
                }
            }
            _ => {
                let tables = dice.pick(&["", "", "notes", "lists,tasks", "lists,notes,tasks"]);
                let limit = dice.pick(&[1, 2, 3, 7, 1000]);
                for device in devices {
                    device.now = self.now;
                    told.push(json!(device.page(tables, limit).await));
                }
            }
        }
        told.try_into().expect("both have told")
    }
}

#[tokio::test]
async fn pages_over_many_spaces_are_those_of_the_store_in_memory() {
    for seed in 1..=4 {
        let (_folder, path) = place();
        let oracle = Arc::new(MemoryStore::new(Rules::default()));
        let mut worlds = Worlds::new([open(&path), oracle]);
        let mut dice = Dice(seed);
        for number in 0..REQUESTS {
            let [told, expected] = worlds.step(&mut dice, number).await;
            assert_eq!(told, expected, "seed {seed}, request {number}");
        }
    }
}
