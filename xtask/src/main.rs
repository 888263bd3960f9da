//! Is it all true? The checks, and the databases they run on: `cargo xtask --help`.

use std::error::Error;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod bench;
mod ci;
mod database;
mod flow;
mod isolation;
mod live;
mod server;
mod services;

/// How a task ends: with the status of the process, or with one sentence for the person who asked.
type Outcome = Result<ExitCode, Box<dyn Error>>;

/// Tasks of this repository.
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Measure how fast a release build is, as a share of what the database can do on this machine.
    Bench(bench::Arguments),
    /// Run everything that must pass before a commit: format, lints, tests, documentation, dependencies.
    Ci,
    /// Start a throwaway PostgreSQL for tests, for one command or until Ctrl-C.
    Db(database::Arguments),
    /// Walk the seven steps that every client depends on, against any server.
    Flow(flow::Arguments),
    /// Try to read and write across users and spaces, for as long as you like, with each wall of the store alone.
    Isolation(isolation::Arguments),
    /// Measure what idle sockets and streams cost, and how soon they hear of a push.
    Live(live::Arguments),
    /// Play the services beside the sync server (billing, memberships) until Ctrl-C.
    Services(services::Arguments),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().task {
        Task::Bench(arguments) => bench::run(&arguments),
        Task::Ci => ci::run(),
        Task::Db(arguments) => database::run(&arguments),
        Task::Flow(arguments) => flow::run(&arguments),
        Task::Isolation(arguments) => isolation::run(&arguments),
        Task::Live(arguments) => live::run(&arguments),
        Task::Services(arguments) => services::run(&arguments),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}
