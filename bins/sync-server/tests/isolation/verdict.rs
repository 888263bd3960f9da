//! Holds everything that was said and written against what was allowed at that moment.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{Map, Value};

use crate::model::{Exchange, Inner, Mark, NONE, Nanos, READER, Route, WRITER, marks_in};
use crate::names::{APPS, Names, Place, RECORDS};
use crate::truth::{Home, Row, SLACK, Truth};
use crate::world::SPEED;

/// How long after the row's position a change of grants that let out what was denied may have been acknowledged.
const PROMOTION: Nanos = 5_000_000_000 * SPEED;
/// How many faults are kept in full.
const TOLD: usize = 20;

/// What came of a run.
#[derive(Default)]
pub(crate) struct Verdict {
    /// Requests by route.
    pub(crate) requests: BTreeMap<Route, usize>,
    /// Answers by route and status.
    pub(crate) statuses: BTreeMap<(Route, u16), usize>,
    /// Changes and notices that were read.
    pub(crate) read: usize,
    /// Those that could be traced to the rows that they came from.
    pub(crate) traced: usize,
    /// Values traced to the changes that wrote them.
    pub(crate) values: usize,
    /// Rows of the log that were held against the grants of their authors.
    pub(crate) written: usize,
    pub(crate) reads_across: usize,
    pub(crate) writes_across: usize,
    pub(crate) faults: Vec<String>,
}

impl Verdict {
    pub(crate) fn read_across(
        &mut self,
        exchange: &Exchange,
        names: &Names,
        why: &str,
        near: &str,
    ) {
        self.reads_across += 1;
        if self.faults.len() < TOLD {
            self.faults.push(told(exchange, names, why, near));
        }
    }

    /// Notes that something was written across.
    pub(crate) fn write_across(&mut self, row: &Row, why: &str) {
        self.writes_across += 1;
        if self.faults.len() < TOLD {
            self.faults
                .push(format!("write across: {why}\n    {row:?}"));
        }
    }

    /// Counts what was asked.
    pub(crate) fn asked(&mut self, route: Route) {
        *self.requests.entry(route).or_default() += 1;
    }
}

fn told(exchange: &Exchange, names: &Names, why: &str, near: &str) -> String {
    let said = &exchange.said;
    let at = said.find(near).unwrap_or(0);
    let (mut start, mut end) = (at.saturating_sub(400), (at + 400).min(said.len()));
    while !said.is_char_boundary(start) {
        start -= 1;
    }
    while !said.is_char_boundary(end) {
        end += 1;
    }
    let reader = exchange.reader.map(|user| &names.users[user]);
    let mut text = format!("read across: {why}\n");
    let _ = writeln!(text, "    by {reader:?} over {}", exchange.route.name());
    let _ = writeln!(text, "    from {} until {}", exchange.from, exchange.until);
    let _ = writeln!(text, "    asked: {}", exchange.asked);
    let _ = write!(
        text,
        "    said {}: …{}…",
        exchange.status,
        &said[start..end]
    );
    text
}

/// One round: what is known, and what was said.
pub(crate) struct Court<'a> {
    pub(crate) names: &'a Names,
    pub(crate) known: &'a Inner,
    pub(crate) truth: &'a Truth,
}

impl Court<'_> {
    /// Judges what somebody was told.
    pub(crate) fn judge(&self, exchange: &Exchange, verdict: &mut Verdict) {
        if exchange.status != 0 {
            let count = verdict.statuses.entry((exchange.route, exchange.status));
            *count.or_default() += 1;
        }
        for number in marks_in(&exchange.said) {
            self.judge_value(number, exchange, verdict);
        }
        let data = match exchange.route {
            Route::Stream => exchange
                .said
                .lines()
                .find_map(|line| line.strip_prefix("data: ")),
            _ => Some(exchange.said.as_str()),
        };
        let Some(Ok(said)) = data.map(serde_json::from_str::<Value>) else {
            return;
        };
        match exchange.route {
            Route::Upload => return self.judge_statuses(&said, exchange, verdict),
            Route::Download => return self.judge_download(&said, exchange, verdict),
            Route::Failures => return self.judge_failures(&said, exchange, verdict),
            Route::Retry => return self.judge_retry(exchange, verdict),
            _ => {}
        }
        for list in ["serverChanges", "changes"] {
            for change in said[list].as_array().into_iter().flatten() {
                self.judge_change(change, exchange, verdict);
            }
        }
        for list in ["removedSpaces", "removed"] {
            for space in said[list].as_array().into_iter().flatten() {
                self.judge_left(space, exchange, verdict);
            }
        }
        if said["type"] == "sync-available" {
            self.judge_notice(&said, exchange, verdict);
        }
    }

    fn judge_value(&self, number: usize, exchange: &Exchange, verdict: &mut Verdict) {
        if exchange.own.contains(&number) {
            return;
        }
        verdict.values += 1;
        let near = crate::model::mark_text(number);
        let Some(mark) = self.known.marks.get(number) else {
            return verdict.read_across(exchange, self.names, "a value of nobody", &near);
        };
        let Some(reader) = exchange.reader else {
            return verdict.read_across(exchange, self.names, "said to nobody", &near);
        };
        // These may be of all apps.
        let is_of_all =
            matches!(exchange.route, Route::Download | Route::Failures) && exchange.app.is_none();
        if !is_of_all && exchange.app != Some(usize::from(mark.app)) {
            return verdict.read_across(exchange, self.names, "a value of another app", &near);
        }
        let homes = self.truth.homes.get(&number).map_or(&[][..], Vec::as_slice);
        if !homes
            .iter()
            .any(|home| self.may_read(reader, *home, exchange))
        {
            let why = format!("{} is at {homes:?}", self.about(mark));
            verdict.read_across(exchange, self.names, &why, &near);
        }
    }

    fn may_read(&self, reader: usize, (place, at): Home, exchange: &Exchange) -> bool {
        let span = (exchange.from.max(at - SLACK), exchange.until + SLACK);
        match place {
            _ if span.0 > span.1 => false,
            Place::User(user) => user == reader,
            Place::Space(space) => self.known.could((reader, space), READER | WRITER, span),
        }
    }

    fn about(&self, mark: &Mark) -> String {
        format!(
            "a value that {:?} wrote into {:?}, {:?}",
            self.names.users[usize::from(mark.author)],
            self.names.tables[usize::from(mark.table)],
            RECORDS[usize::from(mark.record)],
        )
    }

    fn judge_change(&self, change: &Value, exchange: &Exchange, verdict: &mut Verdict) {
        verdict.read += 1;
        let Some(reader) = exchange.reader else {
            return verdict.read_across(exchange, self.names, "a change said to nobody", "");
        };
        let event = change["eventId"].as_str().unwrap_or_default();
        let marks = marks_in(&change.to_string());
        if !marks.is_empty() || self.is_plain(change, event, (reader, exchange)) {
            verdict.traced += 1;
        } else {
            verdict.read_across(exchange, self.names, "a change from nowhere", event);
        }
        let author = |number: &usize| self.known.marks.get(*number).map(|mark| mark.author);
        let is_own = |number: &usize| author(number).map(usize::from) == Some(reader);
        let span = (exchange.from, exchange.until);
        let space = change["spaceId"]
            .as_str()
            .and_then(|name| self.names.space(name));
        if let Some(space) = space
            && !self.known.could((reader, space), READER | WRITER, span)
            && (marks.is_empty() || !marks.iter().all(is_own))
        {
            verdict.read_across(exchange, self.names, "a change of a space", event);
        }
        if let Some(named) = change["author"].as_str() {
            let named = self.names.user(named);
            let is_named = |number: &usize| author(number).map(usize::from) == named;
            // A row that has the whole record has values of others, too; what its author says of it is the author's.
            let said = marks_in(&format!("{}{}", change["actor"], change["origin"]));
            if !said.iter().all(is_named) {
                verdict.read_across(exchange, self.names, "another author", event);
            }
        }
    }

    /// Whether a change without marks is a row that its reader may read, or a correction by values that it may read.
    fn is_plain(&self, change: &Value, event: &str, who: (usize, &Exchange)) -> bool {
        let event = event.replace('-', "").to_lowercase();
        let homes = self.truth.events.get(&event).map_or(&[][..], Vec::as_slice);
        if homes.iter().any(|home| self.may_read(who.0, *home, who.1)) {
            return true;
        }
        let name = |member: &str| change[member].as_str().unwrap_or_default().to_owned();
        let app = who.1.app.map_or("", |app| APPS[app]);
        let fields = change["fields"].as_object();
        fields.is_some_and(|fields| {
            fields.iter().all(|(field, value)| {
                let key = (app.to_owned(), name("table"), name("id"), field.clone());
                let known = self.truth.plain.get(&key).map_or(&[][..], Vec::as_slice);
                known.iter().any(|(home, known)| {
                    *known == value["value"] && self.may_read(who.0, *home, who.1)
                })
            })
        })
    }

    /// Nobody hears that a space was left who has never been in it.
    fn judge_left(&self, space: &Value, exchange: &Exchange, verdict: &mut Verdict) {
        let name = space.as_str().unwrap_or_default();
        let ever = (Nanos::MIN, exchange.until);
        let was_in = self
            .names
            .space(name)
            .zip(exchange.reader)
            .is_some_and(|(space, reader)| {
                self.known.could((reader, space), READER | WRITER, ever)
            });
        if !was_in {
            verdict.read_across(exchange, self.names, "a space never joined was left", name);
        }
    }

    fn judge_notice(&self, notice: &Value, exchange: &Exchange, verdict: &mut Verdict) {
        let app = notice["appId"].as_str().unwrap_or_default();
        let app = APPS.iter().position(|known| *known == app);
        for table in notice["tables"].as_array().into_iter().flatten() {
            verdict.read += 1;
            verdict.traced += 1;
            let name = table.as_str().unwrap_or_default();
            let homes = app.zip(self.names.table(name));
            let homes = homes.and_then(|of| self.truth.tables.get(&of));
            let homes = homes.map_or(&[][..], Vec::as_slice);
            // What was committed before the socket was there is told to nobody on it.
            let first = homes.partition_point(|(_, at)| *at < exchange.from - PROMOTION);
            let is_one_app = exchange.route == Route::Socket || exchange.app == app;
            let may_hear = exchange.reader.is_some_and(|reader| {
                let mut homes = homes[first..].iter();
                homes.any(|home| self.may_read(reader, *home, exchange))
            });
            if !may_hear || !is_one_app {
                verdict.read_across(exchange, self.names, "a notice of others", name);
            }
        }
    }

    /// Judges what was written.
    pub(crate) fn judge_row(&self, row: &Row, verdict: &mut Verdict) {
        verdict.written += 1;
        let Some(author) = self.names.user(&row.user) else {
            return verdict.write_across(row, "nobody wrote it");
        };
        match self.names.place(&row.scope) {
            None => return verdict.write_across(row, "its scope is nobody's"),
            Some(Place::User(user)) if user != author => {
                return verdict.write_across(row, "it is in the personal scope of another user");
            }
            Some(Place::Space(space)) => {
                let at = row.position;
                let until = self.known.pushed_until(author, at + SLACK);
                let span = (at - SLACK, until.unwrap_or(at + PROMOTION));
                if !self.known.could((author, space), WRITER, span) && !self.is_repeated(row) {
                    return verdict.write_across(row, "its author could not write into the space");
                }
            }
            Some(Place::User(_)) => {}
        }
        for number in row.marks() {
            let is_right = self.known.marks.get(number).is_some_and(|mark| {
                (usize::from(mark.author) == author || self.was_there(number, row))
                    && APPS[usize::from(mark.app)] == row.app
                    && self.names.tables[usize::from(mark.table)] == row.table
                    && RECORDS[usize::from(mark.record)] == row.record
            });
            if !is_right {
                return verdict.write_across(row, "it holds a value that belongs elsewhere");
            }
        }
    }

    /// Whether the server has appended a row again, in the name of whoever wrote it first: who ties with it, or undeletes
    /// its record, has that done. It says nothing that was not there before.
    fn is_repeated(&self, row: &Row) -> bool {
        let fields: Map<String, Value> = serde_json::from_str(&row.data).unwrap_or_default();
        let place = self.names.place(&row.scope);
        let was_there = |(field, value): (String, Value)| {
            let marks = marks_in(&value.to_string());
            if !marks.is_empty() {
                return marks.into_iter().all(|number| self.was_there(number, row));
            }
            let [app, table, record] = [&row.app, &row.table, &row.record].map(String::clone);
            let known = self.truth.plain.get(&(app, table, record, field));
            let mut known = known.into_iter().flatten();
            known.any(|((home, at), known)| {
                Some(*home) == place && *at < row.position && *known == value
            })
        };
        // What a client has just written says so beside its values.
        row.beside.is_empty() && fields.into_iter().all(was_there)
    }

    /// Whether a value was in the scope of a row before: whoever undeletes a record has it appended whole.
    fn was_there(&self, number: usize, row: &Row) -> bool {
        let homes = self.truth.homes.get(&number).map_or(&[][..], Vec::as_slice);
        let place = self.names.place(&row.scope);
        let mut earlier = homes.iter().filter(|(_, at)| *at < row.position);
        earlier.any(|(home, _)| Some(*home) == place)
    }

    /// Judges the grants that stand: those of whom no change is under way.
    pub(crate) fn judge_grants(&self, grants: &[(String, String, u8)], verdict: &mut Verdict) {
        for ((user, space), roles) in self.known.settled() {
            let (user, space) = (&self.names.users[user], &self.names.spaces[space]);
            let mut stand = grants
                .iter()
                .filter(|(of, at, _)| of == user && at == space);
            let role = stand.next().map_or(NONE, |(_, _, role)| *role);
            if role != roles {
                verdict.writes_across += 1;
                let fault = format!("{user:?} has {role} in {space:?}, not {roles}");
                verdict.faults.push(fault);
            }
        }
    }
}
