//! One server: started, killed, started again, gone.

use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::ops::Range;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use test_guard::{Guard, Stop};

use crate::error::Error;

/// The program, as the search path knows it, and where packages put it when the search path of a user does not say so.
const PROGRAMS: [&str; 2] = ["nats-server", "/usr/sbin/nats-server"];

/// Where ports are chosen: below those that systems give to outgoing connections. A client that tries again and again to
/// reach a stopped server could otherwise be given the server's own port, connect to itself and keep the server out.
const PORTS: Range<u16> = 15_000..30_000;

/// How many ports are tried when another program takes the chosen one first.
const PORTS_TRIED: u32 = 8;

/// How long a start may take.
const START_LIMIT: Duration = Duration::from_secs(30);

/// What it writes into its log once it listens.
const READY: &str = "Server is ready";

/// How often a server that starts is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// How much of the log an error tells.
const LOG_TAIL: usize = 2_000;

/// A NATS server of one's own on 127.0.0.1; killed and removed on drop. It keeps nothing (no JetStream).
#[derive(Debug)]
pub struct Server {
    arguments: Vec<String>,
    port: u16,
    process: Option<Child>,
    // The folder is removed first, then the guard, which would remove it, is let go.
    folder: TempDir,
    guard: Guard,
}

impl Server {
    /// Starts a server with further arguments, such as `["--user", "u", "--pass", "p"]`, and waits until it can be
    /// connected to; takes some ten milliseconds.
    ///
    /// # Errors
    ///
    /// When nats-server is not installed, or does not start.
    pub fn start(arguments: &[&str]) -> Result<Self, Error> {
        let mut server = Self::reserve(arguments)?;
        let mut tried = 1;
        loop {
            match server.restart() {
                Err(Error::Exited { log }) if tried < PORTS_TRIED && log.contains("in use") => {
                    tried += 1;
                    server.port = free_port()?;
                }
                outcome => return outcome.map(|()| server),
            }
        }
    }

    /// Chooses the port of a server that [`Server::restart`] starts later.
    ///
    /// # Errors
    ///
    /// When there is no port, or no folder can be made.
    pub fn reserve(arguments: &[&str]) -> Result<Self, Error> {
        let folder = tempfile::Builder::new().prefix("sync-nats-").tempdir();
        let folder = folder.map_err(Error::io("make a temporary folder"))?;
        let guard = Guard::over(folder.path(), Stop::AtOnce)
            .map_err(Error::io("start the server's guard"))?;
        Ok(Self {
            arguments: arguments.iter().map(ToString::to_string).collect(),
            port: free_port()?,
            process: None,
            folder,
            guard,
        })
    }

    /// Where it listens: `127.0.0.1:port`. The same after a restart.
    #[must_use]
    pub fn address(&self) -> String {
        format!("{}:{}", Ipv4Addr::LOCALHOST, self.port)
    }

    /// How to connect: `nats://127.0.0.1:port`. The same after a restart.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://{}", self.address())
    }

    /// The process id, while it runs.
    #[must_use]
    pub fn process_id(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    /// Kills it with SIGKILL and waits until it is gone. Does nothing to a server that does not run.
    ///
    /// # Errors
    ///
    /// When the system does not let it be killed.
    pub fn kill(&mut self) -> Result<(), Error> {
        let Some(mut process) = self.process.take() else {
            return Ok(());
        };
        process.kill().map_err(Error::io("kill nats-server"))?;
        process.wait().map_err(Error::io("wait for nats-server"))?;
        self.watch(None)
    }

    /// Starts it again on the same port, after killing it if it runs; waits until it can be connected to.
    ///
    /// # Errors
    ///
    /// When nats-server is not installed, or does not start.
    pub fn restart(&mut self) -> Result<(), Error> {
        self.kill()?;
        let process = self.launch()?;
        self.watch(Some(process.id()))?;
        self.process = Some(process);
        let outcome = self.wait_until_ready();
        if outcome.is_err() {
            self.kill()?;
        }
        outcome
    }

    /// Starts the first program that there is.
    fn launch(&self) -> Result<Child, Error> {
        for program in PROGRAMS {
            match self.command(program)?.spawn() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                outcome => return outcome.map_err(Error::io("start nats-server")),
            }
        }
        Err(Error::NotInstalled)
    }

    fn command(&self, program: &str) -> Result<Command, Error> {
        let log = self.folder.path().join("log");
        let log = File::create(log).map_err(Error::io("write the server's log"))?;
        let mut command = Command::new(program);
        // A group of its own: Ctrl-C in a terminal is for the one who asked for the server.
        command
            .args(["--addr", &Ipv4Addr::LOCALHOST.to_string()])
            .args(["--port", &self.port.to_string()])
            .args(&self.arguments)
            .current_dir(self.folder.path())
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        Ok(command)
    }

    fn wait_until_ready(&mut self) -> Result<(), Error> {
        let started = Instant::now();
        loop {
            // Its own word first: on the port there may be another one, which was a moment faster.
            if self.log_tail().contains(READY) && says_hello(self.port) {
                return Ok(());
            }
            let process = self.process.as_mut();
            if process.is_none_or(|process| !matches!(process.try_wait(), Ok(None))) {
                let log = self.log_tail();
                return Err(Error::Exited { log });
            }
            if started.elapsed() > START_LIMIT {
                let (seconds, log) = (START_LIMIT.as_secs(), self.log_tail());
                return Err(Error::TooSlow { seconds, log });
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    fn log_tail(&self) -> String {
        let log = fs::read(self.folder.path().join("log")).unwrap_or_default();
        let tail = &log[log.len().saturating_sub(LOG_TAIL)..];
        String::from_utf8_lossy(tail).trim().to_owned()
    }

    fn watch(&mut self, server: Option<u32>) -> Result<(), Error> {
        let told = self.guard.watch(server);
        told.map_err(Error::io("speak to the server's guard"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            eprintln!("the throwaway nats-server was not killed: {error}");
        }
    }
}

/// Whether a NATS server answers there: each begins with `INFO`, whether it wants TLS or not.
fn says_hello(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else {
        return false;
    };
    let mut word = [0; 4];
    stream.set_read_timeout(Some(START_LIMIT)).is_ok()
        && stream.read_exact(&mut word).is_ok()
        && &word == b"INFO"
}

/// A port of [`PORTS`] that nobody listens on now.
fn free_port() -> Result<u16, Error> {
    let mut last = io::ErrorKind::AddrInUse.into();
    for attempt in 0..PORTS.len() {
        let [high, low, ..] = RandomState::new().hash_one(attempt).to_be_bytes();
        let port = PORTS.start + u16::from_be_bytes([high, low]) % (PORTS.end - PORTS.start);
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(_) => return Ok(port),
            Err(error) => last = error,
        }
    }
    Err(Error::io("find a free port")(last))
}
