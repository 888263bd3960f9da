//! Replays recorded exchanges of the replaced service against ours; `../recorded/README.md` tells what the files mean.

mod compare;
mod database;
mod differences;
mod forms;
mod generate;
mod http;
mod raw;
mod rehearsal;
mod run;
mod server;
mod story;
mod tokens;
mod world;

pub(crate) use database::Store;
pub(crate) use rehearsal::rehearse;
pub(crate) use run::replay;
pub(crate) use story::{Story, files};

/// What went wrong, in a sentence for whoever reads the failed test.
pub(crate) type Fault = String;
