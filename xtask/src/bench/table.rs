//! What was measured, as a table that is also Markdown, or as JSON.

use std::fmt::Write;
use std::time::Duration;

use serde::Serialize;

use super::measure::Round;

/// The heads of the columns. Processors: how many of them each part kept busy.
const HEADS: [&str; 12] = [
    "Load",
    "What",
    "Median",
    "Least",
    "Most",
    "Of raw",
    "Target",
    "p50 ms",
    "p99 ms",
    "CPU server",
    "CPU database",
    "MiB server",
];

/// A load that was measured.
#[derive(Debug)]
pub(crate) struct Line {
    /// Its name.
    pub(crate) load: &'static str,
    /// What it does, and the unit of its figure.
    pub(crate) what: &'static str,
    rounds: Vec<Round>,
    bound: Option<&'static str>,
    target: Option<f64>,
}

impl Line {
    /// A load that is to be measured.
    pub(crate) fn new(load: &'static str, what: &'static str) -> Self {
        Self {
            load,
            what,
            rounds: Vec::new(),
            bound: None,
            target: None,
        }
    }

    /// Its figure is also shown as a share of another line's.
    pub(crate) fn within(self, bound: Option<&'static str>) -> Self {
        Self { bound, ..self }
    }

    /// What is wanted of it.
    pub(crate) fn at_least(self, target: f64) -> Self {
        Self {
            target: Some(target),
            ..self
        }
    }

    /// With what came out.
    pub(crate) fn measured(self, rounds: Vec<Round>) -> Self {
        Self { rounds, ..self }
    }

    /// The line as it is shown beside all others.
    pub(crate) fn shown(&self, all: &[Self]) -> Shown {
        let median = self.median(|round| round.rate);
        let rates = self.rounds.iter().map(|round| round.rate);
        let bound = all.iter().find(|line| Some(line.what) == self.bound);
        Shown {
            load: self.load,
            what: self.what,
            median,
            least: rates.clone().fold(f64::INFINITY, f64::min),
            most: rates.fold(0.0, f64::max),
            of_raw: bound.map(|bound| median / bound.median(|round| round.rate)),
            target: self.target,
            p50_ms: self.median(|round| at(&round.times, 0.5)),
            p99_ms: self.median(|round| at(&round.times, 0.99)),
            cpu_server: self.median(|round| round.used.server),
            cpu_database: self.median(|round| round.used.database),
            cpu_load: self.median(|round| round.used.load),
            server_mib: self.median(|round| round.memory),
        }
    }

    fn median(&self, figure: impl Fn(&Round) -> f64) -> f64 {
        let mut figures: Vec<f64> = self.rounds.iter().map(figure).collect();
        figures.sort_unstable_by(f64::total_cmp);
        figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
    }
}

/// In milliseconds, the time that this share of all was done in.
fn at(times: &[Duration], share: f64) -> f64 {
    let place = (times.len() as f64 * share) as usize;
    let time = times.get(place.min(times.len().saturating_sub(1)));
    time.map_or(f64::NAN, |time| time.as_secs_f64() * 1000.0)
}

/// A line as it goes out. Units of work a second; of processors how many were busy; medians of the rounds where nothing else
/// is said.
#[derive(Debug, Serialize)]
pub(crate) struct Shown {
    load: &'static str,
    what: &'static str,
    median: f64,
    least: f64,
    most: f64,
    of_raw: Option<f64>,
    target: Option<f64>,
    p50_ms: f64,
    p99_ms: f64,
    cpu_server: f64,
    cpu_database: f64,
    cpu_load: f64,
    server_mib: f64,
}

/// All lines below each other.
pub(crate) fn table(lines: &[Shown]) -> String {
    let mut rows: Vec<[String; 12]> = vec![HEADS.map(str::to_owned)];
    rows.extend(lines.iter().map(cells));
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: [usize; 12] = std::array::from_fn(width);
    let mut table = String::new();
    for (number, row) in rows.iter().enumerate() {
        for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
            let padded = match column {
                0 | 1 => format!("| {cell:<width$} "),
                _ => format!("| {cell:>width$} "),
            };
            table.push_str(&padded);
        }
        table.push_str("|\n");
        if number == 0 {
            rule(&mut table, &widths);
        }
    }
    table
}

fn rule(table: &mut String, widths: &[usize; 12]) {
    for (column, width) in widths.iter().enumerate() {
        let end = if column < 2 { '-' } else { ':' };
        write!(table, "|{:->width$}{end}", "", width = width + 1)
            .expect("a text takes all that is written");
    }
    table.push_str("|\n");
}

fn cells(line: &Shown) -> [String; 12] {
    [
        line.load.to_owned(),
        line.what.to_owned(),
        count(line.median),
        count(line.least),
        count(line.most),
        line.of_raw.map(percent).unwrap_or_default(),
        line.target.map(count).unwrap_or_default(),
        format!("{:.2}", line.p50_ms),
        format!("{:.2}", line.p99_ms),
        format!("{:.2}", line.cpu_server),
        format!("{:.2}", line.cpu_database),
        format!("{:.0}", line.server_mib),
    ]
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

/// With commas between thousands.
fn count(number: f64) -> String {
    if number < 100.0 {
        return format!("{number:.1}");
    }
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
