//! Replays recorded exchanges of the replaced service against ours; `../recorded/README.md` tells what the files mean.

mod compare;
mod connection;
mod database;
mod differences;
mod event_stream;
mod forms;
mod generate;
mod http;
mod live;
mod neighbours;
mod page;
mod prepare;
mod raw;
mod rehearsal;
mod run;
#[cfg(test)]
mod scripted;
mod server;
mod socket;
mod step;
mod story;
mod tokens;
mod world;

use std::time::Duration;

pub(crate) use database::Store;
pub(crate) use rehearsal::rehearse;
pub(crate) use run::replay;
pub(crate) use story::{Story, files};

/// What went wrong, in a sentence for whoever reads the failed test.
pub(crate) type Fault = String;

/// How long what a story expects may take to come, if it does not say.
const MOMENT: Duration = Duration::from_secs(3);

/// The same in the unit of the stories.
fn moment_ms() -> u64 {
    u64::try_from(MOMENT.as_millis()).expect("a moment is short")
}
