//! The steps of a story, each kind with what it says.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::neighbours::Told;
use super::page::{ExpectedEvent, Page};
use super::prepare::Content;
use super::story::{Exchange, Repeat};
use super::{Fault, moment_ms};

/// A step that does something.
#[derive(Debug)]
pub(crate) struct Step {
    /// Its number in the story.
    pub(crate) number: u64,
    /// What it does.
    pub(crate) action: Action,
}

/// What a step does.
#[derive(Debug)]
pub(crate) enum Action {
    /// Sends a request and compares the answer.
    Exchange(Exchange),
    /// Waits so many milliseconds.
    Wait(u64),
    /// Has the neighbours say something else.
    Setup(Told),
    /// Does something with the stream of this name.
    Stream(String, StreamStep),
    /// Does something with the socket of this name.
    Socket(String, SocketStep),
}

/// What a step does with a stream of events.
#[derive(Debug)]
pub(crate) enum StreamStep {
    /// Opens it.
    Open(Box<Exchange>),
    /// Expects these events next, in any order.
    Page(Page),
    /// Expects no event for so many milliseconds.
    Silent(u64),
    /// Goes away.
    Close,
}

/// What a step does with a socket.
#[derive(Debug, Deserialize)]
#[serde(tag = "kind", deny_unknown_fields)]
pub(crate) enum SocketStep {
    /// Opens it.
    #[serde(rename = "ws-connect")]
    Connect(Exchange),
    /// Sends a message.
    #[serde(rename = "ws-send")]
    Send(Outgoing),
    /// Expects this message next.
    #[serde(rename = "ws-receive")]
    Receive {
        /// JSON.
        message: Value,
        /// How long it may take to come.
        #[serde(default = "moment_ms")]
        within_ms: u64,
    },
    /// Expects nothing.
    #[serde(rename = "ws-silent")]
    Silent {
        /// For so many milliseconds.
        ms: u64,
    },
    /// Closes it, or expects the server to do so.
    #[serde(rename = "ws-close")]
    Close(Close),
}

/// The end of a socket.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Close {
    /// Who closes it.
    pub(crate) by: By,
    /// With this code.
    pub(crate) code: u16,
    /// And this reason; any if there is none.
    pub(crate) reason: Option<String>,
    /// How long the server may take.
    #[serde(default = "moment_ms")]
    pub(crate) within_ms: u64,
}

/// Who closes a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum By {
    /// The replay.
    Client,
    /// The server under test.
    Server,
}

/// A message to the server, of one of the four kinds.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Outgoing {
    message: Option<Value>,
    text: Option<String>,
    repeat: Option<Repeat>,
    base64: Option<String>,
}

#[derive(Deserialize)]
#[serde(tag = "kind", deny_unknown_fields)]
enum ToldOfStream {
    #[serde(rename = "sse-open")]
    Open(Box<Exchange>),
    #[serde(rename = "sse-event")]
    Event(ExpectedEvent),
    #[serde(rename = "sse-events")]
    Events { events: Vec<ExpectedEvent> },
    #[serde(rename = "sse-silent")]
    Silent { ms: u64 },
    #[serde(rename = "sse-close")]
    Close {},
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wait {
    ms: u64,
}

impl Outgoing {
    /// What is sent; `None` if the step does not say.
    pub(crate) fn content(&self) -> Option<Content<'_>> {
        let json = self.message.as_ref().map(Content::Json);
        json.or(self.text.as_deref().map(Content::Text))
            .or(self.repeat.as_ref().map(Content::Repeat))
            .or(self.base64.as_deref().map(Content::Base64))
    }
}

/// The steps that do something. Events that follow each other directly on a stream are one step as far as they may come in
/// any order.
pub(crate) fn read(steps: Vec<Value>) -> Result<Vec<Step>, Fault> {
    let mut read: Vec<Step> = Vec::new();
    for step in steps {
        if step["kind"] == "skip" {
            continue;
        }
        let number = step["step"].as_u64().ok_or("a step without a number")?;
        let action = action(step).map_err(|fault| format!("step {number}: {fault}"))?;
        let action = match read.last_mut() {
            Some(before) => before.action.joined_by(action),
            None => Some(action),
        };
        read.extend(action.map(|action| Step { number, action }));
    }
    Ok(read)
}

impl Action {
    /// Takes in what the next step does, or gives it back.
    fn joined_by(&mut self, next: Self) -> Option<Self> {
        match (self, next) {
            (
                Self::Stream(name, StreamStep::Page(page)),
                Self::Stream(other, StreamStep::Page(next)),
            ) if *name == other => {
                let apart = page.join(next).err()?;
                Some(Self::Stream(other, StreamStep::Page(apart)))
            }
            (_, next) => Some(next),
        }
    }
}

fn action(mut step: Value) -> Result<Action, Fault> {
    let members = step.as_object_mut().ok_or("it is no object")?;
    members.remove("step");
    members.remove("note");
    // The streams of the old service open late, ours do not.
    members.remove("late");
    let connection = members.remove("connection");
    let connection = connection.and_then(|name| name.as_str().map(str::to_owned));
    let kind = members.get("kind").and_then(Value::as_str);
    let kind = kind.ok_or("it is of no kind")?.to_owned();
    match (kind.split('-').next(), connection) {
        (Some("sse"), Some(name)) => Ok(Action::Stream(name, stream_step(parsed(step)?)?)),
        (Some("ws"), Some(name)) => Ok(Action::Socket(name, parsed(step)?)),
        (Some("sse" | "ws"), None) => Err("its connection has no name".to_owned()),
        _ => {
            members.remove("kind");
            match kind.as_str() {
                "http" => parsed(step).map(Action::Exchange),
                "setup" => parsed(step).map(Action::Setup),
                "wait" => parsed(step).map(|Wait { ms }| Action::Wait(ms)),
                _ => Err(format!("a step of kind {kind:?} cannot be replayed yet")),
            }
        }
    }
}

fn stream_step(told: ToldOfStream) -> Result<StreamStep, Fault> {
    Ok(match told {
        ToldOfStream::Open(exchange) => StreamStep::Open(exchange),
        ToldOfStream::Event(event) => StreamStep::Page(Page::new(vec![event])?),
        ToldOfStream::Events { events } => StreamStep::Page(Page::new(events)?),
        ToldOfStream::Silent { ms } => StreamStep::Silent(ms),
        ToldOfStream::Close {} => StreamStep::Close,
    })
}

fn parsed<T: DeserializeOwned>(step: Value) -> Result<T, Fault> {
    serde_json::from_value(step).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn one(step: Value) -> Result<Action, Fault> {
        read(vec![step]).map(|mut steps| steps.remove(0).action)
    }

    fn event(connection: &str, table: &str, id: Option<&str>) -> Value {
        let mut step = json!({
            "step": 1, "kind": "sse-event", "connection": connection, "event": "changes", "data": {"table": table},
        });
        if let Some(id) = id {
            step["id"] = json!(id);
        }
        step
    }

    fn pages(steps: Vec<Value>) -> Vec<usize> {
        let steps = read(steps).unwrap().into_iter();
        let pages = steps.map(|step| match step.action {
            Action::Stream(_, StreamStep::Page(page)) => page.events().len(),
            _ => 0,
        });
        pages.collect()
    }

    #[test]
    fn every_kind_says_what_it_needs_and_nothing_else() {
        let exchange = json!({"request": {"path": "/"}, "response": {"status": 200}});
        let with = |more: Value| {
            let mut step = exchange.clone();
            for (name, value) in more.as_object().unwrap() {
                step[name] = value.clone();
            }
            step["step"] = json!(1);
            step
        };
        for step in [
            with(json!({"kind": "http", "note": "…"})),
            with(json!({"kind": "sse-open", "connection": "a", "late": true})),
            with(json!({"kind": "ws-connect", "connection": "a"})),
            json!({"step": 1, "kind": "wait", "ms": 5}),
            json!({"step": 1, "kind": "sse-silent", "connection": "a", "ms": 5}),
            json!({"step": 1, "kind": "sse-close", "connection": "a"}),
            json!({"step": 1, "kind": "ws-send", "connection": "a", "message": {}}),
            json!({"step": 1, "kind": "ws-receive", "connection": "a", "message": {}}),
            json!({"step": 1, "kind": "ws-silent", "connection": "a", "ms": 5}),
            json!({"step": 1, "kind": "ws-close", "connection": "a", "by": "client", "code": 1000}),
        ] {
            assert!(one(step.clone()).is_ok(), "{step}");
            let mut typo = step.clone();
            typo["typo"] = json!(1);
            assert!(one(typo.clone()).is_err(), "{typo}");
            if step["connection"] == "a" {
                let mut nameless = step;
                nameless.as_object_mut().unwrap().remove("connection");
                assert!(one(nameless.clone()).is_err(), "{nameless}");
            }
        }
    }

    #[test]
    fn a_step_of_another_kind_is_a_fault() {
        let steps = vec![
            json!({"step": 1, "kind": "skip"}),
            json!({"step": 2, "kind": "page"}),
        ];
        let fault = read(steps).unwrap_err();
        assert_eq!(
            fault,
            r#"step 2: a step of kind "page" cannot be replayed yet"#
        );
        assert!(one(json!({"step": 1, "kind": "ws-typo", "connection": "a"})).is_err());
    }

    #[test]
    fn events_of_different_tables_on_one_stream_are_one_page() {
        let page = vec![event("s", "a", None), event("s", "b", Some("{{cursor}}"))];
        assert_eq!(pages(page), [2]);
        let apart = json!({"step": 1, "kind": "sse-silent", "connection": "s", "ms": 5});
        for (steps, sizes) in [
            (
                vec![event("s", "a", None), event("t", "b", None)],
                vec![1, 1],
            ),
            (
                vec![event("s", "a", None), event("s", "a", None)],
                vec![1, 1],
            ),
            (
                vec![event("s", "a", Some("{{cursor}}")), event("s", "b", None)],
                vec![1, 1],
            ),
            (
                vec![event("s", "a", None), apart, event("s", "b", None)],
                vec![1, 0, 1],
            ),
        ] {
            assert_eq!(pages(steps.clone()), sizes, "{steps:?}");
        }
    }
}
