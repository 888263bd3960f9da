//! Plays the steps of streams and sockets, each on the connection of its name.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::event_stream::EventStream;
use super::http::Answer;
use super::page::Page;
use super::prepare::{Content, Prepared, prepare};
use super::raw::shortened;
use super::socket::{Farewell, Heard, Socket};
use super::step::{By, Outgoing, SocketStep, StreamStep};
use super::story::Exchange;
use super::world::World;
use super::{Fault, compare};

/// The open connections of a replay.
pub(crate) struct Connections {
    address: SocketAddr,
    streams: Named<EventStream>,
    sockets: Named<Socket>,
}

/// Connections by their names in the story.
struct Named<T>(BTreeMap<String, T>);

impl Connections {
    /// None yet, all of them to this server.
    pub(crate) fn to(address: SocketAddr) -> Self {
        Self {
            address,
            streams: Named(BTreeMap::new()),
            sockets: Named(BTreeMap::new()),
        }
    }

    /// Plays a step of the stream of this name.
    pub(crate) fn stream(
        &mut self,
        name: &str,
        step: &StreamStep,
        world: &mut World,
    ) -> Result<(), Fault> {
        let outcome = match step {
            StreamStep::Open(exchange) => {
                open(exchange, world, |Prepared { path, headers, .. }| {
                    EventStream::open(self.address, &path, &headers)
                })
                .and_then(|stream| self.streams.add(name, stream))
            }
            StreamStep::Page(page) => self
                .streams
                .named(name)
                .and_then(|stream| receive_page(stream, page, world)),
            StreamStep::Silent(ms) => self
                .streams
                .named(name)
                .and_then(|stream| hear_no_event(stream, *ms)),
            StreamStep::Close => self.streams.take(name).map(drop),
        };
        outcome.map_err(|fault| format!("stream {name:?}: {fault}"))
    }

    /// Plays a step of the socket of this name.
    pub(crate) fn socket(
        &mut self,
        name: &str,
        step: &SocketStep,
        world: &mut World,
    ) -> Result<(), Fault> {
        let outcome = match step {
            SocketStep::Connect(exchange) => {
                open(exchange, world, |Prepared { path, headers, .. }| {
                    Socket::open(self.address, &path, &headers)
                })
                .and_then(|socket| self.sockets.add(name, socket))
            }
            SocketStep::Close { .. } => self
                .sockets
                .take(name)
                .and_then(|socket| close(socket, step, world)),
            _ => self
                .sockets
                .named(name)
                .and_then(|socket| talk(socket, step, world)),
        };
        outcome.map_err(|fault| format!("socket {name:?}: {fault}"))
    }
}

impl<T> Named<T> {
    /// Keeps a connection, if it was not refused.
    fn add(&mut self, name: &str, connection: Option<T>) -> Result<(), Fault> {
        match connection.map(|connection| self.0.insert(name.to_owned(), connection)) {
            Some(Some(_)) => Err("it was open already".to_owned()),
            _ => Ok(()),
        }
    }

    fn named(&mut self, name: &str) -> Result<&mut T, Fault> {
        self.0.get_mut(name).ok_or("it is not open".to_owned())
    }

    fn take(&mut self, name: &str) -> Result<T, Fault> {
        self.0.remove(name).ok_or("it is not open".to_owned())
    }
}

fn open<T>(
    exchange: &Exchange,
    world: &mut World,
    open: impl FnOnce(Prepared) -> Result<(Answer, Option<T>), Fault>,
) -> Result<Option<T>, Fault> {
    let (answer, connection) = open(prepare(&exchange.request, world)?)?;
    let faults = compare::differences(exchange.expected()?.as_ref(), &answer, world);
    answer.held_against(&exchange.request, faults)?;
    Ok(connection)
}

fn receive_page(stream: &mut EventStream, page: &Page, world: &mut World) -> Result<(), Fault> {
    let mut page = page.clone();
    while let Some(expected) = page.events().first() {
        let within_ms = page.within_ms();
        let Some(event) = stream.event(after(within_ms))? else {
            let (name, data) = (&expected.event, expected.data.to_string());
            let data = shortened(&data);
            return Err(format!(
                "no event within {within_ms} ms; expected {name:?} {data}"
            ));
        };
        let got = format!("{:?} {}", event.name, shortened(&event.data));
        none(page.take(&event, world), &got)?;
    }
    Ok(())
}

fn hear_no_event(stream: &mut EventStream, ms: u64) -> Result<(), Fault> {
    match stream.event(after(ms))? {
        None => Ok(()),
        Some(event) => Err(format!("expected no event, got {event:?}")),
    }
}

fn talk(socket: &mut Socket, step: &SocketStep, world: &mut World) -> Result<(), Fault> {
    match step {
        SocketStep::Send(outgoing) => send(socket, outgoing, world),
        SocketStep::Receive { message, within_ms } => receive(socket, message, *within_ms, world),
        SocketStep::Silent { ms } => match socket.hear(after(*ms))? {
            Heard::Nothing => Ok(()),
            other => Err(format!("expected nothing, got {other:?}")),
        },
        SocketStep::Connect(_) | SocketStep::Close { .. } => Err("this is no talk".to_owned()),
    }
}

fn send(socket: &mut Socket, outgoing: &Outgoing, world: &mut World) -> Result<(), Fault> {
    let content = outgoing.content().ok_or("there is nothing to send")?;
    let bytes = content.bytes(world)?;
    if let Content::Base64(_) = content {
        return socket.send_binary(bytes);
    }
    let text = String::from_utf8(bytes).map_err(|error| error.to_string())?;
    socket.send_text(text)
}

fn receive(
    socket: &mut Socket,
    expected: &Value,
    within_ms: u64,
    world: &mut World,
) -> Result<(), Fault> {
    match socket.hear(after(within_ms))? {
        Heard::Message(text) => none(compare::message(expected, &text, world), &text),
        other => Err(format!(
            "expected {expected} within {within_ms} ms, got {other:?}"
        )),
    }
}

fn close(mut socket: Socket, step: &SocketStep, world: &mut World) -> Result<(), Fault> {
    let SocketStep::Close {
        by,
        code,
        reason,
        within_ms,
    } = step
    else {
        return Err("this is no close".to_owned());
    };
    if *by == By::Client {
        return socket.close(*code);
    }
    let farewell = farewell(&mut socket, after(*within_ms))?;
    let faults = compare::farewell(*code, reason.as_deref(), &farewell, world);
    none(faults, &format!("{farewell:?}"))?;
    socket.end()
}

/// What the server closes with; errors that it tells before are passed over.
fn farewell(socket: &mut Socket, until: Instant) -> Result<Farewell, Fault> {
    loop {
        match socket.hear(until)? {
            Heard::Farewell(farewell) => return Ok(farewell),
            Heard::Message(text) if is_error(&text) => {}
            other => return Err(format!("expected a close, got {other:?}")),
        }
    }
}

fn is_error(message: &str) -> bool {
    serde_json::from_str::<Value>(message).is_ok_and(|message| message["type"] == "error")
}

fn after(ms: u64) -> Instant {
    Instant::now() + Duration::from_millis(ms)
}

fn none(faults: Vec<Fault>, got: &str) -> Result<(), Fault> {
    if faults.is_empty() {
        Ok(())
    } else {
        Err(format!("{}\n\ngot: {got}", faults.join("\n  ")))
    }
}
