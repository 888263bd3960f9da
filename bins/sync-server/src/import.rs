//! `import`: takes over the table of the service that this one replaces, says how far it is, and reports what became of it.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use sync_protocol::Timestamp;
use sync_store::{
    Import, ImportState, Importer, Mark, Phase, ReplacedRow, Store, StoreError, Tally,
};
use sync_store_postgres::{Overview, ReplacedTable};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::commands::ImportArguments;
use crate::database;
use crate::serve::now;
use crate::settings::Settings;

/// How often it says how far it is.
const TELLS: Duration = Duration::from_secs(1);
/// How many reasons the report names.
const REASONS: usize = 10;

/// Takes over all rows behind those that were taken over before, or ends an import where it stands.
///
/// # Errors
///
/// A sentence for whoever started it; what has been taken over stays so.
pub(crate) async fn import(
    arguments: ImportArguments,
    settings: &Settings,
) -> Result<ExitCode, String> {
    let from = arguments.from.filter(|_| !arguments.abandon);
    if from.as_deref() == Some(settings.database_url.as_str()) {
        return Err(
            "--from: this is DATABASE_URL itself: take over into a database of its own".to_owned(),
        );
    }
    eprintln!("import: into {}", settings.database()?);
    let store = database::open(settings).await?;
    let importer = importer(&*store)?;
    let state = importer.state().await.map_err(database::told)?;
    let Some(from) = from else {
        return abandon(importer, &state).await;
    };
    let mut stop = stop_signal()?;
    let mut table = tokio::select! {
        () = stop.told() => return Err(stopped(&state)),
        table = ReplacedTable::open(&from, state.mark.as_ref()) => table.map_err(told)?,
    };
    let state = importer.begin().await.map_err(database::told)?;
    let mut progress = Progress::new(table.overview().rows, &state.tally);
    let batch = usize::try_from(arguments.batch).unwrap_or(usize::MAX);
    take_all(importer, state, &mut table, batch, &mut stop, &mut progress).await?;
    let state = importer.end(now()).await.map_err(database::told)?;
    report(&state, table.overview(), &progress);
    Ok(ExitCode::SUCCESS)
}

/// The error of the old database for the operator.
fn told(error: StoreError) -> String {
    format!("--from: {}", database::detail(error))
}

/// Takes over batch by batch, to the end of the table or the signal to stop.
async fn take_all(
    importer: &dyn Importer,
    mut state: ImportState,
    table: &mut ReplacedTable,
    batch: usize,
    stop: &mut Stop,
    progress: &mut Progress,
) -> Result<(), String> {
    loop {
        let rows = tokio::select! {
            biased;
            () = stop.told() => return Err(stopped(&state)),
            rows = table.next(batch) => rows.map_err(told)?,
        };
        if rows.is_empty() {
            return Ok(());
        }
        let spaces = table.overview().spaces_of_users.clone();
        let import = Import {
            after: state.mark.clone(),
            rows,
            spaces,
            now: now(),
        };
        state = take(importer, import).await.map_err(database::told)?;
        progress.tell(&state);
    }
}

fn importer(store: &dyn Store) -> Result<&dyn Importer, String> {
    let importer = store.importer();
    importer.ok_or_else(|| "DATABASE_URL: this database takes over no table".to_owned())
}

async fn abandon(importer: &dyn Importer, state: &ImportState) -> Result<ExitCode, String> {
    if state.phase != Phase::UnderWay {
        return Err("no import is under way: there is nothing to abandon".to_owned());
    }
    let state = importer.end(now()).await.map_err(database::told)?;
    println!(
        "the import was ended behind {} rows: the server serves what they have left",
        state.tally.rows
    );
    Ok(ExitCode::SUCCESS)
}

fn stopped(state: &ImportState) -> String {
    if state.phase != Phase::UnderWay {
        return "stopped before anything was taken over".to_owned();
    }
    format!(
        "stopped behind {} rows, of which none is lost: run the same command again to go on. Until then nothing is served \
         from this database",
        state.tally.rows
    )
}

/// Takes over rows, in smaller batches if their records are too large to be loaded at once.
async fn take(importer: &dyn Importer, import: Import) -> Result<ImportState, StoreError> {
    let Import {
        after,
        rows,
        spaces,
        now,
    } = import;
    let mut after: Option<Mark> = after;
    let mut waiting: Vec<Vec<ReplacedRow>> = vec![rows];
    loop {
        let Some(mut rows) = waiting.pop() else {
            return importer.state().await;
        };
        let part = Import {
            after: after.clone(),
            rows: rows.clone(),
            spaces: spaces.clone(),
            now,
        };
        match importer.take(part).await {
            Ok(state) if waiting.is_empty() => return Ok(state),
            Ok(state) => after = state.mark,
            Err(StoreError::TooLarge(_)) if rows.len() > 1 => {
                let second = rows.split_off(rows.len() / 2);
                waiting.extend([second, rows]);
            }
            Err(error) => return Err(error),
        }
    }
}

/// Tells of the first signal to stop.
struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Returns when it was told, now or earlier.
    async fn told(&mut self) {
        if self.0.wait_for(|told| *told).await.is_err() {
            // Nobody listens for signals any more, and so none comes.
            std::future::pending::<()>().await;
        }
    }
}

/// Listens for signals from here on.
fn stop_signal() -> Result<Stop, String> {
    let listen =
        |kind| signal(kind).map_err(|error| format!("signals cannot be listened for: {error}"));
    let (mut terminate, mut interrupt) = (
        listen(SignalKind::terminate())?,
        listen(SignalKind::interrupt())?,
    );
    let (tell, told) = watch::channel(false);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        eprintln!("import: stopping behind what is under way");
        tell.send_replace(true);
    });
    Ok(Stop(told))
}

/// How far it is, for whoever watches.
struct Progress {
    total: u64,
    /// The rows that were taken over before.
    before: u64,
    began: Instant,
    told: Instant,
}

impl Progress {
    fn new(total: u64, tally: &Tally) -> Self {
        let now = Instant::now();
        let progress = Self {
            total,
            before: tally.rows,
            began: now,
            told: now,
        };
        match tally.rows {
            0 => eprintln!("import: {total} rows"),
            done => eprintln!("import: goes on behind {done} of {total} rows"),
        }
        progress
    }

    fn tell(&mut self, state: &ImportState) {
        if self.told.elapsed() < TELLS {
            return;
        }
        self.told = Instant::now();
        let rows = state.tally.rows;
        let percent = rows.saturating_mul(100) / self.total.max(1);
        let at = state.mark.as_ref().map_or("", |mark| &mark.created);
        eprintln!(
            "import: {rows} of {} rows ({percent} %), {} rows/s, at {at}",
            self.total,
            self.rate(rows),
        );
    }

    /// Rows in a second, since this process has begun.
    fn rate(&self, rows: u64) -> u64 {
        let millis = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        (rows - self.before).saturating_mul(1000) / millis.max(1)
    }
}

fn report(state: &ImportState, overview: &Overview, progress: &Progress) {
    let tally = &state.tally;
    let now_taken = tally.rows - progress.before;
    let seconds = progress.began.elapsed().as_secs_f64();
    println!(
        "took over {now_taken} rows in {seconds:.1} s ({} rows/s); {} rows in all, of {} users, {} apps and {} spaces",
        progress.rate(tally.rows),
        tally.rows,
        overview.users,
        overview.apps,
        overview.spaces,
    );
    tell_each_row(tally);
    println!(
        "appended: {} for one user, {} in spaces; among them {} since a record moved into a space",
        tally.personal, tally.shared, tally.moved
    );
    if tally.ahead > 0 {
        println!(
            "{} rows had times ahead of their own: they got the time at which they were made",
            tally.ahead
        );
    }
    if tally.late > 0 {
        println!(
            "{} rows stand behind what this database had given out before: clients read them again",
            tally.late
        );
    }
    if let Phase::Ended(end) = state.phase {
        let end = Timestamp::from_nanos(end.0);
        println!("cursors up to {end} count as those of the replaced service");
    }
}

/// What became of the rows: how many there are of each kind, and why some were not taken.
fn tell_each_row(tally: &Tally) {
    for (count, what) in [
        (tally.live(), "rows are in the log and live"),
        (
            tally.superseded,
            "superseded: later rows have replaced all of their values",
        ),
        (tally.lost, "lost: a later write was there already"),
        (
            tally.replays,
            "replays: they said again what was there already",
        ),
        (
            tally.empty,
            "said nothing: no field has a time, so nobody was ever told of them",
        ),
    ] {
        println!("{count:>12}  {what}");
    }
    tell_with_reasons(
        &tally.parked,
        "kept aside for their users: they can never be changes",
    );
    tell_with_reasons(&tally.dropped, "dropped: they belong to nobody");
}

fn tell_with_reasons<R: Display>(rows: &BTreeMap<R, u64>, what: &str) {
    println!("{:>12}  {what}", rows.values().sum::<u64>());
    let mut reasons: Vec<_> = rows.iter().collect();
    reasons.sort_by_key(|(_, count)| Reverse(**count));
    for (reason, count) in reasons.into_iter().take(REASONS) {
        println!("{count:>16}  {reason}");
    }
}
