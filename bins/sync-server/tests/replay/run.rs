//! Replays one story: starts the server, sends the requests in order, compares each answer.

use super::database::Store;
use super::http::{self, Answer};
use super::raw::shortened;
use super::server::{self, Keys, Server};
use super::story::{Exchange, Request, Story, exchanges};
use super::world::World;
use super::{Fault, compare};

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
    let Story {
        needs,
        setup,
        steps,
        ..
    } = Story::load(file)?;
    if !needs.is_empty() {
        return Err(format!("it needs {needs:?}"));
    }
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let database = store.make(folder.path())?;
    let mut world = World::new(&setup);
    let (keys, jwks_url) = if setup
        .unreachable
        .iter()
        .any(|neighbour| neighbour == "keys")
    {
        (Keys::Unreachable, server::no_keys())
    } else {
        (Keys::There, server::serve_keys(world.key_set())?)
    };
    let mut settings = setup.settings;
    settings.insert("DATABASE_URL".to_owned(), database.url.clone());
    settings.insert("JWKS_URL".to_owned(), jwks_url);
    let server = Server::start(folder.path(), &settings, keys)?;
    for exchange in exchanges(steps)? {
        play(&exchange, &server, &mut world).map_err(|fault| {
            format!(
                "step {}: {fault}\n\nthe end of the server's log:\n{}",
                exchange.step,
                server.log()
            )
        })?;
    }
    Ok(())
}

fn play(exchange: &Exchange, server: &Server, world: &mut World) -> Result<(), Fault> {
    let answer = send(&exchange.request, server, world)?;
    let faults = compare::differences(exchange.expected()?.as_ref(), &answer, world);
    if faults.is_empty() {
        return Ok(());
    }
    let Request { method, path, .. } = &exchange.request;
    let body = String::from_utf8_lossy(&answer.body);
    Err(format!(
        "{method} {path}\n  {}\n\nthe answer: {} {:?}\n{}",
        faults.join("\n  "),
        answer.status,
        answer.headers,
        shortened(&body)
    ))
}

fn send(request: &Request, server: &Server, world: &mut World) -> Result<Answer, Fault> {
    let Prepared {
        path,
        headers,
        body,
    } = prepare(request, world)?;
    http::exchange(
        server.address,
        &request.method,
        &path,
        &headers,
        body.as_deref(),
    )
}

/// A request as it goes out.
pub(crate) struct Prepared {
    path: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
}

/// Puts what they stand for in the place of a request's placeholders.
pub(crate) fn prepare(request: &Request, world: &mut World) -> Result<Prepared, Fault> {
    let path = world.resolve_path(&request.path)?;
    let headers = request
        .headers
        .iter()
        .map(|(name, value)| Ok((name.clone(), world.resolve(value)?)));
    let headers = headers.collect::<Result<_, Fault>>()?;
    // A method that may have a body says so when it has none.
    let without = (!matches!(request.method.as_str(), "GET" | "HEAD" | "OPTIONS")).then(Vec::new);
    Ok(Prepared {
        path,
        headers,
        body: body(request, world)?.or(without),
    })
}

fn body(request: &Request, world: &mut World) -> Result<Option<Vec<u8>>, Fault> {
    let text = match request {
        Request {
            body: Some(body), ..
        } => world.resolve(&body.to_string())?,
        Request {
            text: Some(text), ..
        } => world.resolve(text)?,
        Request {
            repeat: Some(repeat),
            ..
        } => repeat.text(),
        Request {
            base64: Some(bytes),
            ..
        } => {
            return openssl::base64::decode_block(bytes)
                .map(Some)
                .map_err(|error| error.to_string());
        }
        _ => return Ok(None),
    };
    Ok(Some(text.into_bytes()))
}
