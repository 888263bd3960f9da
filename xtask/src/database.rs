//! `cargo xtask db`: a throwaway PostgreSQL for tests, for one command or until Ctrl-C.

use std::error::Error;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode, ExitStatus, Stdio};

use clap::{ArgAction, Args};
use test_postgres::{Binaries, Durability, Instance, Options, URL_VARIABLE};
use tokio::process::Child;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::Outcome;

/// What `cargo xtask db` takes.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Whether commits wait for the disk, as in production. `--durable=false` is faster; what was committed then still
    /// survives a killed server, but not a power cut.
    #[arg(long, action = ArgAction::Set, default_value_t = true, num_args = 0..=1, require_equals = true,
          default_missing_value = "true")]
    durable: bool,
    /// A command to run with the server's URL in SYNC_TEST_DATABASE_URL; the server ends with it.
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Starts a server, serves it to the command or until Ctrl-C, and stops it.
pub(crate) fn run(arguments: &Arguments) -> Outcome {
    // Before the server starts: a signal from now on ends the wait, not this process.
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let mut endings = {
        let _entered = runtime.enter();
        Endings::watch()?
    };
    let durability = if arguments.durable {
        Durability::Machine
    } else {
        Durability::Processes
    };
    let instance = start(durability)?;
    match arguments.command.split_first() {
        None => {
            print_hint(&instance);
            runtime.block_on(endings.next());
            eprintln!("stopping PostgreSQL");
            Ok(ExitCode::SUCCESS)
        }
        Some((program, rest)) => {
            let mut command = Command::new(program);
            command.args(rest).env(URL_VARIABLE, instance.url());
            let status = run_command(&runtime, &mut endings, command)
                .map_err(|error| format!("cannot run {}: {error}", program.display()))?;
            Ok(exit_code(status))
        }
    }
}

/// Starts a server of this machine's PostgreSQL, which is installed first where it is missing and we may.
pub(crate) fn start(durability: Durability) -> Result<Instance, Box<dyn Error>> {
    if let Err(missing) = Binaries::find() {
        if !may_install() {
            return Err(missing.into());
        }
        install()?;
    }
    let instance = Instance::start(Options {
        durability,
        ..Options::default()
    })?;
    eprintln!(
        "PostgreSQL {} in {}",
        instance.binaries().version(),
        instance.folder().display()
    );
    Ok(instance)
}

/// Whether this is root on a system with apt-get.
fn may_install() -> bool {
    let is_root = fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
    let has_apt = Command::new("apt-get")
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    is_root && has_apt
}

fn install() -> Result<(), Box<dyn Error>> {
    eprintln!("PostgreSQL is missing; installing it");
    for arguments in [
        ["update"].as_slice(),
        &["install", "--yes", "--no-install-recommends", "postgresql"],
    ] {
        let status = Command::new("apt-get")
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdin(Stdio::null())
            .stdout(io::stderr())
            .status()?;
        if !status.success() {
            return Err(format!("apt-get {}: {status}", arguments.join(" ")).into());
        }
    }
    Ok(())
}

fn print_hint(instance: &Instance) {
    println!("export {URL_VARIABLE}={}", instance.url());
    eprintln!();
    eprintln!("Copy the line above into another terminal, then: cargo nextest run");
    eprintln!(
        "A prompt: {} \"${URL_VARIABLE}\"",
        instance.binaries().program("psql").display()
    );
    eprintln!("Ctrl-C stops the server and removes its data.");
}

/// Runs the command to its end. It shares our terminal, so Ctrl-C reaches it by itself; a SIGTERM to us is passed on.
fn run_command(
    runtime: &Runtime,
    endings: &mut Endings,
    command: Command,
) -> io::Result<ExitStatus> {
    runtime.block_on(async {
        let mut child = tokio::process::Command::from(command).spawn()?;
        loop {
            tokio::select! {
                status = child.wait() => return status,
                ending = endings.next() => {
                    if ending != SignalKind::interrupt() {
                        terminate(&child);
                    }
                }
            }
        }
    })
}

fn terminate(child: &Child) {
    if let Some(process) = child.id() {
        let _ = Command::new("sh")
            .args(["-c", r#"kill -TERM "$1""#, "sh", &process.to_string()])
            .status();
    }
}

/// The command's own status; 128 and the signal's number for one that a signal ended, as shells say it.
fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status
        .code()
        .or(status.signal().map(|signal| 128 + signal))
        .and_then(|code| u8::try_from(code).ok());
    code.map_or(ExitCode::FAILURE, ExitCode::from)
}

/// The signals that ask us to end.
struct Endings {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Endings {
    /// Watches from now on, inside a runtime.
    fn watch() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// The next one.
    async fn next(&mut self) -> SignalKind {
        tokio::select! {
            _ = self.interrupt.recv() => SignalKind::interrupt(),
            _ = self.terminate.recv() => SignalKind::terminate(),
            _ = self.hangup.recv() => SignalKind::hangup(),
        }
    }
}
