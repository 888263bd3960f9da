//! A run: rounds of requests by several clients at once; after each of them all is held against the truth.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Instant;

use tokio::task::JoinSet;

use crate::acts::Actor;
use crate::chance::Chance;
use crate::model::{Model, Nanos, Roles, marks_in};
use crate::truth::Truth;
use crate::verdict::{Court, Verdict};
use crate::walls::{Source, Walls};
use crate::world::{SPEED, Server};

/// How many clients there are at once.
const CLIENTS: usize = 16;
/// How many requests they make between two judgements.
const ROUND: usize = 1600;
/// So long a push may take at most.
const LONGEST: Nanos = 120_000_000_000 * SPEED;

/// How a run is to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) walls: Walls,
    pub(crate) requests: usize,
    pub(crate) seed: u64,
}

/// What came of it.
pub(crate) struct Report {
    plan: Plan,
    pub(crate) verdict: Verdict,
    rows: usize,
    seconds: f64,
    /// How many rows a statement sees that says nothing of itself, and how many there are.
    pub(crate) seen: Option<(i64, i64)>,
    /// How many rows of others the statements see that say whose they are; there are none in SQLite.
    pub(crate) of_others: i64,
}

impl Plan {
    pub(crate) async fn run(self) -> Report {
        let began = Instant::now();
        let server = Server::start(self.walls).await;
        let (mut truth, mut verdict) = (Truth::default(), Verdict::default());
        let mut actors: Vec<Actor> = (0..CLIENTS)
            .map(|number| self.actor(&server, number))
            .collect();
        actors[0].introduce_everybody().await;
        let mut left = self.requests;
        while left > 0 {
            let round = left.min(ROUND);
            left -= round;
            actors = play(actors, round, &mut verdict).await;
            judge(&server, &mut truth, &mut verdict).await;
            println!(
                "{}: {} of {} requests, {} rows, {} reads and {} writes across, {:.0} s",
                self.walls.name(),
                self.requests - left,
                self.requests,
                truth.rows,
                verdict.reads_across,
                verdict.writes_across,
                began.elapsed().as_secs_f64(),
            );
        }
        for actor in actors {
            actor.end().await;
        }
        judge(&server, &mut truth, &mut verdict).await;
        judge_the_rest(&server, &truth, &mut verdict).await;
        let seen = match &server.built.truth {
            Source::Postgres(database) => Some(database.seen_without_settings().await),
            Source::Sqlite(..) => None,
        };
        let of_others = match &server.built.truth {
            Source::Postgres(database) => database.seen_of_others(&server.world.names).await,
            Source::Sqlite(..) => 0,
        };
        server.stop().await;
        Report {
            plan: self,
            verdict,
            rows: truth.rows,
            seconds: began.elapsed().as_secs_f64(),
            seen,
            of_others,
        }
    }

    fn actor(self, server: &Server, number: usize) -> Actor {
        let part = u64::try_from(number).expect("there are few");
        Actor::new(Arc::clone(&server.world), Chance::of(self.seed, part))
    }
}

/// Has the clients make so many requests, all at once.
async fn play(actors: Vec<Actor>, requests: usize, verdict: &mut Verdict) -> Vec<Actor> {
    let mut playing = JoinSet::new();
    for (number, mut actor) in actors.into_iter().enumerate() {
        let share = (requests + number) / CLIENTS;
        playing.spawn(async move {
            let mut routes = Vec::with_capacity(share);
            for _ in 0..share {
                routes.push(actor.act().await);
            }
            (number, actor, routes)
        });
    }
    let mut done = playing.join_all().await;
    done.sort_unstable_by_key(|(number, ..)| *number);
    let mut actors = Vec::with_capacity(CLIENTS);
    for (_, actor, routes) in done {
        routes.into_iter().for_each(|route| verdict.asked(route));
        actors.push(actor);
    }
    actors
}

/// Judges what was said and written since the last time. What was said first, so that whatever it came from is there.
async fn judge(server: &Server, truth: &mut Truth, verdict: &mut Verdict) {
    let (names, model): (_, &Model) = (&server.world.names, &server.world.model);
    let exchanges = std::mem::take(&mut model.inner().exchanges);
    let rows = truth.follow(&server.built.truth, names).await;
    let mut known = model.inner();
    let court = Court {
        names,
        known: &known,
        truth,
    };
    for exchange in &exchanges {
        court.judge(exchange, verdict);
    }
    for row in &rows {
        court.judge_row(row, verdict);
    }
    known.forget_pushes_before(server.world.now() - LONGEST);
}

/// Judges what is known at the end alone: records, grants, and what is kept aside.
async fn judge_the_rest(server: &Server, truth: &Truth, verdict: &mut Verdict) {
    let names = &server.world.names;
    let source = &server.built.truth;
    let (strays, parked) = source.strays().await;
    let grants: Vec<(String, String, Roles)> = source.grants().await;
    let business = source.business().await;
    let known = server.world.model.inner();
    let court = Court {
        names,
        known: &known,
        truth,
    };
    court.judge_grants(&grants, verdict);
    for scope in strays {
        verdict.writes_across += 1;
        let fault = format!("a record of {scope:?} has rows of another scope");
        verdict.faults.push(fault);
    }
    for (user, title) in business {
        verdict.written += 1;
        let is_own = |number: usize| {
            let mark = known.marks.get(number);
            mark.is_some_and(|mark| names.users[usize::from(mark.author)] == user)
        };
        if !marks_in(&title).into_iter().all(is_own) {
            verdict.writes_across += 1;
            let fault = format!("in the business row of {user:?}: {title}");
            verdict.faults.push(fault);
        }
    }
    for (user, raw) in parked {
        verdict.written += 1;
        let is_own = |number: usize| {
            let mark = known.marks.get(number);
            mark.is_some_and(|mark| names.users[usize::from(mark.author)] == user)
        };
        if !marks_in(&raw).into_iter().all(is_own) {
            verdict.writes_across += 1;
            verdict
                .faults
                .push(format!("kept aside for {user:?}: {raw}"));
        }
    }
}

impl Report {
    /// Whether nothing came through.
    pub(crate) fn is_tight(&self) -> bool {
        self.verdict.reads_across + self.verdict.writes_across == 0
            && self.verdict.faults.is_empty()
    }

    /// The table, and what came through.
    pub(crate) fn text(&self) -> String {
        let (verdict, mut text) = (&self.verdict, String::new());
        let title = format!("{}, seed {}", self.plan.walls.name(), self.plan.seed);
        let _ = writeln!(text, "\n{title}: {:.1} s", self.seconds);
        let _ = writeln!(
            text,
            "  {:<46} {:>9}  answers",
            "requests", self.plan.requests
        );
        for (route, count) in &verdict.requests {
            let statuses = verdict.statuses.iter();
            let own = statuses.filter(|((of, _), _)| of == route);
            let own: Vec<_> = own
                .map(|((_, status), count)| format!("{status}: {count}"))
                .collect();
            let _ = writeln!(
                text,
                "  {:<46} {count:>9}  {}",
                route.name(),
                own.join(", ")
            );
        }
        for (name, count) in [
            ("rows of the log", self.rows),
            ("changes and notices read", verdict.read),
            ("  of which traced to their rows", verdict.traced),
            ("values traced to who wrote them", verdict.values),
            ("rows held against their authors' grants", verdict.written),
            ("reads across", verdict.reads_across),
            ("writes across", verdict.writes_across),
        ] {
            let _ = writeln!(text, "  {name:<46} {count:>9}");
        }
        if let Some((seen, all)) = self.seen {
            let name = "rows a statement sees that names no user";
            let _ = writeln!(text, "  {name:<46} {seen:>9}  of {all}");
            let name = "rows of others that statements of users see";
            let _ = writeln!(text, "  {name:<46} {:>9}", self.of_others);
        }
        for fault in &verdict.faults {
            let _ = writeln!(text, "  {fault}");
        }
        text
    }
}
