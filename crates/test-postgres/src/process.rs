//! Signals to the server's processes, and whether they are gone.
//!
//! The shell's own `kill` sends the signals: the workspace forbids unsafe code, and small machines have no `kill` program.

use std::fs;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How often a process is looked at while it is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// A signal by the name that `kill` knows.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Signal {
    /// To a postmaster: roll back, disconnect all, write a checkpoint, end.
    Interrupt,
    /// Ends a process as a power cut does.
    Kill,
    /// Halts a process.
    Stop,
}

/// Sends `signal` to each of `processes`; those that are gone already are as good as reached.
pub(crate) fn send(signal: Signal, processes: &[u32]) {
    let name = match signal {
        Signal::Interrupt => "-INT",
        Signal::Kill => "-KILL",
        Signal::Stop => "-STOP",
    };
    let _ = Command::new("sh")
        .args(["-c", r#"kill "$@""#, "sh", name])
        .args(processes.iter().map(u32::to_string))
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .status();
}

/// Looks at `done` until it is true: whether it was before `limit` was over.
pub(crate) fn wait_until(limit: Duration, mut done: impl FnMut() -> bool) -> bool {
    let started = Instant::now();
    while !done() {
        if started.elapsed() > limit {
            return false;
        }
        thread::sleep(LOOK_EVERY);
    }
    true
}

/// The processes whose parent is `parent`; none where the system has no `/proc`.
pub(crate) fn children(parent: u32) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|&process| status(process).is_some_and(|status| status.parent == parent))
        .collect()
}

/// Whether a process was halted by [`Signal::Stop`], as far as the system tells.
pub(crate) fn is_halted(process: u32) -> bool {
    status(process).is_none_or(|status| matches!(status.state, 'T' | 't'))
}

/// Whether a process does nothing any more and holds nothing: it is gone, or is only a line that nobody has read yet.
pub(crate) fn is_gone(process: u32) -> bool {
    status(process).is_none_or(|status| matches!(status.state, 'Z' | 'X'))
}

struct Status {
    state: char,
    parent: u32,
}

/// What `/proc` says of a process: "4242 (postgres: writer) S 4241 …", where the name may hold anything.
fn status(process: u32) -> Option<Status> {
    let line = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let (_, after_name) = line.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace();
    Some(Status {
        state: fields.next()?.chars().next()?,
        parent: fields.next()?.parse().ok()?,
    })
}
