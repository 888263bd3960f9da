//! A throwaway server answers, survives a crash with its data, and leaves nothing behind.

use std::path::Path;
use std::process::Command;

use test_postgres::{Durability, Instance, Options};

/// Runs one statement on the server and gives what `psql` printed.
fn query(instance: &Instance, statement: &str) -> String {
    let output = Command::new(instance.binaries().program("psql"))
        .args(["--no-psqlrc", "--tuples-only", "--no-align", "--quiet"])
        .args(["--dbname", &instance.url(), "--command", statement])
        .output()
        .expect("psql is installed beside the server");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout)
        .expect("psql prints UTF-8")
        .trim()
        .to_owned()
}

/// Whether a process with this id runs.
fn runs(process: u32) -> bool {
    Command::new("sh")
        .args(["-c", r#"kill -0 "$1" 2>/dev/null"#, "sh"])
        .arg(process.to_string())
        .status()
        .expect("every system has a shell")
        .success()
}

#[test]
fn a_started_server_answers_at_its_url() {
    let instance = Instance::start(Options::default()).unwrap();
    let answer = query(
        &instance,
        "SELECT current_user, current_setting('fsync'), current_setting('synchronous_commit'), \
         current_setting('max_connections')",
    );
    assert_eq!(answer, "sync_admin|off|on|200");
}

#[test]
fn a_wrong_password_is_refused() {
    let instance = Instance::start(Options::default()).unwrap();
    let (start, end) = (instance.url().find("admin:").unwrap(), "admin:".len());
    let mut url = instance.url();
    url.insert(start + end, 'x');
    let status = Command::new(instance.binaries().program("psql"))
        .args(["--dbname", &url, "--command", "SELECT 1"])
        .output()
        .unwrap()
        .status;
    assert!(!status.success());
}

#[test]
fn a_durable_server_flushes_and_further_settings_win() {
    let instance = Instance::start(Options {
        durability: Durability::Machine,
        settings: vec![("max_connections".to_owned(), "20".to_owned())],
    })
    .unwrap();
    let answer = query(
        &instance,
        "SELECT current_setting('fsync'), current_setting('max_connections')",
    );
    assert_eq!(answer, "on|20");
}

#[test]
fn what_was_committed_survives_a_hard_kill_and_a_restart() {
    let mut instance = Instance::start(Options::default()).unwrap();
    let url = instance.url();
    query(
        &instance,
        "CREATE TABLE kept (number int); INSERT INTO kept SELECT generate_series(1, 1000)",
    );
    for _ in 0..3 {
        let postmaster = instance.process_id().unwrap();
        instance.kill_hard().unwrap();
        assert!(!runs(postmaster));
        assert_eq!(instance.process_id(), None);
        instance.restart().unwrap();
        assert_eq!(instance.url(), url);
        query(&instance, "INSERT INTO kept VALUES (0)");
    }
    assert_eq!(
        query(&instance, "SELECT count(*), sum(number) FROM kept"),
        "1003|500500"
    );
}

#[test]
fn a_running_server_restarts_in_order() {
    let mut instance = Instance::start(Options::default()).unwrap();
    query(
        &instance,
        "CREATE UNLOGGED TABLE kept AS SELECT 1 AS number",
    );
    instance.restart().unwrap();
    // A crash would have emptied an unlogged table.
    assert_eq!(query(&instance, "SELECT number FROM kept"), "1");
}

#[test]
fn nothing_is_left_after_drop() {
    let instance = Instance::start(Options::default()).unwrap();
    let folder = instance.folder().to_path_buf();
    let postmaster = instance.process_id().unwrap();
    assert!(folder.exists() && runs(postmaster));
    drop(instance);
    assert!(!folder.exists() && !runs(postmaster));
}

#[test]
fn nothing_is_left_after_the_drop_of_a_killed_server() {
    let mut instance = Instance::start(Options::default()).unwrap();
    let folder = instance.folder().to_path_buf();
    instance.kill_hard().unwrap();
    let segment = segment_of(&folder);
    assert!(segments().contains(&segment));
    drop(instance);
    assert!(!folder.exists());
    assert!(!segments().contains(&segment));
}

/// The id of the shared memory that the server in `folder` noted as its own.
fn segment_of(folder: &Path) -> String {
    let file = std::fs::read_to_string(folder.join("data/postmaster.pid"))
        .expect("a killed server leaves its file");
    let line = file.lines().nth(6).expect("line 7 tells the segment");
    line.split_whitespace()
        .nth(1)
        .expect("the key and the id")
        .to_owned()
}

/// The ids of all shared memory on this machine.
fn segments() -> Vec<String> {
    let text = std::fs::read_to_string("/proc/sysvipc/shm").expect("Linux tells its segments");
    let lines = text.lines().skip(1);
    lines
        .filter_map(|line| line.split_whitespace().nth(1).map(str::to_owned))
        .collect()
}
