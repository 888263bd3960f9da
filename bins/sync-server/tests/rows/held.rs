//! What commits late (case 49, fault 9.3): an upload is held open right before its commit, while others come.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;
use sync_store::RowTables;
use sync_store_postgres::{BeforeCommit, Config, Fate, PostgresStore, migrate};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, NoTls};

use crate::change::{applied, new, pk, with};
use crate::device::Device;
use crate::world::{World, database};

/// The first transaction that comes to its commit, held there.
#[derive(Clone, Default)]
struct Held {
    is_taken: Arc<AtomicBool>,
    is_here: Arc<Notify>,
    goes_on: Arc<Notify>,
}

impl Held {
    fn before_commit(&self) -> BeforeCommit {
        let held = self.clone();
        Arc::new(move || {
            let held = held.clone();
            Box::pin(async move {
                if !held.is_taken.swap(true, Ordering::SeqCst) {
                    held.is_here.notify_one();
                    held.goes_on.notified().await;
                }
                Fate::Commit
            })
        })
    }
}

/// Returns when the task has ended or somebody waits for a lock of this database.
async fn ended_or_waiting<T>(task: &JoinHandle<T>, observer: &Client) {
    let waiting = "select count(*) from pg_locks as l join pg_stat_activity as a using (pid)
        where not l.granted and a.datname = current_database()";
    while !task.is_finished() {
        let waiters: i64 = observer.query_one(waiting, &[]).await.unwrap().get(0);
        if waiters > 0 {
            return;
        }
    }
}

/// Reads on from a position, which is moved: what came.
async fn read_on(device: &Device, after: &mut i64) -> Vec<String> {
    let mut seen = Vec::new();
    loop {
        let page = device.download(&format!("after={after}&limit=1")).await;
        for row in page.rows() {
            let place = row["server_id"].as_i64().unwrap();
            assert!(place > *after, "{place} is behind {after}");
            seen.push(row["pk"].as_str().unwrap().to_owned());
        }
        assert!(page.next_after() >= *after);
        *after = page.next_after();
        if !page.has_more() {
            return seen;
        }
    }
}

fn upload(device: &Device, change: Value) -> JoinHandle<Value> {
    let device = device.clone();
    tokio::spawn(async move { device.status(change).await })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_commits_late_reaches_every_device() {
    let held = Held::default();
    let url = database().await;
    let config = Config {
        before_commit: Some(held.before_commit()),
        ..Config::new(&url)
    };
    migrate(&config).await.unwrap();
    let store = PostgresStore::connect(config).await.unwrap();
    let world = World::of(Arc::new(store), RowTables::default()).await;
    let (observer, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
    tokio::spawn(connection);
    let [phone, tablet, laptop] =
        ["phone", "tablet", "laptop"].map(|name| world.device("anna", name));
    // It has its position, has written its row, and has not committed.
    let early = upload(&phone, new(1, &pk(1), "early"));
    held.is_here.notified().await;
    // Others commit and read, and their positions are later than that.
    let ben = ["phone", "tablet"].map(|name| world.device("ben", name));
    assert_eq!(ben[0].status(new(1, &pk(1), "of ben")).await, applied(1, 1));
    assert_eq!(ben[1].others().await.len(), 1);
    assert!(!early.is_finished());
    // Her other devices write into the same app and into another, and one reads as far as it is let.
    let same = upload(&tablet, new(1, &pk(2), "late"));
    ended_or_waiting(&same, &observer).await;
    let other = upload(&tablet, with(new(2, &pk(3), "late"), "schema", "crm"));
    let reading = tokio::spawn({
        let laptop = laptop.clone();
        async move {
            let mut after = 0;
            let seen = read_on(&laptop, &mut after).await;
            (seen, after)
        }
    });
    ended_or_waiting(&reading, &observer).await;
    held.goes_on.notify_one();
    assert_eq!(early.await.unwrap(), applied(1, 1));
    assert_eq!(same.await.unwrap(), applied(1, 1));
    assert_eq!(other.await.unwrap(), applied(2, 1));
    // Wherever a device stands by now, it is given the rest.
    let (mut seen, mut after) = reading.await.unwrap();
    seen.extend(read_on(&laptop, &mut after).await);
    seen.sort_unstable();
    assert_eq!(seen, [pk(1), pk(2), pk(3)]);
    let mut after = 0;
    assert_eq!(read_on(&tablet, &mut after).await, [pk(1)]);
    let mut after = 0;
    let mut of_phone = read_on(&phone, &mut after).await;
    of_phone.sort_unstable();
    assert_eq!(of_phone, [pk(2), pk(3)]);
    // By positions the held one is the first.
    let places = laptop.all().await;
    assert_eq!(places[0]["pk"], pk(1));
}
