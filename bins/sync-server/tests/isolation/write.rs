//! A push: changes of records that everybody has, into scopes of one's own and of others, with ids of others.

use serde_json::{Map, Value, json};
use sync_protocol::FieldTime;

use crate::chance::Chance;
use crate::model::{Mark, mark_text};
use crate::names::{APPS, Names, Place, RECORDS, SHARED_TABLES, SPACES, USERS};
use crate::world::World;

/// The most changes of one push.
const CHANGES: usize = 4;

/// A push that is being made.
pub(crate) struct Draft<'a> {
    world: &'a World,
    chance: &'a mut Chance,
    user: usize,
    app: usize,
    own: Vec<usize>,
}

impl<'a> Draft<'a> {
    pub(crate) fn new(world: &'a World, chance: &'a mut Chance, user: usize, app: usize) -> Self {
        Self {
            world,
            chance,
            user,
            app,
            own: Vec::new(),
        }
    }

    /// The body, and the marks in it.
    pub(crate) fn finish(mut self, client: &str, since: &str) -> (String, Vec<usize>) {
        let count = 1 + self.chance.below(CHANGES);
        let changes: Vec<Value> = (0..count).map(|_| self.change()).collect();
        let other = self.chance.below(USERS);
        let body = json!({
            "clientId": client,
            "appId": APPS[(self.app + 1) % APPS.len()],
            "userId": self.world.names.users[other],
            "since": since,
            "changes": changes,
        });
        (body.to_string(), self.own)
    }

    fn change(&mut self) -> Value {
        let (space, place) = self.space();
        let table = match place {
            Some(place) if self.chance.percent(40) => Names::table_of(place),
            _ => self.chance.below(SHARED_TABLES.len()),
        };
        let record = self.chance.below(RECORDS.len());
        let number = self.world.model.mark(Mark {
            author: u16::try_from(self.user).expect("there are few"),
            app: u8::try_from(self.app).expect("there are few"),
            table: u16::try_from(table).expect("there are few"),
            record: u8::try_from(record).expect("there are few"),
        });
        self.own.push(number);
        let text = format!("{} of {} for {space:?}", mark_text(number), self.user);
        let mut change = self.body(&text, RECORDS[record]);
        change.insert("table".into(), json!(self.world.names.tables[table]));
        change.insert("id".into(), json!(self.record(record)));
        change.insert("actor".into(), json!({"says": text, "userId": "anna"}));
        change.insert("origin".into(), json!(text));
        if let Some(space) = space {
            self.put(&mut change, &space);
        }
        if let Some(id) = self.event_id() {
            change.insert("eventId".into(), json!(id));
        }
        Value::Object(change)
    }

    /// An id; sometimes one that no record can have, so that the change is kept aside.
    fn record(&mut self, record: usize) -> String {
        if self.chance.percent(2) {
            return format!("{}\u{1}", RECORDS[record]);
        }
        RECORDS[record].to_owned()
    }

    fn body(&mut self, text: &str, record: &str) -> Map<String, Value> {
        let at = self.time();
        let body = match self.chance.below(20) {
            0..9 => json!({"op": "insert", "data": {"id": record, "title": text, "updatedAt": at}}),
            9 => json!({"op": "insert", "data": {"id": record, "title": text}}),
            10..16 => json!({"op": "update", "fields": {
                "title": {"value": text, "updatedAt": at},
                "done": {"value": {"by": [text]}, "at": at},
            }}),
            16 => {
                json!({"op": "update", "fields": {"deletedAt": {"value": null, "updatedAt": at}}})
            }
            17 => json!({"op": "delete"}),
            _ => json!({"op": "delete", "deletedAt": at, "fields": {
                "why": {"value": text, "updatedAt": at},
            }}),
        };
        match body {
            Value::Object(body) => body,
            _ => Map::new(),
        }
    }

    /// A time up to ten minutes ago, and sometimes ahead.
    fn time(&mut self) -> String {
        let now = self.world.now() / 1_000_000;
        let back = i64::try_from(self.chance.below(602_000)).expect("it is small");
        FieldTime::from_millis(now + 2000 - back).to_string()
    }

    /// A space as a change names it, and the scope that is meant.
    fn space(&mut self) -> (Option<String>, Option<Place>) {
        let names = &self.world.names;
        match self.chance.below(20) {
            0..8 => (None, Some(Place::User(self.user))),
            8..13 => match self.joined() {
                Some(space) => (Some(names.spaces[space].clone()), Some(Place::Space(space))),
                None => (None, Some(Place::User(self.user))),
            },
            13..16 => {
                let space = self.chance.below(SPACES);
                (Some(names.spaces[space].clone()), Some(Place::Space(space)))
            }
            16 => {
                let other = self.chance.below(USERS);
                let name = &names.users[other];
                (Some(format!("_personal:{name}")), Some(Place::User(other)))
            }
            17 => {
                let other = self.chance.below(USERS);
                (Some(names.users[other].clone()), Some(Place::User(other)))
            }
            18 => {
                let other = self.chance.below(USERS);
                (
                    Some(format!("u:{}", names.users[other])),
                    Some(Place::User(other)),
                )
            }
            _ => {
                let space = self.chance.below(SPACES);
                (
                    Some(format!("s:{}", names.spaces[space])),
                    Some(Place::Space(space)),
                )
            }
        }
    }

    /// A space that the user may be in.
    fn joined(&mut self) -> Option<usize> {
        let known = self.world.model.inner();
        let is_in = |space: &usize| known.roles_now(self.user, *space) > 1;
        let joined: Vec<usize> = (0..SPACES).filter(is_in).collect();
        drop(known);
        (!joined.is_empty()).then(|| *self.chance.one(&joined))
    }

    /// Puts the name where one of the generations of clients has it.
    fn put(&mut self, change: &mut Map<String, Value>, space: &str) {
        let at = self.chance.below(3);
        let list = if at == 1 { "data" } else { "fields" };
        let value = match at {
            1 => json!(space),
            _ => json!({"value": space, "updatedAt": "2025-01-01T00:00:00Z"}),
        };
        match change.get_mut(list).and_then(Value::as_object_mut) {
            Some(values) if at > 0 => {
                values.insert("spaceId".into(), value);
            }
            _ => {
                change.insert("spaceId".into(), json!(space));
            }
        }
    }

    /// An id of the client's own, or one that somebody else has.
    fn event_id(&mut self) -> Option<String> {
        match self.chance.below(10) {
            0..2 => self.world.event_ids.any(self.chance),
            2..4 => {
                let bits = (u128::from(self.chance.bits()) << 64) | u128::from(self.chance.bits());
                let hex = format!("{bits:032x}");
                let (a, b) = (&hex[..8], &hex[8..12]);
                Some(format!(
                    "{a}-{b}-7{}-8{}-{}",
                    &hex[13..16],
                    &hex[17..20],
                    &hex[20..]
                ))
            }
            _ => None,
        }
    }
}
