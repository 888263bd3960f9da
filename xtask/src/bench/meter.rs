//! How much processor time processes have used and how much memory they hold, as Linux tells it.

use std::error::Error;
use std::fs;
use std::time::Duration;

/// How many of the kernel's ticks make a second: the same on all machines that Linux runs on today.
const TICKS_PER_SECOND: f64 = 100.0;

/// The processes that are watched, beside this one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Meter {
    /// The server.
    pub(crate) server: u32,
    /// The first process of the database, if it is not the server's own.
    pub(crate) database: Option<u32>,
}

/// Processor time since the processes began.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Used {
    /// Of the server.
    pub(crate) server: f64,
    /// Of the database, all of its processes.
    pub(crate) database: f64,
    /// Of this process.
    pub(crate) load: f64,
}

impl Used {
    /// The part of the processors that was used since then.
    pub(crate) fn since(self, before: Self, elapsed: Duration) -> Self {
        let share = |after: f64, before: f64| (after - before) / elapsed.as_secs_f64();
        Self {
            server: share(self.server, before.server),
            database: share(self.database, before.database),
            load: share(self.load, before.load),
        }
    }
}

impl Meter {
    /// What was used until now.
    pub(crate) fn used(self) -> Result<Used, Box<dyn Error>> {
        let database = match self.database {
            Some(first) => of_family(first)?,
            None => 0.0,
        };
        Ok(Used {
            server: stat(self.server)?.own,
            database,
            load: stat(std::process::id())?.own,
        })
    }

    /// The resident memory of the server, in MiB.
    pub(crate) fn memory(self) -> Result<f64, Box<dyn Error>> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.server))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().next());
        let number: f64 = number.ok_or("no VmRSS in /proc")?.parse()?;
        Ok(number / 1024.0)
    }
}

/// What the kernel tells of a process; times in seconds.
struct Stat {
    parent: u32,
    /// Of the process itself.
    own: f64,
    /// Of its children that have ended.
    ended: f64,
}

/// Of a process, its children, and those that have been.
fn of_family(first: u32) -> Result<f64, Box<dyn Error>> {
    let Stat { own, ended, .. } = stat(first)?;
    let processes = fs::read_dir("/proc")?.flatten();
    let numbers = processes.filter_map(|process| process.file_name().to_str()?.parse().ok());
    // One that has just ended counts with its parent.
    let stats = numbers.filter_map(|process| stat(process).ok());
    let children = stats.filter(|stat| stat.parent == first);
    Ok(own + ended + children.map(|stat| stat.own).sum::<f64>())
}

fn stat(process: u32) -> Result<Stat, Box<dyn Error>> {
    let line = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name, which may hold anything, ends with the last bracket; the state is the third column.
    let (_, columns) = line.rsplit_once(')').ok_or("no name in /proc")?;
    let columns: Vec<&str> = columns.split_whitespace().collect();
    let column = |number: usize| columns.get(number - 3).copied().unwrap_or_default();
    let seconds =
        |number| Ok::<f64, Box<dyn Error>>(column(number).parse::<f64>()? / TICKS_PER_SECOND);
    Ok(Stat {
        parent: column(4).parse()?,
        own: seconds(14)? + seconds(15)?,
        ended: seconds(16)? + seconds(17)?,
    })
}
