//! Commands: what the binary does, and what this process was told to do.

use std::ffi::OsStr;
use std::path::PathBuf;

use clap::builder::Resettable;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::settings::Settings;
use crate::whole::Whose;

/// A sync server for applications that keep their data on the device: clients push small changes and pull what others
/// wrote; fields are merged one by one, the later write wins.
///
/// To look around, run `sync-server dev`: it needs nothing and signs you in. To run it in earnest, set DATABASE_URL and
/// JWKS_URL, look at what `sync-server check` says, and run `sync-server serve`.
#[derive(Parser)]
#[command(name = "sync-server", version, verbatim_doc_comment)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) settings: Settings,
}

/// What the binary does. It has no `Debug`, since `import` is told a password.
#[derive(Clone, Subcommand)]
pub(crate) enum Command {
    /// Serve clients (what happens when no command is given)
    Serve,
    /// Serve on this machine alone, with SQLite and a sign-in that believes everybody
    Dev,
    /// Bring the database to the schema of this version, and say what was done
    Migrate,
    /// Try the settings, the database and the keys, and say what works
    Check,
    /// Write everything that is kept of a user or a space, as lines of JSON
    Export {
        #[command(flatten)]
        whose: Whose,
        /// The file, which is there when it is complete [default: the standard output]
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
    },
    /// Erase a user or a space for good
    Erase {
        #[command(flatten)]
        whose: Whose,
        /// Do it; without this it says what it would do
        #[arg(long)]
        yes: bool,
    },
    /// Take over the table of the service that this one replaces; run again, it goes on where it was stopped
    Import(ImportArguments),
}

/// What `import` is told. It holds a password, and so has no `Debug`.
#[derive(Clone, Args)]
pub(crate) struct ImportArguments {
    /// The database of the replaced service: `postgresql://USER:PASSWORD@HOST/NAME`
    #[arg(
        long,
        env = "SYNC_IMPORT_FROM",
        hide_env_values = true,
        required_unless_present = "abandon"
    )]
    pub(crate) from: Option<String>,
    /// How many rows are taken over in one transaction
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) batch: u32,
    /// End an import that was stopped, and serve what has been taken over so far
    #[arg(long)]
    pub(crate) abandon: bool,
}

impl Arguments {
    /// What this process was told. An empty environment variable counts as unset, but for `DATABASE_URL`: a server
    /// must not fall back on another database because a variable came out empty.
    pub(crate) fn read() -> Self {
        let command = Self::command().mut_args(|argument| {
            let is_empty = |name: &OsStr| std::env::var_os(name).is_some_and(|it| it.is_empty());
            match argument.get_env() {
                Some(name) if name != "DATABASE_URL" && is_empty(name) => {
                    argument.env(Resettable::Reset)
                }
                _ => argument,
            }
        });
        Self::from_matches(&command.get_matches()).unwrap_or_else(|error| error.exit())
    }

    fn from_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut arguments = Self::from_arg_matches(matches)?;
        arguments.settings.drop_empty();
        if matches!(arguments.command, Some(Command::Dev)) {
            let is_flag = |id: &str| matches.value_source(id) == Some(ValueSource::CommandLine);
            arguments.settings.keep_to_this_machine(is_flag);
        }
        Ok(arguments)
    }
}
