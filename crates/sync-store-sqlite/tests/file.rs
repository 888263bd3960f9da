//! The file: who may open it, what is in it after it was closed, and how much work a commit does.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;
use sync_protocol::{EventIds, Millis, UserId};
use sync_store::contract::{Device, START};
use sync_store::{
    Finding, PROMOTION_BATCH, Position, Promoted, Promotion, Role, Rules, Store, StoreError,
};
use sync_store_sqlite::{SqliteStore, check, migrate};
use tempfile::TempDir;
use tokio::task::JoinSet;

fn place() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let path = folder.path().join("data/of/anna/sync.db");
    (folder, path)
}

fn open(path: &Path) -> Result<Arc<dyn Store>, StoreError> {
    Ok(Arc::new(SqliteStore::open(path, Rules::default())?))
}

fn refusal<T>(outcome: Result<T, StoreError>) -> String {
    match outcome {
        Ok(_) => panic!("it was not refused"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn one_process_at_a_time_has_the_file() {
    let (_folder, path) = place();
    let first = open(&path).expect("a new database");
    for refused in [refusal(open(&path)), refusal(migrate(&path))] {
        assert!(
            refused.contains("another server has the database"),
            "{refused}"
        );
    }
    drop(first);
    open(&path).expect("the file is free again");
}

#[test]
fn a_database_of_a_newer_server_is_refused() {
    let (_folder, path) = place();
    drop(open(&path).expect("a new database"));
    let newer = "INSERT INTO sync_migrations (version, name, digest) VALUES (7, 'later', 'x')";
    rusqlite::Connection::open(&path)
        .and_then(|connection| connection.execute(newer, []))
        .expect("the row is written");
    for refused in [refusal(open(&path)), refusal(check(&path))] {
        assert!(refused.contains("was made by a newer server"), "{refused}");
    }
}

#[test]
fn a_file_that_is_no_database_is_refused_and_left_alone() {
    let (folder, _) = place();
    let path = folder.path().join("notes.txt");
    let text = "a diary\n".repeat(1000);
    std::fs::write(&path, &text).expect("the file is written");
    assert!(matches!(open(&path), Err(StoreError::Fault(_))));
    assert!(matches!(check(&path), Err(StoreError::Fault(_))));
    assert_eq!(std::fs::read_to_string(&path).ok(), Some(text));
}

#[test]
fn a_migration_is_done_once_and_told() {
    let (_folder, path) = place();
    let applied = [
        "applied 0001_log",
        "applied 0002_spaces",
        "applied 0003_erase",
        "applied 0004_import",
        "applied 0005_rows",
    ];
    assert_eq!(migrate(&path), Ok(applied.map(str::to_owned).to_vec()));
    assert_eq!(migrate(&path), Ok(Vec::new()));
}

#[test]
fn a_check_says_what_it_finds_beside_a_server() {
    let (_folder, path) = place();
    assert!(refusal(check(&path)).contains("there is no database"));
    let store = open(&path).expect("a new database");
    let report = check(&path).expect("a sound database");
    for line in [
        "journal mode wal",
        "schema version 5, up to date",
        "integrity ok",
    ] {
        assert!(
            report.contains(&Finding::Well(line.to_owned())),
            "{report:?}"
        );
    }
    drop(store);
}

#[test]
fn a_check_finds_damage() {
    let (_folder, path) = place();
    drop(open(&path).expect("a new database"));
    let mut bytes = std::fs::read(&path).expect("the file is read");
    let second_page = 4096..bytes.len();
    bytes[second_page].fill(0xff);
    std::fs::write(&path, bytes).expect("the file is written");
    assert!(matches!(check(&path), Err(StoreError::Fault(_))));
}

#[cfg(unix)]
#[test]
fn the_file_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let (_folder, path) = place();
    let _store = open(&path).expect("a new database");
    for name in ["sync.db", "sync.db-wal"] {
        let file = path.with_file_name(name);
        let mode = std::fs::metadata(&file)
            .expect("the file is there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o077, 0, "{name}");
    }
}

#[tokio::test]
async fn values_are_the_same_bytes_after_the_file_was_closed() {
    let (_folder, path) = place();
    let values =
        r#"{"nul":"\u0000","half":"\ud83d","big":1e400,"exact":0.10,"z":{"b":1,"a":[ 1 , 2 ]}}"#;
    let changes = format!(r#"[{{"table":"tasks","id":"a","op":"insert","data":{values}}}]"#);
    let store = open(&path).expect("a new database");
    Device::new(&store, "anna", "phone")
        .push_text(&changes)
        .await;
    drop(store);
    let store = open(&path).expect("the same database");
    let answer = Device::new(&store, "anna", "tab").page("", 10).await;
    let data = serde_json::to_string(&answer.server_changes[0].data).expect("it is JSON");
    assert_eq!(data, values);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pushes_that_wait_share_a_commit() {
    const PUSHES: usize = 300;
    let (_folder, path) = place();
    let store = open(&path).expect("a new database");
    let before = commits(&path);
    let mut tasks = JoinSet::new();
    for n in 0..PUSHES {
        let mut device = Device::new(&store, &format!("user-{n}"), "phone");
        tasks.spawn(async move {
            let change = json!({"table": "tasks", "id": "a", "op": "insert", "data": {}});
            device.push(json!([change])).await.appended
        });
    }
    assert_eq!(tasks.join_all().await.into_iter().sum::<usize>(), PUSHES);
    let commits = commits(&path) - before;
    println!("{PUSHES} pushes in {commits} commits");
    assert!(commits * 2 < PUSHES, "{PUSHES} pushes in {commits} commits");
}

/// How many commits the write-ahead log holds (<https://sqlite.org/fileformat2.html#the_write_ahead_log>): the frames
/// of its header's salts that say how large the database is after them.
fn commits(path: &Path) -> usize {
    let log = std::fs::read(path.with_file_name("sync.db-wal")).expect("the log is read");
    let number = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().expect("four bytes"));
    let page = usize::try_from(number(&log[8..12])).expect("a page fits into memory");
    let frames = log[32..].chunks_exact(24 + page);
    frames
        .take_while(|frame| frame[8..16] == log[16..24])
        .filter(|frame| number(&frame[4..8]) > 0)
        .count()
}

#[tokio::test]
async fn a_push_that_changes_nothing_writes_nothing() {
    let (_folder, path) = place();
    let store = open(&path).expect("a new database");
    let mut phone = Device::new(&store, "anna", "phone");
    let change = json!([{"table": "tasks", "id": "a", "op": "insert", "data": {"title": "x"}}]);
    phone.push(change.clone()).await;
    let before = commits(&path);
    assert_eq!(phone.push(change).await.appended, 0);
    assert_eq!(phone.push(json!([])).await.appended, 0);
    assert_eq!(commits(&path), before);
}

#[tokio::test]
async fn grants_that_stay_and_a_promotion_that_finds_nothing_write_nothing() {
    let (_folder, path) = place();
    let store = open(&path).expect("a new database");
    let mut phone = Device::new(&store, "anna", "phone");
    let change =
        json!([{"table": "tasks", "id": "a", "op": "insert", "data": {}, "spaceId": "club"}]);
    phone.push(change).await;
    phone.grant("band", Some(Role::Writer)).await;
    phone.grant("club", Some(Role::Reader)).await;
    let before = commits(&path);
    phone.grant("club", Some(Role::Reader)).await;
    phone.grant("crew", None).await;
    let promotion = Promotion {
        user: UserId::new("anna").expect("an identifier"),
        after: Position(0),
        limit: PROMOTION_BATCH,
        now: START,
        ids: EventIds::new(START, 7),
    };
    assert_eq!(store.promote(promotion).await, Ok(Promoted::default()));
    assert_eq!(commits(&path), before);
}

#[tokio::test]
async fn a_sweep_takes_a_small_batch_and_says_that_there_is_more() {
    let (_folder, path) = place();
    let store = open(&path).expect("a new database");
    let mut phone = Device::new(&store, "anna", "phone");
    for n in 0..4 {
        let at = format!("2025-02-01T10:00:00.{n:03}Z");
        let changes = (0..200).map(|record| {
            json!({"table": "tasks", "id": format!("r{record}"), "op": "update", "fields": {"n": {"value": n, "at": at}}})
        });
        phone.push(changes.collect()).await;
    }
    assert_eq!(dead_rows(&store).await, 600);
    let later = Millis(START.0 + Rules::default().history_millis);
    let swept = store.sweep(later).await.expect("a sweep");
    assert_eq!((swept.rows, swept.more), (500, true));
    let swept = store.sweep(later).await.expect("a sweep");
    assert_eq!((swept.rows, swept.more), (100, false));
    assert_eq!(dead_rows(&store).await, 0);
}

async fn dead_rows(store: &Arc<dyn Store>) -> u64 {
    store.stats().await.expect("figures").dead_rows
}

#[tokio::test]
async fn the_figures_tell_how_many_threads_are_free() {
    let (_folder, path) = place();
    let store = open(&path).expect("a new database");
    store.ready().await.expect("it can serve");
    let stats = store.stats().await.expect("figures");
    assert_eq!((stats.pool_size, stats.pool_waiting), (5, 0));
    assert!((1..=5).contains(&stats.pool_available), "{stats:?}");
}
