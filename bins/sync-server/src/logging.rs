//! Log lines on standard error, for people or for programs.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::Directive;

use crate::settings::{LogFormat, Settings};

/// The target of lines that no filter holds back.
const ALWAYS: &str = "sync_server_start";

/// Starts to log as the settings say.
///
/// # Errors
///
/// A sentence that names the setting.
pub(crate) fn start(settings: &Settings) -> Result<(), String> {
    let filter =
        EnvFilter::try_new(&settings.sync_log).map_err(|error| format!("SYNC_LOG: {error}"))?;
    let always: Directive = format!("{ALWAYS}=info")
        .parse()
        .expect("a target and a level make a directive");
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter.add_directive(always))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match settings.sync_log_format {
        LogFormat::Text => lines.init(),
        LogFormat::Json => lines
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .init(),
    }
    Ok(())
}

/// Logs a line that everybody has to see, whatever the filter.
pub(crate) fn always(line: &str) {
    tracing::info!(target: ALWAYS, "{line}");
}
