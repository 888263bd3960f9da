//! Work, done again and again by several connections at once, and how fast it was.

use std::error::Error;
use std::thread;
use std::time::{Duration, Instant};

use super::meter::{Meter, Used};

/// How often a load is repeated.
pub(crate) const ROUNDS: usize = 3;
/// The part of a round for which a load is warmed up, and for how long at the most.
const WARM_UP: (u32, Duration) = (4, Duration::from_secs(3));

/// What one connection does again and again.
pub(crate) trait Work: Send {
    /// Does it once: how many units of work that was.
    fn once(&mut self) -> Result<u64, Box<dyn Error>>;
}

/// One round of a load.
#[derive(Clone, Debug)]
pub(crate) struct Round {
    /// Units of work a second.
    pub(crate) rate: f64,
    /// How long each time took, from the shortest to the longest.
    pub(crate) times: Vec<Duration>,
    /// What was used of the processors, by each part.
    pub(crate) used: Used,
    /// The resident memory of the server at the end, in MiB.
    pub(crate) memory: f64,
}

/// Does the work of all connections at once: a warm-up, and then the rounds.
pub(crate) fn measure(
    meter: Meter,
    length: Duration,
    mut work: Vec<Box<dyn Work>>,
) -> Result<Vec<Round>, Box<dyn Error>> {
    let (part, most) = WARM_UP;
    round(meter, (length / part).min(most), &mut work)?;
    (0..ROUNDS)
        .map(|_| round(meter, length, &mut work))
        .collect()
}

fn round(
    meter: Meter,
    length: Duration,
    work: &mut [Box<dyn Work>],
) -> Result<Round, Box<dyn Error>> {
    let (before, began) = (meter.used()?, Instant::now());
    let deadline = began + length;
    let done = thread::scope(|scope| {
        let connections = work.iter_mut();
        let threads: Vec<_> = connections
            .map(|work| scope.spawn(move || until(deadline, work.as_mut())))
            .collect();
        let done = threads.into_iter().map(|thread| thread.join());
        done.collect::<Vec<_>>()
    });
    let elapsed = began.elapsed();
    let used = meter.used()?.since(before, elapsed);
    let (mut units, mut times) = (0, Vec::new());
    for of_one in done {
        let (own, of_one) = of_one.map_err(|_| "a connection has panicked")??;
        units += own;
        times.extend(of_one);
    }
    times.sort_unstable();
    Ok(Round {
        rate: units as f64 / elapsed.as_secs_f64(),
        times,
        used,
        memory: meter.memory()?,
    })
}

/// Does it until the deadline, once at least; an error becomes a text, which another thread may read.
fn until(deadline: Instant, work: &mut dyn Work) -> Result<(u64, Vec<Duration>), String> {
    let (mut units, mut times) = (0, Vec::new());
    loop {
        let began = Instant::now();
        units += work.once().map_err(|error| error.to_string())?;
        let ended = Instant::now();
        times.push(ended - began);
        if ended >= deadline {
            return Ok((units, times));
        }
    }
}
