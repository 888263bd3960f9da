//! Log lines on standard error, for people or for programs.

use std::io::{self, IsTerminal, Write};

use tracing::{Level, Metadata};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{Directive, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

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
    let colors = io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter.add_directive(always))
        .with_writer(move || OneLine {
            to: io::stderr(),
            colors,
        })
        .with_ansi(colors);
    match settings.sync_log_format {
        LogFormat::Text => lines.finish().with(filter_fn(may_be_told)).init(),
        LogFormat::Json => lines
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .finish()
            .with(filter_fn(may_be_told))
            .init(),
    }
    Ok(())
}

/// Whether an event may be in the log, whatever the filter lets through: below `info` libraries quote what passes through
/// them, such as notices with the names of users, or a password on its way to NATS.
fn may_be_told(event: &Metadata<'_>) -> bool {
    *event.level() <= Level::INFO || event.target().starts_with("sync_")
}

/// Makes one line, without control characters, of what is written, which is an event at a time: whatever an error quotes, it
/// must not pass for a line of its own, nor move the cursor of a terminal.
struct OneLine<W> {
    to: W,
    colors: bool,
}

impl<W: Write> Write for OneLine<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let inner = text.strip_suffix('\n').unwrap_or(&text);
        let is_odd = |letter: char| letter.is_control() && !(self.colors && letter == '\u{1b}');
        if !inner.contains(is_odd) {
            self.to.write_all(event)?;
            return Ok(event.len());
        }
        let mut line = String::with_capacity(text.len() + 16);
        for letter in inner.chars() {
            if is_odd(letter) {
                line.extend(letter.escape_default());
            } else {
                line.push(letter);
            }
        }
        line.push_str(&text[inner.len()..]);
        self.to.write_all(line.as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// Logs a line that everybody has to see, whatever the filter.
pub(crate) fn always(line: &str) {
    tracing::info!(target: ALWAYS, "{line}");
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("nobody panics").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_event_is_one_line_whatever_it_quotes() {
        let kept = Kept::default();
        let writer = kept.clone();
        let lines = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || OneLine {
                to: writer.clone(),
                colors: false,
            });
        let nasty = "x\r\n2026-01-01T00:00:00Z  INFO all is well \u{1b}[2J";
        tracing::subscriber::with_default(lines.finish(), || {
            let error = io::Error::other(nasty);
            tracing::warn!(%error, text = nasty, "said {nasty}");
            tracing::info!("next");
        });
        let text = String::from_utf8(kept.0.lock().expect("nobody panics").clone());
        let text = text.expect("the log is text");
        assert_eq!(text.lines().count(), 2, "{text}");
        let odd = |letter: char| letter.is_control() && letter != '\n';
        assert!(!text.contains(odd), "{text:?}");
    }
}
