//! Replays one story: starts the server, plays the steps in order, compares what comes back.

use std::time::{Duration, Instant};

use super::database::Store;
use super::http::{self, Answer};
use super::live::Connections;
use super::neighbours::Neighbours;
use super::prepare::{Prepared, prepare};
use super::raw::shortened;
use super::server::{self, Keys, Server};
use super::step::{self, Action, Step};
use super::story::{Exchange, Request, Setup, Story};
use super::world::World;
use super::{Fault, MOMENT, compare};

/// How long to wait before the counts of health are asked for again.
const PAUSE: Duration = Duration::from_millis(20);

/// Replays the story of this file against a new server on a new database of this store.
///
/// # Panics
///
/// When an answer is not as the story says.
pub(crate) fn replay(file: &str, store: Store) {
    if let Err(fault) = try_to_replay(file, store) {
        panic!("{file} on {store:?}: {fault}");
    }
}

fn try_to_replay(file: &str, store: Store) -> Result<(), Fault> {
    let story = Story::load(file)?;
    if !story.can_be_replayed() {
        return Err(format!("it needs {:?}", story.needs));
    }
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let database = store.make(folder.path())?;
    let mut world = World::new(&story.setup);
    let setup = &story.setup;
    let neighbours = Neighbours::start()?;
    neighbours.tell(&setup.neighbours, &setup.users, &mut world)?;
    let server = start(setup, &neighbours, folder.path(), &database.url, &world)?;
    let mut stage = Stage {
        connections: Connections::to(server.address),
        server,
        neighbours,
        users: setup.users.clone(),
        world,
    };
    for step in step::read(story.steps)? {
        stage.play(&step).map_err(|fault| {
            format!(
                "step {}: {fault}\n\nthe end of the server's log:\n{}",
                step.number,
                stage.server.log()
            )
        })?;
    }
    Ok(())
}

/// What a story is played with.
struct Stage {
    connections: Connections,
    server: Server,
    neighbours: Neighbours,
    users: Vec<String>,
    world: World,
}

fn start(
    setup: &Setup,
    neighbours: &Neighbours,
    folder: &std::path::Path,
    database_url: &str,
    world: &World,
) -> Result<Server, Fault> {
    let (keys, jwks_url) = if setup
        .unreachable
        .iter()
        .any(|neighbour| neighbour == "keys")
    {
        (Keys::Unreachable, server::no_keys())
    } else {
        (Keys::There, server::serve_keys(world.key_set())?)
    };
    let mut settings = setup.settings.clone();
    settings.extend(neighbours.settings(&setup.unreachable));
    settings.insert("DATABASE_URL".to_owned(), database_url.to_owned());
    settings.insert("JWKS_URL".to_owned(), jwks_url);
    Server::start(folder, &settings, keys)
}

impl Stage {
    fn play(&mut self, step: &Step) -> Result<(), Fault> {
        let Self {
            connections, world, ..
        } = self;
        match &step.action {
            Action::Exchange(exchange) => exchange_in_time(exchange, &self.server, world),
            Action::Wait(ms) => {
                std::thread::sleep(Duration::from_millis(*ms));
                Ok(())
            }
            Action::Setup(told) => self.neighbours.tell(told, &self.users, world),
            Action::Stream(name, step) => connections.stream(name, step, world),
            Action::Socket(name, step) => connections.socket(name, step, world),
        }
    }
}

/// The counts of health follow what they count within moments; every other answer is right at once.
fn exchange_in_time(exchange: &Exchange, server: &Server, world: &mut World) -> Result<(), Fault> {
    let until = Instant::now() + MOMENT;
    loop {
        let outcome = exchange_once(exchange, server, world);
        if outcome.is_ok() || exchange.request.path != "/health" || Instant::now() >= until {
            return outcome;
        }
        std::thread::sleep(PAUSE);
    }
}

fn exchange_once(exchange: &Exchange, server: &Server, world: &mut World) -> Result<(), Fault> {
    let request = &exchange.request;
    let Prepared {
        path,
        headers,
        body,
    } = prepare(request, world)?;
    let answer = http::exchange(
        server.address,
        &request.method,
        &path,
        &headers,
        body.as_deref(),
    )?;
    let faults = compare::differences(exchange.expected()?.as_ref(), &answer, world);
    answer.held_against(request, faults)
}

impl Answer {
    /// Tells what is wrong with the answer to this request, if anything is.
    pub(crate) fn held_against(&self, request: &Request, faults: Vec<Fault>) -> Result<(), Fault> {
        if faults.is_empty() {
            return Ok(());
        }
        let Request { method, path, .. } = request;
        let body = String::from_utf8_lossy(&self.body);
        Err(format!(
            "{method} {path}\n  {}\n\nthe answer: {} {:?}\n{}",
            faults.join("\n  "),
            self.status,
            self.headers,
            shortened(&body)
        ))
    }
}
