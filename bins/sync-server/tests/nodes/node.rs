//! One node: the real binary as a process of its own, on a port that stays its own.

use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use reqwest::RequestBuilder;
use tokio::time::Instant;

use crate::waiting::until;

const BINARY: &str = env!("CARGO_BIN_EXE_sync-server");
/// Where ports are chosen: below those that systems give to outgoing connections, which could take the port of a node that is
/// away.
const PORTS: Range<u16> = 15_000..30_000;
/// How long one answer about its state may take.
const ANSWER: Duration = Duration::from_secs(5);

/// A node; it is killed with this value.
pub(crate) struct Node {
    port: u16,
    settings: Vec<(String, String)>,
    folder: PathBuf,
    process: Option<Child>,
    http: reqwest::Client,
}

impl Node {
    /// A node that is not started yet, with these settings and no others.
    pub(crate) fn new(
        folder: &Path,
        number: usize,
        settings: &[(String, String)],
        http: reqwest::Client,
    ) -> Self {
        let folder = folder.join(format!("node-{number}"));
        fs::create_dir(&folder).unwrap();
        Self {
            port: free_port(),
            settings: settings.to_vec(),
            folder,
            process: None,
            http,
        }
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// The same without a scheme.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Starts it, and does not wait.
    pub(crate) fn start(&mut self) {
        let path = self.folder.join("log");
        let log = File::options().create(true).append(true).open(path);
        let log = log.unwrap();
        let mut command = self.command("serve");
        command.stdout(log.try_clone().unwrap()).stderr(log);
        self.process = Some(command.spawn().unwrap());
    }

    /// Until it serves.
    pub(crate) async fn serves(&mut self) {
        until("a node serves", async || {
            let ended = self.process.as_mut().map(|process| process.try_wait());
            assert!(matches!(ended, Some(Ok(None))), "it ended: {ended:?}");
            let ready = self.get("/ready").send().await;
            ready.is_ok_and(|answer| answer.status().is_success())
        })
        .await;
    }

    /// Kills it as a power cut does.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Asks it to stop.
    pub(crate) fn terminate(&self) {
        signal("-TERM", self.process.as_ref().unwrap().id());
    }

    /// Until it has ended: how, and after how long.
    pub(crate) async fn ended(&mut self) -> (ExitStatus, Duration) {
        let began = Instant::now();
        let mut process = self.process.take().unwrap();
        let mut status = None;
        until("a node ends", async || {
            status = process.try_wait().unwrap();
            status.is_some()
        })
        .await;
        (status.unwrap(), began.elapsed())
    }

    /// A figure of its metrics; 0 if there is none of that name.
    pub(crate) async fn figure(&self, name: &str) -> u64 {
        let text = match self.get("/metrics").send().await {
            Ok(answer) => answer.text().await.unwrap_or_default(),
            Err(_) => return 0,
        };
        let mut lines = text.lines().filter_map(|line| line.rsplit_once(' '));
        let found = lines.find(|(own, _)| *own == name);
        found.map_or(0, |(_, value)| value.parse().unwrap())
    }

    /// What `sync-server check` says with these settings.
    pub(crate) fn check(&self, without: Option<&str>) -> Output {
        let mut command = self.command("check");
        without.map(|name| command.env_remove(name));
        command.output().unwrap()
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    fn get(&self, path: &str) -> RequestBuilder {
        let request = self.http.get(format!("{}{path}", self.url()));
        request.timeout(ANSWER)
    }

    fn command(&self, command: &str) -> Command {
        let mut process = Command::new(BINARY);
        process
            .arg(command)
            .current_dir(&self.folder)
            .env_clear()
            .envs(self.settings.iter().map(|(name, value)| (name, value)))
            // What is hammered here is the database, by a few users from one address.
            .env("SYNC_RATE_PER_USER", "0")
            .env("SYNC_RATE_PER_ADDRESS", "0")
            .env("SYNC_CONNECTIONS_PER_ADDRESS", "0")
            .env("SYNC_HOST", Ipv4Addr::LOCALHOST.to_string())
            .env("PORT", self.port.to_string())
            .stdin(Stdio::null());
        process
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            const LINES: usize = 20;
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let last = &lines[lines.len().saturating_sub(LINES)..];
            eprintln!("{} logged:\n{}", self.folder.display(), last.join("\n"));
        }
    }
}

/// Sends a signal to a process of this test.
pub(crate) fn signal(name: &str, process: u32) {
    let mut shell = Command::new("sh");
    shell.args(["-c", r#"kill "$@""#, "sh", name, &process.to_string()]);
    assert!(shell.status().unwrap().success());
}

fn free_port() -> u16 {
    let mut chosen = (0..PORTS.len()).map(|attempt| {
        let [high, low, ..] = RandomState::new().hash_one(attempt).to_be_bytes();
        PORTS.start + u16::from_be_bytes([high, low]) % (PORTS.end - PORTS.start)
    });
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    chosen.find(is_free).unwrap()
}
