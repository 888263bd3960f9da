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
use super::step::{By, Close, Outgoing, SocketStep, StreamStep};
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
        let sockets = &mut self.sockets;
        let outcome = match step {
            SocketStep::Connect(exchange) => {
                open(exchange, world, |Prepared { path, headers, .. }| {
                    Socket::open(self.address, &path, &headers)
                })
                .and_then(|socket| sockets.add(name, socket))
            }
            SocketStep::Send(outgoing) => sockets
                .named(name)
                .and_then(|socket| send(socket, outgoing, world)),
            SocketStep::Receive { message, within_ms } => sockets
                .named(name)
                .and_then(|socket| receive(socket, message, *within_ms, world)),
            SocketStep::Silent { ms } => sockets
                .named(name)
                .and_then(|socket| hear_nothing(socket, *ms)),
            SocketStep::Close(told) => sockets
                .take(name)
                .and_then(|socket| close(socket, told, world)),
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

fn hear_nothing(socket: &mut Socket, ms: u64) -> Result<(), Fault> {
    match socket.hear(after(ms))? {
        Heard::Nothing => Ok(()),
        other => Err(format!("expected nothing, got {other:?}")),
    }
}

fn close(mut socket: Socket, told: &Close, world: &mut World) -> Result<(), Fault> {
    if told.by == By::Client {
        return socket.close(told.code);
    }
    let farewell = farewell(&mut socket, after(told.within_ms))?;
    let faults = compare::farewell(told.code, told.reason.as_deref(), &farewell, world);
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

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokio_tungstenite::tungstenite::Message;
    use tokio_tungstenite::tungstenite::protocol::CloseFrame;

    use super::super::scripted::{says, serves_a_socket};
    use super::super::step::{self, Action};
    use super::*;

    const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n: hello\n\n";
    const CURSOR: &str = "2025-02-01T10:00:00.123456789Z";

    /// Plays these steps on the connection "a" of this server.
    fn play(address: SocketAddr, steps: Value) -> Result<(), Fault> {
        let Value::Array(mut steps) = steps else {
            panic!("steps are a list");
        };
        for step in &mut steps {
            step["step"] = json!(1);
            step["connection"] = json!("a");
        }
        let mut connections = Connections::to(address);
        let mut world = World::empty();
        for step in step::read(steps)? {
            match &step.action {
                Action::Stream(name, step) => connections.stream(name, step, &mut world)?,
                Action::Socket(name, step) => connections.socket(name, step, &mut world)?,
                other => panic!("not on a connection: {other:?}"),
            }
        }
        Ok(())
    }

    fn streamed(events: &str, steps: Value) -> Result<(), Fault> {
        let (address, serving) = says(vec![format!("{HEAD}{events}")]);
        let mut all = vec![json!({
            "kind": "sse-open",
            "request": {"path": "/"},
            "response": {"status": 200, "headers": {"content-type": "text/event-stream"}},
        })];
        all.extend(steps.as_array().unwrap().iter().cloned());
        let outcome = play(address, Value::Array(all));
        serving.join().unwrap();
        outcome
    }

    fn event(table: &str, id: Option<&str>) -> String {
        let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
        format!(
            "event: changes\ndata: {{\"table\":\"{table}\",\"syncedUntil\":\"{CURSOR}\"}}\n{id}\n"
        )
    }

    fn expects(table: &str, id: Option<&str>) -> Value {
        let data = json!({"table": table, "syncedUntil": "{{cursor:1}}"});
        let mut step = json!({"kind": "sse-event", "event": "changes", "data": data});
        if let Some(id) = id {
            step["id"] = json!(id);
        }
        step
    }

    #[test]
    fn a_page_comes_in_any_order_and_the_next_one_behind_it() {
        let id = Some("{{cursor:1}}");
        let steps = json!([expects("a", None), expects("b", id), expects("a", id)]);
        let (a, b) = (event("a", None), event("b", Some(CURSOR)));
        let next = event("a", Some(CURSOR));
        assert_eq!(streamed(&format!("{a}{b}{next}"), steps.clone()), Ok(()));
        let (b, a) = (event("b", None), event("a", Some(CURSOR)));
        assert_eq!(streamed(&format!("{b}{a}{next}"), steps.clone()), Ok(()));
        assert!(streamed(&format!("{a}{b}{next}"), steps).is_err());
    }

    #[test]
    fn an_event_breaks_the_silence_and_so_does_the_end() {
        let silent = json!([{"kind": "sse-silent", "ms": 1}]);
        let fault = streamed(&event("a", None), silent.clone()).unwrap_err();
        assert!(fault.starts_with(r#"stream "a": expected no event, got Event"#));
        let soon = json!([{"kind": "sse-silent", "ms": 2000}]);
        assert!(streamed(": still here\n\n", soon).is_err());
    }

    #[test]
    fn a_connection_that_is_not_open_is_a_fault() {
        let (address, serving) = says(vec![format!("{HEAD}")]);
        let steps = json!([
            {"kind": "sse-open", "request": {"path": "/"}, "response": {"status": 200}},
            {"kind": "sse-close"},
            {"kind": "sse-silent", "ms": 1},
        ]);
        assert_eq!(
            play(address, steps),
            Err(r#"stream "a": it is not open"#.to_owned())
        );
        serving.join().unwrap();
    }

    #[test]
    fn a_refusal_where_a_stream_is_expected_is_told_with_its_body() {
        let (address, serving) = says(vec![
            "HTTP/1.1 402 No\r\ncontent-length: 3\r\n\r\nwhy".to_owned(),
        ]);
        let open =
            json!([{"kind": "sse-open", "request": {"path": "/x"}, "response": {"status": 200}}]);
        let fault = play(address, open).unwrap_err();
        serving.join().unwrap();
        assert!(
            fault.contains("GET /x\n  status: expected 200, got 402"),
            "{fault}"
        );
        assert!(fault.ends_with("why"), "{fault}");
    }

    #[test]
    fn a_socket_is_talked_with_until_the_server_closes_it() {
        let (address, serving) = serves_a_socket(|mut server| {
            let heard = [(); 2].map(|()| server.read().unwrap());
            for text in [r#"{"type":"pong"}"#, r#"{"type":"error"}"#] {
                server.send(Message::text(text)).unwrap();
            }
            let frame = CloseFrame {
                code: 1008.into(),
                reason: "late".into(),
            };
            server.close(Some(frame)).unwrap();
            while server.read().is_ok() {}
            heard
        });
        let steps = json!([
            {"kind": "ws-connect", "request": {"path": "/ws"}, "response": {"status": 101}},
            {"kind": "ws-silent", "ms": 1},
            {"kind": "ws-send", "message": {"type": "ping"}},
            {"kind": "ws-send", "base64": "AQI="},
            {"kind": "ws-receive", "message": {"type": "pong"}},
            {"kind": "ws-close", "by": "server", "code": 1008, "reason": "{{text}}"},
        ]);
        assert_eq!(play(address, steps), Ok(()));
        assert_eq!(
            serving.join().unwrap(),
            [
                Message::text(r#"{"type":"ping"}"#),
                Message::binary(vec![1, 2])
            ]
        );
    }

    #[test]
    fn a_message_where_a_close_is_expected_is_a_fault() {
        let (address, serving) = serves_a_socket(|mut server| {
            server.send(Message::text(r#"{"type":"pong"}"#)).unwrap();
            while server.read().is_ok() {}
        });
        let steps = json!([
            {"kind": "ws-connect", "request": {"path": "/ws"}, "response": {"status": 101}},
            {"kind": "ws-close", "by": "server", "code": 1008},
        ]);
        let fault = play(address, steps).unwrap_err();
        assert!(
            fault.starts_with(r#"socket "a": expected a close, got Message"#),
            "{fault}"
        );
        serving.join().unwrap();
    }
}
