//! The sync server: settings, the parts that they choose, and the commands.

mod access;
mod address;
mod check;
mod commands;
mod database;
mod faults;
mod import;
mod limits;
mod logging;
mod nodes;
mod rows;
mod serve;
mod settings;
mod sweep;
mod tables;
mod welcome;
mod whole;

use std::process::ExitCode;

use commands::{Arguments, Command};
use settings::Settings;

fn main() -> ExitCode {
    let Arguments { command, settings } = Arguments::read();
    let outcome = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime.block_on(run(command.unwrap_or(Command::Serve), &settings)),
        Err(error) => Err(format!("the runtime cannot start: {error}")),
    };
    outcome.unwrap_or_else(|fault| {
        eprintln!("sync-server: {fault}");
        ExitCode::FAILURE
    })
}

/// Runs one command; an error is a sentence (or a few) for whoever started it.
async fn run(command: Command, settings: &Settings) -> Result<ExitCode, String> {
    if matches!(command, Command::Check) {
        return Ok(check::check(settings).await);
    }
    let faults = settings.faults(&command);
    if !faults.is_empty() {
        return Err(faults.join("\nsync-server: "));
    }
    logging::start(settings)?;
    match command {
        Command::Migrate => {
            for line in database::migrate(settings).await? {
                println!("{line}");
            }
        }
        Command::Export { whose, to } => whole::export(settings, &whose, to.as_deref()).await?,
        Command::Erase { whose, yes } => {
            let lines = match yes {
                true => whole::erase(settings, &whose).await?,
                false => whole::would_erase(settings, &whose).await?,
            };
            for line in lines {
                println!("{line}");
            }
        }
        Command::Import(arguments) => return import::import(arguments, settings).await,
        Command::Serve | Command::Dev | Command::Check => {
            serve::serve(&command, settings).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
