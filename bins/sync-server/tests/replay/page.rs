//! The events of one page of a stream: one a table, in any order, the last to come with the `id` of the page.

use serde::Deserialize;
use serde_json::Value;

use super::event_stream::Event;
use super::raw::shortened;
use super::world::World;
use super::{Fault, compare, moment_ms};

/// An event as a story tells it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExpectedEvent {
    /// Its name.
    pub(crate) event: String,
    /// JSON.
    pub(crate) data: Value,
    /// The cursor of the page, if it is the last of one.
    pub(crate) id: Option<String>,
    /// How long it may take to come.
    #[serde(default = "moment_ms")]
    pub(crate) within_ms: u64,
}

/// Events that a story tells one behind the other, and that may come in any order.
#[derive(Clone, Debug)]
pub(crate) struct Page(Vec<ExpectedEvent>);

impl ExpectedEvent {
    /// The table that it is about; heartbeats and the like are about none.
    fn table(&self) -> Option<&str> {
        self.data["table"].as_str()
    }
}

impl Page {
    /// The page of these events, of which only the last may have an `id`.
    pub(crate) fn new(events: Vec<ExpectedEvent>) -> Result<Self, Fault> {
        match events.split_last() {
            None => Err("a page has no events".to_owned()),
            Some((_, before)) if before.iter().any(|event| event.id.is_some()) => {
                Err("only the last event of a page has an id".to_owned())
            }
            Some(_) => Ok(Self(events)),
        }
    }

    /// Takes the other's events in, if they can only be of the same page: nothing has ended this one, and they are about other
    /// tables. Gives the other back if not.
    pub(crate) fn join(&mut self, other: Self) -> Result<(), Self> {
        let ended = self.0.iter().any(|event| event.id.is_some());
        let mut tables: Vec<_> = self
            .0
            .iter()
            .chain(&other.0)
            .map(ExpectedEvent::table)
            .collect();
        tables.sort_unstable();
        let twice = tables.windows(2).any(|pair| pair[0] == pair[1]);
        if ended || twice || tables.contains(&None) {
            return Err(other);
        }
        self.0.extend(other.0);
        Ok(())
    }

    /// The events that have not come yet.
    pub(crate) fn events(&self) -> &[ExpectedEvent] {
        &self.0
    }

    /// How long the next event may take, in milliseconds.
    pub(crate) fn within_ms(&self) -> u64 {
        let longest = self.0.iter().map(|event| event.within_ms).max();
        longest.unwrap_or_default()
    }

    /// Takes out the expected event that this one is, and tells where the two differ.
    pub(crate) fn take(&mut self, event: &Event, world: &mut World) -> Vec<Fault> {
        let Some(place) = self.place(event) else {
            let tables: Vec<_> = self.0.iter().map(ExpectedEvent::table).collect();
            let fault = format!(
                "expected events of {tables:?}, got {:?} {}",
                event.name,
                shortened(&event.data)
            );
            return vec![fault];
        };
        let id = self.0.last().and_then(|event| event.id.clone());
        let expected = self.0.remove(place);
        match self.0.last_mut() {
            Some(last) => {
                last.id = id;
                compare::event(&expected, None, event, world)
            }
            None => compare::event(&expected, id.as_deref(), event, world),
        }
    }

    /// The only one there is, or that of the same table.
    fn place(&self, event: &Event) -> Option<usize> {
        if self.0.len() == 1 {
            return Some(0);
        }
        let data: Value = serde_json::from_str(&event.data).unwrap_or_default();
        let table = data["table"].as_str()?;
        self.0
            .iter()
            .position(|expected| expected.event == event.name && expected.table() == Some(table))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const CURSOR: &str = "2025-02-01T10:00:00.123456789Z";

    fn expected(table: &str, id: Option<&str>) -> ExpectedEvent {
        let mut event =
            json!({"event": "changes", "data": {"table": table, "syncedUntil": "{{cursor}}"}});
        if let Some(id) = id {
            event["id"] = json!(id);
        }
        serde_json::from_value(event).unwrap()
    }

    fn page(events: &[(&str, Option<&str>)]) -> Page {
        let events = events.iter().map(|(table, id)| expected(table, *id));
        Page::new(events.collect()).unwrap()
    }

    fn came(table: &str, id: Option<&str>) -> Event {
        Event {
            name: "changes".to_owned(),
            data: json!({"table": table, "syncedUntil": CURSOR}).to_string(),
            id: id.map(str::to_owned),
        }
    }

    fn faults(events: &[Event]) -> Vec<Fault> {
        let mut page = page(&[("a", None), ("b", Some("{{cursor}}"))]);
        let mut world = World::empty();
        events
            .iter()
            .flat_map(|event| page.take(event, &mut world))
            .collect()
    }

    #[test]
    fn the_events_of_a_page_come_in_any_order_and_the_last_has_the_id() {
        let id = Some(CURSOR);
        for events in [
            [came("a", None), came("b", id)],
            [came("b", None), came("a", id)],
        ] {
            assert_eq!(faults(&events), Vec::<Fault>::new());
        }
        assert_eq!(
            faults(&[came("b", id), came("a", None)]),
            [
                format!("the id: expected none, got {CURSOR:?}"),
                r#"the id: expected "{{cursor}}", got none"#.to_owned(),
            ]
        );
    }

    #[test]
    fn an_event_of_another_table_is_a_fault() {
        assert_eq!(
            faults(&[came("c", None)]),
            [format!(
                r#"expected events of [Some("a"), Some("b")], got "changes" {}"#,
                came("c", None).data
            )]
        );
        assert_eq!(faults(&[came("a", None), came("a", Some(CURSOR))]).len(), 1);
    }

    #[test]
    fn only_events_of_other_tables_join_a_page_that_has_not_ended() {
        let joined = |one: &[(&str, Option<&str>)], other: &[(&str, Option<&str>)]| {
            let mut one = page(one);
            one.join(page(other)).is_ok().then(|| one.events().len())
        };
        let id = Some("{{cursor}}");
        assert_eq!(joined(&[("a", None)], &[("b", id)]), Some(2));
        assert_eq!(joined(&[("a", id)], &[("b", id)]), None);
        assert_eq!(joined(&[("a", None)], &[("a", id)]), None);
        let heartbeat = json!({"event": "heartbeat", "data": {}, "within_ms": 32_000});
        let heartbeat = Page::new(vec![serde_json::from_value(heartbeat).unwrap()]).unwrap();
        assert_eq!(heartbeat.within_ms(), 32_000);
        assert!(page(&[("a", None)]).join(heartbeat).is_err());
    }

    #[test]
    fn an_id_in_the_middle_of_a_page_is_a_fault() {
        let events = vec![expected("a", Some("{{cursor}}")), expected("b", None)];
        assert!(Page::new(events).is_err());
        assert!(Page::new(Vec::new()).is_err());
    }
}
