//! One server: started, killed, started again, gone.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use test_guard::{Guard, Stop};

use crate::account::Account;
use crate::binaries::Binaries;
use crate::error::Error;
use crate::process::{self, Signal};
use crate::setup::{self, Options};

/// The superuser that the URL names.
const SUPERUSER: &str = "sync_admin";

/// How long a start may take, the recovery after a crash included.
const START_LIMIT: Duration = Duration::from_secs(60);

/// How long a stop may take before the processes are killed, and how long killed processes may take to go.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// How many ports are tried when another program takes the chosen one first.
const PORTS_TRIED: u32 = 8;

/// How much of the log an error tells.
const LOG_TAIL: usize = 2_000;

/// A PostgreSQL server of one's own, on a free port of 127.0.0.1 with a password of its own; stopped and removed on drop.
#[derive(Debug)]
pub struct Instance {
    binaries: Binaries,
    options: Options,
    account: Account,
    password: String,
    port: u16,
    server: Option<Child>,
    // The folder is removed first, then the guard, which would remove it, is let go.
    folder: TempDir,
    guard: Guard,
}

impl Instance {
    /// Starts a server with no data and waits until it can be connected to; takes about two seconds.
    ///
    /// # Errors
    ///
    /// When PostgreSQL is not installed, or does not start.
    pub fn start(options: Options) -> Result<Self, Error> {
        let binaries = Binaries::find()?;
        let folder = setup::private_folder()?;
        let account = Account::for_maker_of(folder.path())?;
        account.take(folder.path())?;
        let guard = Guard::over(folder.path(), Stop::Gently("data/postmaster.pid"))
            .map_err(Error::io("start the server's guard"))?;
        let mut instance = Self {
            binaries,
            options,
            account,
            password: setup::random_password()?,
            port: 0,
            server: None,
            folder,
            guard,
        };
        instance.create_cluster()?;
        instance.launch_on_a_free_port()?;
        Ok(instance)
    }

    /// How to connect as the superuser: `postgresql://user:password@127.0.0.1:port/postgres`. The same after a restart.
    #[must_use]
    pub fn url(&self) -> String {
        format!(
            "postgresql://{SUPERUSER}:{}@{}:{}/postgres",
            self.password,
            Ipv4Addr::LOCALHOST,
            self.port
        )
    }

    /// The server's folder: its data, its socket and its log.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The programs that this server was started from.
    #[must_use]
    pub fn binaries(&self) -> &Binaries {
        &self.binaries
    }

    /// The process id of the postmaster, while it runs.
    #[must_use]
    pub fn process_id(&self) -> Option<u32> {
        self.server.as_ref().map(Child::id)
    }

    /// Kills the postmaster and all its processes with SIGKILL, as a crash would, and waits until they are gone. Does
    /// nothing to a server that was killed before.
    ///
    /// Where the system has no `/proc`, only the postmaster is killed. Its processes see that and end by themselves a moment
    /// later, until which a restart is refused.
    ///
    /// # Errors
    ///
    /// When a killed process does not go.
    pub fn kill_hard(&mut self) -> Result<(), Error> {
        let Some(mut server) = self.server.take() else {
            return Ok(());
        };
        // Halted first: a postmaster that sees a child die would start others, which nobody would know of.
        let postmaster = server.id();
        process::send(Signal::Stop, &[postmaster]);
        process::wait_until(STOP_LIMIT, || process::is_halted(postmaster));
        let mut processes = process::children(postmaster);
        processes.push(postmaster);
        process::send(Signal::Kill, &processes);
        server
            .wait()
            .map_err(Error::io("wait for the killed server"))?;
        self.watch(None)?;
        // A process that is still there holds the shared memory, and the next start would be refused.
        let all_gone = || processes.iter().all(|&process| process::is_gone(process));
        if process::wait_until(STOP_LIMIT, all_gone) {
            return Ok(());
        }
        Err(self.too_slow("end its killed processes", STOP_LIMIT))
    }

    /// Starts the server again with the same data, port and password, after stopping it if it runs; waits until it has
    /// recovered and can be connected to.
    ///
    /// # Errors
    ///
    /// When it does not start.
    pub fn restart(&mut self) -> Result<(), Error> {
        self.stop()?;
        self.launch()
    }

    /// Stops the server in order (SIGINT, a fast shutdown) and keeps its data.
    ///
    /// # Errors
    ///
    /// When it does not stop, even killed.
    pub fn stop(&mut self) -> Result<(), Error> {
        let Some(server) = &mut self.server else {
            return Ok(());
        };
        process::send(Signal::Interrupt, &[server.id()]);
        if process::wait_until(STOP_LIMIT, || !matches!(server.try_wait(), Ok(None))) {
            self.server = None;
            return self.watch(None);
        }
        self.kill_hard()
    }

    /// Makes the data folder, with one superuser and a password for every way in.
    fn create_cluster(&self) -> Result<(), Error> {
        let password_file = self.path("password");
        fs::write(&password_file, &self.password).map_err(Error::io("write the password"))?;
        self.account.take(&password_file)?;
        let mut command = Command::new(self.binaries.program("initdb"));
        command
            .arg("--pgdata")
            .arg(self.data())
            .arg("--pwfile")
            .arg(&password_file)
            .arg(format!("--username={SUPERUSER}"))
            .args(["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"])
            .arg("--no-sync")
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        let output = self
            .account
            .run_as(&mut command)
            .output()
            .map_err(Error::io("run initdb"))?;
        fs::remove_file(&password_file).map_err(Error::io("remove the password file"))?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(Error::Initdb { said })
    }

    /// Launches on a port that was free a moment ago, and on another one if it was lost in that moment.
    fn launch_on_a_free_port(&mut self) -> Result<(), Error> {
        let mut tried = 0;
        loop {
            tried += 1;
            self.port = setup::free_port()?;
            match self.launch() {
                Err(Error::Exited { log })
                    if tried < PORTS_TRIED && log.contains("could not bind") => {}
                outcome => return outcome,
            }
        }
    }

    /// Starts the postmaster and waits until it is ready.
    fn launch(&mut self) -> Result<(), Error> {
        let log = File::create(self.path("log")).map_err(Error::io("write the server's log"))?;
        let mut command = Command::new(self.binaries.program("postgres"));
        command.arg("-D").arg(self.data());
        for (name, value) in self.options.settings(self.folder.path(), self.port) {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        // A group of its own: Ctrl-C in a terminal is for the one who asked for the server, who then stops it.
        command
            .current_dir(self.folder.path())
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(Error::io("share the log"))?)
            .stderr(log);
        let server = self
            .account
            .run_as(&mut command)
            .spawn()
            .map_err(Error::io("start postgres"))?;
        let postmaster = server.id();
        self.server = Some(server);
        self.watch(Some(postmaster))?;
        self.wait_until_ready()
    }

    /// Waits until the server says that it is ready and takes a connection.
    fn wait_until_ready(&mut self) -> Result<(), Error> {
        let Some(mut server) = self.server.take() else {
            return Ok(());
        };
        let status_file = self.data().join("postmaster.pid");
        let mut ended = false;
        let in_time = process::wait_until(START_LIMIT, || {
            ended = !matches!(server.try_wait(), Ok(None));
            ended || (says_ready(&status_file, server.id()) && accepts(self.port))
        });
        if ended {
            self.watch(None)?;
            let log = self.log_tail();
            return Err(Error::Exited { log });
        }
        self.server = Some(server);
        if in_time {
            return Ok(());
        }
        let error = self.too_slow("start", START_LIMIT);
        self.kill_hard()?;
        Err(error)
    }

    /// Removes the piece of shared memory that a killed server left, which would outlive its folder.
    fn release_shared_memory(&self) {
        // Line 7 of the file: the key and the id of the segment. A server that was stopped in order has no such file.
        let file = fs::read_to_string(self.data().join("postmaster.pid")).unwrap_or_default();
        let segment = file
            .lines()
            .nth(6)
            .and_then(|line| line.split_whitespace().nth(1));
        if let Some(segment) = segment {
            let _ = Command::new("ipcrm")
                .args(["-m", segment])
                .stderr(Stdio::null())
                .status();
        }
    }

    fn too_slow(&self, doing: &'static str, limit: Duration) -> Error {
        Error::TooSlow {
            doing,
            seconds: limit.as_secs(),
            log: self.log_tail(),
        }
    }

    fn log_tail(&self) -> String {
        let log = fs::read(self.path("log")).unwrap_or_default();
        let tail = &log[log.len().saturating_sub(LOG_TAIL)..];
        String::from_utf8_lossy(tail).trim().to_owned()
    }

    fn data(&self) -> PathBuf {
        self.path("data")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn watch(&mut self, server: Option<u32>) -> Result<(), Error> {
        let told = self.guard.watch(server);
        told.map_err(Error::io("speak to the server's guard"))
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            eprintln!("the throwaway PostgreSQL was not stopped: {error}");
        }
        self.release_shared_memory();
    }
}

/// Whether the postmaster with this process id wrote that it is ready; the file may be of one that was killed.
fn says_ready(status_file: &Path, postmaster: u32) -> bool {
    let text = fs::read_to_string(status_file).unwrap_or_default();
    let mut lines = text.lines();
    let is_ours = lines.next() == Some(postmaster.to_string().as_str());
    is_ours && lines.nth(6).map(str::trim) == Some("ready")
}

fn accepts(port: u16) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
}
