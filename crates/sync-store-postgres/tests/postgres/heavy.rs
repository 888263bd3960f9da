//! P3 proven with threads: writers that pause before they commit and roll back at times, a PostgreSQL that is killed under
//! them, a clock that steps back, and readers that must see every row exactly once. Beside them reads the cursor that the
//! replaced service uses, which loses rows.

mod naive;
mod reader;
mod world;
mod writer;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use test_postgres::{Instance, Options};

use self::naive::Naive;
use self::reader::Reader;
use self::world::{Row, Seen, World};
use self::writer::Writer;

/// How many pushes are acknowledged before the writers stop.
const COMMITS: usize = 20_000;
const WRITERS: usize = 16;
const READERS: usize = 8;
const NAIVE_READERS: usize = 4;
/// How often PostgreSQL is killed.
const KILLS: usize = 4;

/// What all readers together did and did not see.
#[derive(Debug, Default, PartialEq, Eq)]
struct Verdict {
    skipped: usize,
    twice: usize,
    not_theirs: usize,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_row_is_skipped_and_none_comes_twice() {
    let mut instance = Instance::start(Options::default()).unwrap();
    let world = World::new(&instance.url()).await;
    let writers: Vec<_> = (0..WRITERS)
        .map(|number| tokio::spawn(Writer::new(world.clone(), number).run()))
        .collect();
    let readers: Vec<_> = (0..READERS)
        .map(|number| tokio::spawn(Reader::new(world.clone(), number).run()))
        .collect();
    let naive: Vec<_> = (0..NAIVE_READERS)
        .map(|number| tokio::spawn(Naive::new(world.clone(), number).run()))
        .collect();
    for kill in 1..=KILLS {
        world.commits_reach(COMMITS * kill / (KILLS + 1)).await;
        instance = killed_and_restarted(instance).await;
        if kill == KILLS / 2 {
            world.step_the_clock_back();
        }
    }
    let mut written = Vec::new();
    for writer in writers {
        written.push(writer.await.unwrap());
    }
    let rows = world.rows().await;
    let mut seen: Vec<Seen> = written.iter().map(|(_, seen)| seen.clone()).collect();
    for reader in readers {
        seen.push(reader.await.unwrap());
    }
    let mut seen_naively = Vec::new();
    for reader in naive {
        seen_naively.push(reader.await.unwrap());
    }
    judge_writes(
        &rows,
        &written
            .into_iter()
            .map(|(outcome, _)| outcome)
            .collect::<Vec<_>>(),
    );
    let read = seen.iter().map(|seen| seen.records.len()).sum::<usize>();
    let verdict = judge(&rows, &seen);
    let (early, late): (Vec<Row>, Vec<Row>) = rows
        .iter()
        .cloned()
        .partition(|row| world.is_before_step(row));
    let to_see = |rows: &[Row]| -> usize {
        let counts = seen_naively
            .iter()
            .map(|seen| rows.iter().filter(|row| seen.may_see(row)).count());
        counts.sum()
    };
    let lost = |rows: &[Row]| judge(rows, &seen_naively).skipped;
    let lost_early = lost(&early);
    println!(
        "{} commits of {} rows, {} rolled back, {KILLS} kills, {} cursors\n\
         position cursor: {read} rows read, {} skipped, {} twice\n\
         created_at cursor: {NAIVE_READERS} cursors, {lost_early} of {} lost before the clock stepped back, {} of {} after",
        world.commits.load(Ordering::SeqCst),
        rows.len(),
        world.rollbacks.load(Ordering::SeqCst),
        seen.len(),
        verdict.skipped,
        verdict.twice,
        to_see(&early),
        lost(&late),
        to_see(&late),
    );
    assert!(world.commits.load(Ordering::SeqCst) >= COMMITS);
    assert_eq!(verdict, Verdict::default());
    assert!(lost_early > 0, "the harness does not bite");
    drop(instance);
}

async fn killed_and_restarted(mut instance: Instance) -> Instance {
    let restarting = tokio::task::spawn_blocking(move || {
        instance.kill_hard().unwrap();
        instance.restart().unwrap();
        instance
    });
    restarting.await.unwrap()
}

/// P1 and P2: what was acknowledged is there once, and what was rolled back is not there.
fn judge_writes(rows: &[Row], written: &[writer::Outcome]) {
    let live: HashSet<&str> = rows.iter().map(|row| row.record.as_str()).collect();
    assert_eq!(live.len(), rows.len(), "a record has one live row");
    for outcome in written {
        let missing = outcome
            .acknowledged
            .iter()
            .filter(|id| !live.contains(id.as_str()));
        assert_eq!(
            missing.collect::<Vec<_>>(),
            Vec::<&String>::new(),
            "acknowledged and lost"
        );
        let present = outcome
            .rolled_back
            .iter()
            .filter(|id| live.contains(id.as_str()));
        assert_eq!(
            present.collect::<Vec<_>>(),
            Vec::<&String>::new(),
            "rolled back and there"
        );
    }
}

/// Compares what was seen with what was to be seen. A client's own rows may be left out.
fn judge(rows: &[Row], seen: &[Seen]) -> Verdict {
    let mut verdict = Verdict::default();
    for seen in seen {
        let ids = |wanted: &dyn Fn(&&Row) -> bool| -> HashSet<String> {
            let rows = rows.iter().filter(wanted);
            rows.map(|row| row.record.clone()).collect()
        };
        let allowed = ids(&|row| seen.may_see(row));
        let wanted = ids(&|row| seen.may_see(row) && !seen.is_own(row));
        let unique: HashSet<String> = seen.records.iter().cloned().collect();
        verdict.skipped += wanted.difference(&unique).count();
        verdict.twice += seen.records.len() - unique.len();
        verdict.not_theirs += unique.difference(&allowed).count();
    }
    verdict
}

/// A table, if a reader looks at one only.
fn table_of(number: usize) -> Option<&'static str> {
    [Some("tasks"), Some("notes"), None, None][number % 4]
}

type Shared = Arc<World>;
