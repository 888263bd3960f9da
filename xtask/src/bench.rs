//! `cargo xtask bench`: how fast a release build of the server is on a database of its own, and which share that is of what
//! the database can do without it, measured in the same run. A program with a table, not a test: nothing fails on time.
//!
//! The server, the database and the load share the machine. The load speaks HTTP over loopback, one thread a connection.

use std::error::Error;
use std::fmt::Display;
use std::net::SocketAddr;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use test_postgres::{Durability, Instance};

use crate::server::{OwnServer, Profile};
use crate::{Outcome, database};
use measure::{Work, measure};
use meter::Meter;
use raw::{Database, Finding, Positions, Reading, Writing};
use rows::{Downloading, Inserting, Polling, Updating, Uploader};
use table::{Line, Shown};

mod http;
mod keys;
mod measure;
mod meter;
mod raw;
mod row;
mod rows;
mod table;
mod token;

/// Connections that upload, one user each.
const UPLOADERS: u64 = 4;
/// Who has how many rows: of these some are downloaded and polled for.
const NOBODY: (u64, usize) = (1000, 0);
const SOMEBODY: (u64, usize) = (1001, 8_000);
const COLLECTOR: (u64, usize) = (1002, 100_000);
/// Where users that upload begin: those of new rows, those of new versions.
const INSERTERS: u64 = 2000;
const UPDATERS: u64 = 3000;

/// What `cargo xtask bench` takes.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Only this load, and the bounds that it is compared with; may be given several times.
    #[arg(long, value_enum, value_name = "NAME")]
    only: Vec<Load>,
    /// How long each of the three rounds of a load takes.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// Where the server keeps what it has. The bounds are those of PostgreSQL alone.
    #[arg(long, value_enum, default_value_t = Store::Postgres)]
    store: Store,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Load {
    /// Devices of the rows dialect upload new rows.
    #[value(name = "rows-upload")]
    Upload,
    /// They upload new versions of rows that are there.
    #[value(name = "rows-update")]
    Update,
    /// A new device downloads all rows of its user.
    #[value(name = "rows-download")]
    Download,
    /// A device asks for news, and there are none.
    #[value(name = "rows-empty-poll")]
    EmptyPoll,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Store {
    Postgres,
    Sqlite,
}

/// Starts a database and a server, measures them, and prints what came out.
pub(crate) fn run(arguments: &Arguments) -> Outcome {
    if cfg!(debug_assertions) {
        return run_release_build();
    }
    let bench = Bench::start(arguments)?;
    let mut lines = Vec::new();
    for load in Load::value_variants() {
        if arguments.only.is_empty() || arguments.only.contains(load) {
            bench.measure(*load, &mut lines)?;
        }
    }
    let shown: Vec<Shown> = lines.iter().map(|line| line.shown(&lines)).collect();
    match arguments.json {
        true => println!("{}", serde_json::to_string_pretty(&shown)?),
        false => print!("{}", table::table(&shown)),
    }
    Ok(ExitCode::SUCCESS)
}

/// Does the same by a release build of this program: the load shares the machine with what it measures.
fn run_release_build() -> Outcome {
    let status = Command::new(option_env!("CARGO").unwrap_or("cargo"))
        .args([
            "run",
            "--quiet",
            "--locked",
            "--release",
            "--package",
            "xtask",
            "--",
        ])
        .args(std::env::args_os().skip(1))
        .status()?;
    match status.success() {
        true => Ok(ExitCode::SUCCESS),
        false => Err("nothing was measured: it stands above why".into()),
    }
}

/// What is measured, and how.
struct Bench {
    // The server goes before its database.
    server: OwnServer,
    postgres: Option<Postgres>,
    meter: Meter,
    length: Duration,
}

/// The database of a run, and a connection to it beside the server.
struct Postgres {
    instance: Instance,
    database: Database,
    positions: Positions,
}

/// Connections that do some work.
type Connections = Vec<Box<dyn Work>>;

impl Bench {
    fn start(arguments: &Arguments) -> Result<Self, Box<dyn Error>> {
        let instance = match arguments.store {
            Store::Postgres => Some(database::start(Durability::Machine)?),
            Store::Sqlite => None,
        };
        let url = match &instance {
            Some(instance) => instance.url(),
            None => "sqlite:sync.db".to_owned(),
        };
        let settings = [
            ("DATABASE_URL", url.as_str()),
            ("JWKS_URL", &keys::serve()?),
            ("JWT_SECRET", token::SECRET),
            ("SYNC_HOST", "127.0.0.1"),
        ];
        let server = OwnServer::serving(Profile::Release, &settings)?;
        let meter = Meter {
            server: server.process_id(),
            database: instance.as_ref().and_then(Instance::process_id),
        };
        // The server has made its tables by now.
        let postgres = instance.map(Postgres::new).transpose()?;
        Ok(Self {
            server,
            postgres,
            meter,
            length: Duration::from_secs(arguments.seconds),
        })
    }

    /// Adds the lines of a load, each behind its bound.
    fn measure(&self, load: Load, lines: &mut Vec<Line>) -> Result<(), Box<dyn Error>> {
        let server = self.server.address();
        match load {
            Load::Upload => {
                let bound = self.bound_of_writing(lines)?;
                let work = uploaders(server, INSERTERS, |uploader| Ok(Inserting(uploader)))?;
                let what = "upload of new rows, 200 x 4 connections, changes/s";
                self.add(
                    lines,
                    Line::new("rows-upload", what)
                        .within(bound)
                        .at_least(15_000.0),
                    work,
                )
            }
            Load::Update => {
                let bound = self.bound_of_writing(lines)?;
                let work = uploaders(server, UPDATERS, Updating::new)?;
                let what = "upload of new versions, 200 x 4 connections, changes/s";
                self.add(lines, Line::new("rows-update", what).within(bound), work)
            }
            Load::Download => self.measure_downloads(lines),
            Load::EmptyPoll => self.measure_polls(lines),
        }
    }

    fn measure_downloads(&self, lines: &mut Vec<Line>) -> Result<(), Box<dyn Error>> {
        let (server, (user, rows)) = (self.server.address(), COLLECTOR);
        fill(server, COLLECTOR)?;
        for (connections, of_bound, what) in [
            (
                1,
                "raw read of pages, 1 connection, rows/s",
                "download of 100,000 rows, 1 connection, rows/s",
            ),
            (
                2,
                "raw read of pages, 2 connections, rows/s",
                "download of 100,000 rows, 2 connections, rows/s",
            ),
        ] {
            let bound = self.bound(lines, of_bound, |postgres| {
                let user = postgres.fill()?;
                repeat(connections, || Reading::new(&postgres.instance.url(), user))
            })?;
            let work = repeat(connections, || Downloading::new(server, user, rows))?;
            self.add(
                lines,
                Line::new("rows-download", what)
                    .within(bound)
                    .at_least(140_000.0),
                work,
            )?;
        }
        Ok(())
    }

    fn measure_polls(&self, lines: &mut Vec<Line>) -> Result<(), Box<dyn Error>> {
        let server = self.server.address();
        let bound = self.bound(
            lines,
            "raw read of an empty page, 1 connection, reads/s",
            |postgres| {
                let user = postgres.fill()?;
                repeat(1, || {
                    Reading::new(&postgres.instance.url(), user).map(Finding)
                })
            },
        )?;
        for (of, what) in [
            (
                NOBODY,
                "empty poll of a user without rows, 1 connection, requests/s",
            ),
            (
                SOMEBODY,
                "empty poll beside 8,000 own rows, 1 connection, requests/s",
            ),
            (
                COLLECTOR,
                "empty poll beside 100,000 own rows, 1 connection, requests/s",
            ),
        ] {
            fill(server, of)?;
            let work = repeat(1, || Polling::caught_up(server, of.0))?;
            self.add(
                lines,
                Line::new("rows-empty-poll", what).within(bound),
                work,
            )?;
        }
        for (of, what) in [
            (
                SOMEBODY,
                "first poll from 0 over 8,000 own rows, 1 connection, requests/s",
            ),
            (
                COLLECTOR,
                "first poll from 0 over 100,000 own rows, 1 connection, requests/s",
            ),
        ] {
            let work = repeat(1, || Polling::from_the_start(server, of.0))?;
            self.add(lines, Line::new("rows-empty-poll", what), work)?;
        }
        Ok(())
    }

    /// The bound of all that writes.
    fn bound_of_writing(
        &self,
        lines: &mut Vec<Line>,
    ) -> Result<Option<&'static str>, Box<dyn Error>> {
        self.bound(
            lines,
            "raw insert of rows, 200 x 4 connections, rows/s",
            |postgres| {
                let url = postgres.instance.url();
                let mut users = INSERTERS..;
                repeat(UPLOADERS, || {
                    let user = users.next().unwrap_or_default();
                    Writing::new(&url, user, &postgres.positions)
                })
            },
        )
    }

    /// Measures a bound, unless this run has done so; `None` if this run has none.
    fn bound(
        &self,
        lines: &mut Vec<Line>,
        what: &'static str,
        work: impl FnOnce(&Postgres) -> Result<Connections, Box<dyn Error>>,
    ) -> Result<Option<&'static str>, Box<dyn Error>> {
        let Some(postgres) = &self.postgres else {
            return Ok(None);
        };
        if !lines.iter().any(|line| line.what == what) {
            self.add(lines, Line::new("raw", what), work(postgres)?)?;
        }
        Ok(Some(what))
    }

    fn add(
        &self,
        lines: &mut Vec<Line>,
        line: Line,
        work: Connections,
    ) -> Result<(), Box<dyn Error>> {
        if let Some(postgres) = &self.postgres {
            postgres.database.settle()?;
        }
        eprintln!("{}", line.what);
        let rounds = measure(self.meter, self.length, work);
        let rounds = rounds.map_err(told(line.what))?;
        lines.push(line.measured(rounds));
        Ok(())
    }
}

impl Postgres {
    fn new(instance: Instance) -> Result<Self, Box<dyn Error>> {
        let database = Database::connect(&instance.url())?;
        database.make_table()?;
        Ok(Self {
            instance,
            database,
            positions: Arc::default(),
        })
    }

    /// The user who has rows in the table of the bounds.
    fn fill(&self) -> Result<u64, Box<dyn Error>> {
        let (user, rows) = COLLECTOR;
        if !self.database.has_rows(user)? {
            Writing::new(&self.instance.url(), user, &self.positions)?.fill(rows as u64)?;
        }
        Ok(user)
    }
}

/// Sees to it that a user has so many rows.
fn fill(server: SocketAddr, (user, rows): (u64, usize)) -> Result<(), Box<dyn Error>> {
    let mut polling = Polling::from_the_start(server, user)?;
    match polling.has_rows()? {
        true => Ok(()),
        false => Uploader::new(server, user)?.fill(rows),
    }
}

fn uploaders<W: Work + 'static>(
    server: SocketAddr,
    first: u64,
    work: impl Fn(Uploader) -> Result<W, Box<dyn Error>>,
) -> Result<Connections, Box<dyn Error>> {
    let mut users = first..;
    repeat(UPLOADERS, || {
        let user = users.next().unwrap_or_default();
        work(Uploader::new(server, user)?)
    })
}

fn repeat<W: Work + 'static>(
    count: u64,
    mut work: impl FnMut() -> Result<W, Box<dyn Error>>,
) -> Result<Connections, Box<dyn Error>> {
    let all = (0..count).map(|_| Ok(Box::new(work()?) as Box<dyn Work>));
    all.collect()
}

fn told<E: Display>(what: &str) -> impl FnOnce(E) -> String {
    move |error| format!("{what}: {error}")
}
