//! Nobody reads or writes across (P6): 50 users in 20 spaces do at random whatever they can on every route of a real server,
//! while their memberships change. Everything that anybody is told, and everything that is written, is traced to the change
//! that wrote it, and held against who could reach its scope at that moment.
//!
//! It is run with both walls, with the code's alone and with row-level security alone. With neither it must find what comes
//! through: else it would find nothing anywhere. `cargo xtask isolation` runs it for as long as one likes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod acts;
mod business;
mod chance;
mod joining;
mod live;
mod model;
mod names;
mod rows;
mod rows_verdict;
mod run;
mod truth;
mod verdict;
mod walls;
mod world;
mod write;

use crate::model::Route;
use crate::run::{Plan, Report};
use crate::walls::Walls;

/// How many requests a short run makes.
const SHORT: usize = 1600;
/// What decides the choices of short runs.
const SEED: u64 = 4;

async fn short(walls: Walls) -> Report {
    let plan = Plan {
        walls,
        requests: SHORT,
        seed: SEED,
    };
    checked(plan).await
}

/// Runs a plan. That the walls stand which are to stand is seen, too.
async fn checked(plan: Plan) -> Report {
    let report = plan.run().await;
    println!("{}", report.text());
    if let Some((seen, all)) = report.seen {
        let expected = if plan.walls.has_rls() { 0 } else { all };
        assert!(all > 0, "nothing was written");
        assert_eq!(seen, expected, "row-level security is not as it should be");
        let is_open = report.of_others > 0;
        assert_eq!(is_open, !plan.walls.has_rls(), "nor is it for users");
    }
    let refused = report.verdict.statuses.get(&(Route::Push, 500));
    // What the code lets through, row-level security refuses.
    let expected = plan.walls == Walls::Rls;
    assert_eq!(
        refused.is_some(),
        expected,
        "pushes that failed: {refused:?}"
    );
    let broken = [Route::Upload, Route::Download].map(|route| (route, 500));
    let broken = broken.map(|answer| report.verdict.statuses.get(&answer));
    assert_eq!(broken, [None; 2], "uploads and downloads that failed");
    report
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_comes_through_both_walls() {
    assert!(short(Walls::Both).await.is_tight());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_comes_through_the_wall_of_the_code_alone() {
    assert!(short(Walls::Code).await.is_tight());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_comes_through_row_level_security_alone() {
    assert!(short(Walls::Rls).await.is_tight());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_comes_through_the_wall_of_sqlite() {
    assert!(short(Walls::Sqlite).await.is_tight());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_walls_it_is_found_that_everything_comes_through() {
    let verdict = short(Walls::Neither).await.verdict;
    assert!(verdict.reads_across > 0);
    assert!(verdict.writes_across > 0);
}

/// What `cargo xtask isolation` asks for: requests, seed and builds, separated by blanks.
const ASKED: &str = "SYNC_ISOLATION";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "it takes as long as it is asked to: cargo xtask isolation"]
async fn nothing_comes_through_however_long_it_is_tried() {
    #[expect(
        clippy::disallowed_methods,
        reason = "the only way from the command to this test"
    )]
    let asked = std::env::var(ASKED).expect("cargo xtask isolation says what it wants");
    let mut words = asked.split(' ');
    let (requests, seed) = (words.next().unwrap(), words.next().unwrap());
    let mut leaks = Vec::new();
    for word in words {
        let walls = Walls::parse(word).expect("a build");
        let plan = Plan {
            walls,
            requests: requests.parse().unwrap(),
            seed: seed.parse().unwrap(),
        };
        if !checked(plan).await.is_tight() {
            leaks.push(walls.name());
        }
    }
    assert_eq!(leaks, Vec::<&str>::new(), "something came through");
}
