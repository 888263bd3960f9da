//! P1 and P2 under `kill -9`: a child process pushes without pause and tells what was acknowledged; it is killed at any
//! moment, again and again, on the same file. What it told is there once, and no push is there in part.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value as Json, json};
use sync_store::contract::Device;
use sync_store::{MAX_PAGE, Rules, Store};
use sync_store_sqlite::SqliteStore;

const KILLS: u64 = 40;
const TASKS: usize = 4;
const CHANGES: usize = 3;
const CHILD: &str = "a_child_pushes_until_it_is_killed";

#[tokio::test]
async fn a_kill_loses_nothing_that_was_acknowledged_and_leaves_nothing_half_done() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let path = folder.path().join("sync.db");
    let mut watcher = Watcher::default();
    for round in 0..KILLS {
        let acknowledged = push_and_kill(&path, round);
        assert!(!acknowledged.is_empty(), "round {round} pushed something");
        let store = open(&path);
        watcher.catch_up(&store).await;
        for push in &acknowledged {
            assert!(watcher.seen.contains_key(push), "{push} is lost");
        }
    }
    let mut newcomer = Watcher::default();
    newcomer.catch_up(&open(&path)).await;
    assert_eq!(newcomer.seen, watcher.seen);
    println!("{KILLS} kills, {} pushes", watcher.seen.len());
}

/// A device that reads along.
#[derive(Default)]
struct Watcher {
    since: String,
    /// How many changes of each push it has seen.
    seen: BTreeMap<String, usize>,
}

impl Watcher {
    async fn catch_up(&mut self, store: &Arc<dyn Store>) {
        let mut device = Device::new(store, "anna", "watcher");
        device.since.clone_from(&self.since);
        loop {
            let answer = device.page("", MAX_PAGE).await;
            for change in &answer.server_changes {
                let (push, _) = change
                    .id
                    .as_str()
                    .rsplit_once('/')
                    .expect("an id of a push");
                *self.seen.entry(push.to_owned()).or_default() += 1;
            }
            if !answer.has_more {
                break;
            }
        }
        self.since = device.since;
        let parts: Vec<_> = self
            .seen
            .iter()
            .filter(|(_, changes)| **changes != CHANGES)
            .collect();
        assert_eq!(parts, [], "a push is there whole, and once");
    }
}

fn open(path: &Path) -> Arc<dyn Store> {
    Arc::new(SqliteStore::open(path, Rules::default()).expect("the database opens after a kill"))
}

/// Lets a child push for some milliseconds, kills it, and says which pushes were acknowledged.
fn push_and_kill(path: &Path, round: u64) -> BTreeSet<String> {
    let mut child = start(path, round);
    let output = BufReader::new(child.stdout.take().expect("its output is piped"));
    let mut told = output
        .lines()
        .map_while(Result::ok)
        .filter_map(|line| Some(line.split_once("pushed ")?.1.to_owned()));
    let mut acknowledged: BTreeSet<_> = told.next().into_iter().collect();
    // Moments without a pattern, but the same in each run.
    let micros = round.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 49;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::park_timeout(Duration::from_micros(micros));
            child.kill().expect("the child is killed");
        });
        acknowledged.extend(told);
    });
    child.wait().expect("the child has ended");
    acknowledged
}

/// Starts this test program again, for the test below only.
fn start(path: &Path, round: u64) -> Child {
    let program = std::env::current_exe().expect("this program has a path");
    let mut child = Command::new(program)
        .args(["--exact", CHILD, "--ignored", "--nocapture"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the child starts");
    let mut input = child.stdin.take().expect("its input is piped");
    writeln!(input, "{round} {}", path.display()).expect("the child reads");
    child
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the child of the test above: it waits to be told what to do"]
async fn a_child_pushes_until_it_is_killed() {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).expect("an input");
    let Some((round, path)) = line.trim_end().split_once(' ') else {
        return;
    };
    let store = open(Path::new(path));
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..TASKS {
        let client = format!("{round}-{task}");
        let device = Device::new(&store, "anna", &client);
        tasks.spawn(push_for_ever(device, client));
    }
    tasks.join_all().await;
}

async fn push_for_ever(mut device: Device, client: String) {
    for number in 0.. {
        let push = format!("{client}-{number}");
        let changes: Json = (0..CHANGES)
            .map(|n| json!({"table": "tasks", "id": format!("{push}/{n}"), "op": "insert", "data": {"title": push}}))
            .collect();
        device.push(changes).await;
        // One write of one line: a kill does not cut it in two.
        let line = format!("pushed {push}\n");
        std::io::stdout()
            .write_all(line.as_bytes())
            .expect("the parent reads");
    }
}
