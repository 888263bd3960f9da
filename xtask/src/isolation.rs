//! Users in spaces try to read and write across, for as long as one likes: with both walls of the store, with each alone,
//! and on SQLite.

use std::process::{Command, Stdio};

use test_postgres::{Durability, URL_VARIABLE};

use crate::{Outcome, database};

/// How the test is told what to do.
const ASKED: &str = "SYNC_ISOLATION";

/// 50 users in 20 spaces do at random whatever they can on every route, while their memberships change.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How many requests each build of the store gets.
    #[arg(long, default_value_t = 1_000_000)]
    requests: usize,
    /// What decides the choices.
    #[arg(long, default_value_t = 4)]
    seed: u64,
    /// Which walls stand.
    #[arg(long, value_enum, default_value_t = Walls::All)]
    walls: Walls,
    /// Build quickly, for a short run, rather than for a fast one.
    #[arg(long)]
    debug: bool,
}

/// The builds of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Walls {
    /// PostgreSQL as it ships.
    Both,
    /// PostgreSQL without row-level security.
    Code,
    /// PostgreSQL, with the code taking everybody to reach everything.
    Rls,
    /// PostgreSQL with neither: this must fail.
    Neither,
    /// SQLite, which has the code's wall alone.
    Sqlite,
    /// All that must hold, one after the other.
    All,
}

impl Walls {
    fn words(self) -> &'static str {
        match self {
            Self::Both => "both",
            Self::Code => "code",
            Self::Rls => "rls",
            Self::Neither => "neither",
            Self::Sqlite => "sqlite",
            Self::All => "both code rls sqlite",
        }
    }
}

pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let Arguments {
        requests,
        seed,
        walls,
        debug,
    } = arguments;
    let postgres = database::start(Durability::Processes)?;
    let mut command = Command::new(option_env!("CARGO").unwrap_or("cargo"));
    command.args(["test", "--quiet", "--locked"]);
    if !debug {
        command.arg("--release");
    }
    command
        .args(["--package", "sync-server", "--test", "isolation"])
        .args(["--", "--ignored", "--nocapture"])
        .env(ASKED, format!("{requests} {seed} {}", walls.words()))
        .env(URL_VARIABLE, postgres.url())
        .stdin(Stdio::null());
    if command.status()?.success() {
        return Ok(std::process::ExitCode::SUCCESS);
    }
    Err("something came through: it stands above".into())
}
