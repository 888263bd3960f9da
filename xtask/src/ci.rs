//! `cargo xtask ci`: everything that must pass before a commit, in order, up to the first failure.

use std::error::Error;
use std::fmt;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use test_postgres::{Durability, Instance, URL_VARIABLE};

use crate::{Outcome, database};

/// The cargo subcommands that the checks need: name, and the version that is installed where there is none.
const TOOLS: [(&str, &str); 2] = [("nextest", "0.9.143"), ("deny", "0.20.2")];

/// git gives up on the advisory database when less than a kilobyte a second has come for this many seconds.
const STALLED_FETCH_SECONDS: &str = "60";

/// What cargo-deny says when the advisory database cannot be had, rather than read.
const FETCH_FAILED: &str = "failed to fetch advisory database";

/// Runs all steps; the table of what was done and how long it took comes last.
pub(crate) fn run() -> Outcome {
    let mut gate = Gate::default();
    let result = all_steps(&mut gate);
    println!("\n{gate}");
    match result {
        Ok(()) => {
            println!("CI passed.");
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => Err(format!("CI failed: {error}").into()),
    }
}

/// The steps: cheap ones first, then those with a database. A further one is a line here and a function below.
fn all_steps(gate: &mut Gate) -> Result<(), Failure> {
    gate.step("tools", install_tools)?;
    gate.step("format", check_format)?;
    gate.step("lints", check_lints)?;
    gate.step("dependencies", check_dependencies)?;
    gate.step("advisories", check_advisories)?;
    gate.step("documentation", build_documentation)?;
    let postgres = gate.start("PostgreSQL", start_postgres)?;
    gate.step("documentation tests", || run_documentation_tests(&postgres))?;
    // The last runner to close: its summary is the count of tests.
    gate.step("tests", || run_tests(&postgres))?;
    Ok(())
}

fn install_tools() -> Result<Verdict, Failure> {
    for (name, version) in TOOLS {
        let is_there = Command::new("cargo")
            .args([name, "--version"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()?
            .success();
        if !is_there {
            let package = format!("cargo-{name}@{version}");
            cargo(&["install", "--locked", &package])?;
        }
    }
    Ok(Verdict::Passed)
}

fn check_format() -> Result<Verdict, Failure> {
    cargo(&["fmt", "--all", "--check"])
}

fn check_lints() -> Result<Verdict, Failure> {
    cargo(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--locked",
        "--",
        "-D",
        "warnings",
    ])
}

/// The arrows between crates, licences and where crates come from: `deny.toml`. What it allows and nobody needs is refused,
/// too, so that it tells the tree as it is.
fn check_dependencies() -> Result<Verdict, Failure> {
    let mut command = Command::new("cargo");
    command.args(["deny", "--locked", "check"]);
    for lint in ["unmatched-skip", "unnecessary-skip", "unused-wrapper"] {
        command.args(["--deny", lint]);
    }
    succeed(command.args(["bans", "licenses", "sources"]))
}

/// Known faults of our dependencies. Their database is a repository on the network that not every machine reaches; where
/// it is out of reach the check is reported as not done, and never as passed.
fn check_advisories() -> Result<Verdict, Failure> {
    let fetch = Command::new("cargo")
        .args(["deny", "fetch", "db"])
        .env("GIT_HTTP_LOW_SPEED_LIMIT", "1000")
        .env("GIT_HTTP_LOW_SPEED_TIME", STALLED_FETCH_SECONDS)
        .env("GIT_TERMINAL_PROMPT", "0")
        .stdin(Stdio::null())
        .output()?;
    if fetch.status.success() {
        return cargo(&["deny", "--locked", "check", "advisories"]);
    }
    let said = String::from_utf8_lossy(&fetch.stderr);
    eprintln!("{said}");
    if !said.contains(FETCH_FAILED) {
        return Err("cargo deny fetch db: failed, but not for want of the network".into());
    }
    let reason = "the advisory database cannot be reached from here".to_owned();
    println!("!!! ADVISORIES WERE NOT CHECKED: {reason}.");
    println!("!!! Run `cargo deny check advisories` on a machine that reaches it.");
    Ok(Verdict::NotChecked(reason))
}

fn build_documentation() -> Result<Verdict, Failure> {
    succeed(
        Command::new("cargo")
            .args(["doc", "--workspace", "--no-deps", "--locked"])
            .env("RUSTDOCFLAGS", "-D warnings"),
    )
}

/// Flushing to the disk is off: no test cuts the power, and a server that is killed keeps what it acknowledged all the same.
fn start_postgres() -> Result<Instance, Failure> {
    database::start(Durability::Processes)
}

fn run_documentation_tests(postgres: &Instance) -> Result<Verdict, Failure> {
    succeed(
        Command::new("cargo")
            .args(["test", "--doc", "--workspace", "--locked"])
            .env(URL_VARIABLE, postgres.url()),
    )
}

fn run_tests(postgres: &Instance) -> Result<Verdict, Failure> {
    succeed(
        Command::new("cargo")
            .args([
                "nextest",
                "run",
                "--workspace",
                "--locked",
                "--profile",
                "ci",
            ])
            .env(URL_VARIABLE, postgres.url()),
    )
}

fn cargo(arguments: &[&str]) -> Result<Verdict, Failure> {
    succeed(Command::new("cargo").args(arguments))
}

/// Runs a command whose output the reader sees; its failure is the step's.
fn succeed(command: &mut Command) -> Result<Verdict, Failure> {
    let status = command.stdin(Stdio::null()).status()?;
    if status.success() {
        return Ok(Verdict::Passed);
    }
    let words: Vec<_> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy())
        .collect();
    Err(format!("`{}` ended with {status}", words.join(" ")).into())
}

type Failure = Box<dyn Error>;

/// What a step that did not fail has shown.
enum Verdict {
    Passed,
    /// The step could not look, and why.
    NotChecked(String),
}

/// The steps so far.
#[derive(Default)]
struct Gate {
    lines: Vec<Line>,
}

struct Line {
    name: &'static str,
    took: Duration,
    verdict: String,
}

impl Gate {
    /// Runs one step under its heading and notes how it ended.
    fn step(
        &mut self,
        name: &'static str,
        run: impl FnOnce() -> Result<Verdict, Failure>,
    ) -> Result<(), Failure> {
        self.note(name, run, |verdict| match verdict {
            Verdict::Passed => "passed".to_owned(),
            Verdict::NotChecked(reason) => format!("not checked: {reason}"),
        })
        .map(|_| ())
    }

    /// Starts what later steps use.
    fn start<T>(
        &mut self,
        name: &'static str,
        run: impl FnOnce() -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        self.note(name, run, |_| "started".to_owned())
    }

    fn note<T>(
        &mut self,
        name: &'static str,
        run: impl FnOnce() -> Result<T, Failure>,
        tell: impl FnOnce(&T) -> String,
    ) -> Result<T, Failure> {
        println!("\n=== {name}");
        let started = Instant::now();
        let result = run();
        let took = started.elapsed();
        let verdict = result.as_ref().map_or_else(|_| "FAILED".to_owned(), tell);
        println!("=== {name}: {verdict} ({:.1} s)", took.as_secs_f64());
        self.lines.push(Line {
            name,
            took,
            verdict,
        });
        result.map_err(|error| format!("{name}: {error}").into())
    }
}

impl fmt::Display for Gate {
    fn fmt(&self, table: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total: Duration = self.lines.iter().map(|line| line.took).sum();
        writeln!(table, "{:<22} {:>8}  result", "step", "seconds")?;
        for line in &self.lines {
            let seconds = line.took.as_secs_f64();
            writeln!(table, "{:<22} {seconds:>8.1}  {}", line.name, line.verdict)?;
        }
        write!(table, "{:<22} {:>8.1}", "total", total.as_secs_f64())
    }
}
