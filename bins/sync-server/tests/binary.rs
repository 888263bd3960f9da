//! The binary as an operator meets it: help, bad settings, `check`, `migrate`, a stop by signal.

use std::io::Read;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const BINARY: &str = env!("CARGO_BIN_EXE_sync-server");
const KEYS: (&str, &str) = ("JWKS_URL", "http://127.0.0.1:9/jwks.json");

fn command(folder: &Path, arguments: &[&str], settings: &[(&str, &str)]) -> Command {
    let mut command = Command::new(BINARY);
    command
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .envs(settings.iter().copied())
        .stdin(Stdio::null());
    command
}

fn run(arguments: &[&str], settings: &[(&str, &str)]) -> Output {
    let folder = tempfile::tempdir().expect("a folder");
    command(folder.path(), arguments, settings)
        .output()
        .expect("the binary runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn free_port() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener
        .local_addr()
        .expect("it has an address")
        .port()
        .to_string()
}

/// A server of the test, ended with it.
struct Running(Child, String);

impl Running {
    fn start(folder: &Path, arguments: &[&str], settings: &[(&str, &str)]) -> Self {
        let port = free_port();
        let mut command = command(folder, arguments, settings);
        command
            .args(["--port", &port])
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut running = Self(command.spawn().expect("the binary runs"), port);
        let deadline = Instant::now() + Duration::from_secs(20);
        while running.get("/health").is_none() {
            assert!(
                Instant::now() < deadline && running.0.try_wait().expect("it is there").is_none(),
                "it is up"
            );
            std::thread::yield_now();
        }
        running
    }

    /// The status line of the answer.
    fn get(&self, path: &str) -> Option<String> {
        let mut stream = std::net::TcpStream::connect(format!("127.0.0.1:{}", self.1)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        std::io::Write::write_all(&mut stream, request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        answer.lines().next().map(str::to_owned)
    }

    /// Sends a signal and waits for the end: whether it ended well, and what it logged.
    fn stop(mut self, signal: &str) -> (bool, String) {
        let pid = self.0.id().to_string();
        let sent = Command::new("kill")
            .args([signal, &pid])
            .status()
            .expect("kill runs");
        assert!(sent.success());
        let mut log = String::new();
        self.0
            .stderr
            .take()
            .expect("its log")
            .read_to_string(&mut log)
            .expect("the log is text");
        (self.0.wait().expect("it ends").success(), log)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_help_names_every_command_and_setting_of_the_contract() {
    let help = text(&run(&["--help"], &[]).stdout);
    for name in [
        "serve",
        "dev",
        "migrate",
        "check",
        "PORT",
        "DATABASE_URL",
        "JWKS_URL",
        "JWT_SECRET",
        "JWT_ISSUER",
        "JWT_AUDIENCE",
        "MANA_AUTH_URL",
        "MANA_CREDITS_URL",
        "MANA_SERVICE_KEY",
        "CORS_ORIGINS",
        "BILLING_EXEMPT_APPS",
        "NATS_URL",
    ] {
        assert!(help.contains(name), "{name} is not in:\n{help}");
    }
    assert!(text(&run(&["--version"], &[]).stdout).starts_with("sync-server 0."));
}

#[test]
fn a_bad_setting_keeps_the_server_from_starting_and_is_named() {
    for (settings, name) in [
        (vec![], "JWKS_URL"),
        (
            vec![KEYS, ("DATABASE_URL", "mysql://host/name")],
            "DATABASE_URL",
        ),
        (
            vec![
                KEYS,
                ("DATABASE_URL", "postgresql://nobody@127.0.0.1:9/none"),
            ],
            "DATABASE_URL",
        ),
        (vec![KEYS, ("PORT", "many")], "PORT"),
        (vec![KEYS, ("CORS_ORIGINS", "example.org")], "CORS_ORIGINS"),
        (vec![KEYS, ("JWT_SECRET", "short")], "JWT_SECRET"),
        (vec![KEYS, ("SYNC_LOG", "sync=loud")], "SYNC_LOG"),
        (
            vec![("JWKS_URL", "http://keys.example.org/jwks.json")],
            "JWKS_URL",
        ),
        (vec![("JWKS_URL", "nonsense")], "JWKS_URL"),
    ] {
        let output = run(&["serve"], &settings);
        let said = text(&output.stderr);
        assert!(
            !output.status.success() && said.to_uppercase().contains(name),
            "{settings:?}: {said}"
        );
    }
    let dev = run(&["dev"], &[("SYNC_HOST", "0.0.0.0")]);
    assert!(!dev.status.success() && text(&dev.stderr).contains("SYNC_HOST"));
}

#[test]
fn a_secret_is_in_no_message() {
    let secret = "hunter2hunter2";
    let url = format!("postgresql://nobody:{secret}@127.0.0.1:9/none");
    for arguments in [["serve"], ["check"], ["migrate"], ["--help"]] {
        let output = run(
            &arguments,
            &[KEYS, ("DATABASE_URL", &url), ("JWT_SECRET", secret)],
        );
        let said = text(&output.stderr) + &text(&output.stdout);
        assert!(!said.contains(secret), "{arguments:?}: {said}");
    }
}

#[test]
fn check_says_what_works_and_what_does_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let migrated = command(folder.path(), &["migrate"], &[])
        .output()
        .expect("the binary runs");
    assert!(
        migrated.status.success() && text(&migrated.stdout).contains("applied"),
        "{migrated:?}"
    );
    let again = command(folder.path(), &["migrate"], &[])
        .output()
        .expect("the binary runs");
    assert!(text(&again.stdout).contains("nothing to do"), "{again:?}");
    let check = command(folder.path(), &["check"], &[KEYS])
        .output()
        .expect("the binary runs");
    let said = text(&check.stdout);
    assert!(!check.status.success(), "the key host is away: {said}");
    assert!(
        said.contains("ok      settings") && said.contains("ok      database"),
        "{said}"
    );
    assert!(
        said.contains("FAILED  keys: http://127.0.0.1:9/jwks.json"),
        "{said}"
    );
    assert!(
        said.contains("billing: off, MANA_CREDITS_URL is not set"),
        "{said}"
    );
}

#[test]
fn a_signal_stops_the_server_and_the_log_says_so() {
    for signal in ["-TERM", "-INT"] {
        let folder = tempfile::tempdir().expect("a folder");
        let running = Running::start(
            folder.path(),
            &["serve"],
            &[KEYS, ("SYNC_LOG_FORMAT", "json")],
        );
        assert_eq!(running.get("/health").as_deref(), Some("HTTP/1.1 200 OK"));
        let (well, log) = running.stop(signal);
        assert!(well, "{log}");
        let lines: Vec<serde_json::Value> = log
            .lines()
            .map(|line| serde_json::from_str(line).expect("each line is JSON"))
            .collect();
        let messages: Vec<_> = lines
            .iter()
            .filter_map(|line| line["message"].as_str())
            .collect();
        assert!(
            messages
                .iter()
                .any(|message| message.starts_with("billing: off")),
            "{messages:?}"
        );
        assert_eq!(
            messages.last(),
            Some(&"stopped; every request was answered")
        );
    }
}

#[test]
fn a_development_server_keeps_its_data_and_its_key() {
    let folder = tempfile::tempdir().expect("a folder");
    let key =
        || std::fs::read(folder.path().join("sync-data/development-key.pem")).expect("the key");
    let running = Running::start(folder.path(), &["dev"], &[]);
    let first = key();
    assert_eq!(running.get("/ready").as_deref(), Some("HTTP/1.1 200 OK"));
    let second = command(folder.path(), &["dev", "--port", &free_port()], &[])
        .output()
        .expect("the binary runs");
    assert!(!second.status.success(), "two servers on one file");
    running.stop("-TERM");
    let running = Running::start(folder.path(), &["dev"], &[]);
    assert_eq!(key(), first);
    running.stop("-TERM");
}
