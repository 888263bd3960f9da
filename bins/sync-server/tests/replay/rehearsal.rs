//! Plays a story without a server, with answers made of the story's own expectations: tells whether a file makes sense,
//! and whether the comparison would notice a wrong answer.

use std::collections::BTreeSet;

use serde_json::Value;

use super::event_stream::{Block, Event, block_of};
use super::http::Answer;
use super::page::Page;
use super::prepare::prepare;
use super::socket::Farewell;
use super::step::{self, Action, By, Close, SocketStep, StreamStep};
use super::story::{Exchange, Expected, Story, Verbatim};
use super::world::World;
use super::{Fault, compare};

/// Plays the story of this file, whose answers must all fit, and would not if they were a little different.
pub(crate) fn rehearse(file: &str) -> Result<(), Fault> {
    let story = Story::load(file)?;
    let mut rehearsal = Rehearsal {
        world: World::new(&story.setup),
        streams: BTreeSet::new(),
        sockets: BTreeSet::new(),
    };
    let steps = step::read(story.steps).map_err(|fault| format!("{file}, {fault}"))?;
    for step in steps {
        rehearsal
            .step(&step.action)
            .map_err(|fault| format!("{file}, step {}: {fault}", step.number))?;
    }
    Ok(())
}

struct Rehearsal {
    world: World,
    /// The names of those that are open.
    streams: BTreeSet<String>,
    sockets: BTreeSet<String>,
}

impl Rehearsal {
    fn step(&mut self, action: &Action) -> Result<(), Fault> {
        match action {
            Action::Exchange(exchange) => self.exchange(exchange).map(drop),
            Action::Wait(_) | Action::Setup(_) => Ok(()),
            Action::Stream(name, step) => self.stream(name, step),
            Action::Socket(name, step) => self.socket(name, step),
        }
    }

    fn stream(&mut self, name: &str, step: &StreamStep) -> Result<(), Fault> {
        if let StreamStep::Open(exchange) = step {
            let opens = self.exchange(exchange)? == Some(200);
            return opened(&mut self.streams, name, opens);
        }
        is_open(&self.streams, name)?;
        match step {
            StreamStep::Page(page) => self.page(page)?,
            StreamStep::Close => {
                self.streams.remove(name);
            }
            StreamStep::Open(_) | StreamStep::Silent(_) => {}
        }
        Ok(())
    }

    fn socket(&mut self, name: &str, step: &SocketStep) -> Result<(), Fault> {
        if let SocketStep::Connect(exchange) = step {
            let opens = self.exchange(exchange)? == Some(101);
            return opened(&mut self.sockets, name, opens);
        }
        is_open(&self.sockets, name)?;
        match step {
            SocketStep::Send(outgoing) => {
                let content = outgoing.content().ok_or("there is nothing to send")?;
                content.bytes(&mut self.world)?;
            }
            SocketStep::Receive { message, .. } => self.message(message)?,
            SocketStep::Close(Close {
                by, code, reason, ..
            }) => {
                if *by == By::Server {
                    self.farewell(*code, reason.as_deref())?;
                }
                self.sockets.remove(name);
            }
            SocketStep::Connect(_) | SocketStep::Silent { .. } => {}
        }
        Ok(())
    }

    /// Gives the status that is expected, if one is.
    fn exchange(&mut self, exchange: &Exchange) -> Result<Option<u16>, Fault> {
        let world = &mut self.world;
        prepare(&exchange.request, world)?;
        let Some(expected) = exchange.expected()? else {
            return Ok(None);
        };
        let mut answer = made_of(&expected, world);
        let status = answer.status;
        fits(compare::differences(Some(&expected), &answer, world))?;
        if expected.body.is_some() {
            let body = String::from_utf8_lossy(&answer.body).into_owned();
            answer.body = with_one_more(&body).into_bytes();
        } else {
            answer.status += 500;
        }
        fits_not(compare::differences(Some(&expected), &answer, world))?;
        Ok(Some(status))
    }

    /// Its events fit in this order and in the opposite one, with the id at the last to come and nowhere else.
    fn page(&mut self, page: &Page) -> Result<(), Fault> {
        for backwards in [false, true] {
            let mut rest = page.clone();
            while let Some(last) = rest.events().len().checked_sub(1) {
                let event = self.event(&rest, if backwards { last } else { 0 })?;
                self.other_events_do_not_fit(&rest, &event)?;
                fits(rest.take(&event, &mut self.world))?;
            }
        }
        Ok(())
    }

    /// One of the events of a page, as it would come next.
    fn event(&mut self, rest: &Page, place: usize) -> Result<Event, Fault> {
        let expected = &rest.events()[place];
        let data = json("", &expected.data, &[], &mut self.world);
        let mut block = format!("event: {}\ndata: {data}", expected.event);
        if let ([_], Some(id)) = (rest.events(), &expected.id) {
            block.push_str(&format!("\nid: {}", text(id, &mut self.world)));
        }
        match block_of(block.as_bytes())? {
            Block::Event(event) => Ok(event),
            Block::Comment => Err("the event is a comment".to_owned()),
        }
    }

    fn other_events_do_not_fit(&mut self, rest: &Page, event: &Event) -> Result<(), Fault> {
        let world = &mut self.world;
        let mut other = event.clone();
        other.data = with_one_more(&event.data);
        fits_not(rest.clone().take(&other, world))?;
        let mut other = event.clone();
        other.id = match event.id {
            Some(_) => None,
            None => Some("any".to_owned()),
        };
        fits_not(rest.clone().take(&other, world))
    }

    fn message(&mut self, expected: &Value) -> Result<(), Fault> {
        let world = &mut self.world;
        let message = json("", expected, &[], world);
        fits(compare::message(expected, &message, world))?;
        fits_not(compare::message(expected, &with_one_more(&message), world))
    }

    fn farewell(&mut self, code: u16, reason: Option<&str>) -> Result<(), Fault> {
        let world = &mut self.world;
        let mut farewell = Farewell {
            code: Some(code),
            reason: reason.map_or_else(String::new, |reason| text(reason, world)),
        };
        fits(compare::farewell(code, reason, &farewell, world))?;
        farewell.code = Some(code + 1);
        fits_not(compare::farewell(code, reason, &farewell, world))
    }
}

fn opened(names: &mut BTreeSet<String>, name: &str, opens: bool) -> Result<(), Fault> {
    if opens && !names.insert(name.to_owned()) {
        return Err(format!("{name:?} is open already"));
    }
    Ok(())
}

fn is_open(names: &BTreeSet<String>, name: &str) -> Result<(), Fault> {
    if names.contains(name) {
        Ok(())
    } else {
        Err(format!("{name:?} is not open"))
    }
}

fn fits(faults: Vec<Fault>) -> Result<(), Fault> {
    if faults.is_empty() {
        Ok(())
    } else {
        Err(format!("what it expects does not fit: {faults:?}"))
    }
}

fn fits_not(faults: Vec<Fault>) -> Result<(), Fault> {
    if faults.len() == 1 {
        Ok(())
    } else {
        Err(format!("something else fits, too: {faults:?}"))
    }
}

/// The same object with one more member.
fn with_one_more(object: &str) -> String {
    let rest = object.strip_prefix('{').unwrap_or(object);
    let comma = if rest.starts_with('}') { "" } else { "," };
    format!("{{\"and\":1{comma}{rest}")
}

/// An answer that fits.
fn made_of(expected: &Expected, world: &mut World) -> Answer {
    let headers = expected.headers.iter().filter_map(|(name, value)| {
        let value = text(value.as_ref()?, world);
        Some((name.clone(), value))
    });
    let headers = headers.collect();
    let body = match (&expected.body, &expected.text) {
        (Some(body), _) => json("", body, &expected.verbatim, world),
        (None, Some(body)) => text(body, world),
        (None, None) => expected.lines.join("\n"),
    };
    let status = expected
        .status
        .as_u64()
        .and_then(|status| u16::try_from(status).ok())
        .unwrap_or(200);
    Answer {
        status,
        headers,
        body: body.into_bytes(),
    }
}

fn json(at: &str, value: &Value, verbatim: &[Verbatim], world: &mut World) -> String {
    if let Some(exact) = verbatim.iter().find(|verbatim| verbatim.at == at) {
        return exact.text.clone();
    }
    match value {
        Value::String(string) => Value::from(text(string, world)).to_string(),
        Value::Array(items) => {
            let items = items.iter().enumerate();
            let items: Vec<_> = items
                .map(|(place, item)| json(&format!("{at}/{place}"), item, verbatim, world))
                .collect();
            format!("[{}]", items.join(","))
        }
        Value::Object(members) => {
            let member = |(name, value): (&String, &Value)| {
                let value = json(&format!("{at}/{name}"), value, verbatim, world);
                format!("{}:{value}", Value::from(name.as_str()))
            };
            let members: Vec<_> = members.iter().map(member).collect();
            format!("{{{}}}", members.join(","))
        }
        other => other.to_string(),
    }
}

/// A text that fits: what is known of a name, else something of its form.
fn text(expected: &str, world: &mut World) -> String {
    if let Ok(text) = world.resolve(expected) {
        return text;
    }
    let placeholder = expected.trim_start_matches("{{").trim_end_matches("}}");
    match placeholder.split(':').next() {
        Some("contains") => format!("… {} …", &placeholder["contains:".len()..]),
        Some("cursor") => "2025-02-01T10:00:00.123456789Z".to_owned(),
        Some("uuid") => "0194c0ff-ee00-7abc-8def-0123456789ab".to_owned(),
        Some("time") => "2025-02-01T10:00:00.123Z".to_owned(),
        _ => "any".to_owned(),
    }
}
