//! A device of a clause: it pushes and pulls as a client does, and remembers its cursor.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde_json::{Value as Json, json};
use sync_protocol::{
    Answer, AppId, Changeset, ClientId, EventIds, Millis, SpaceId, TableName, Tables, UserId,
};

use crate::{
    Caller, Cursor, Grant, MAX_PAGE, Membership, Occasion, PAGE_BYTES, PROMOTION_BATCH, Position,
    Promoted, Promotion, Pull, Push, Pushed, Regranted, Role, Store,
};

/// When clauses begin: 2026-01-01T00:00:00Z.
pub const START: Millis = Millis(1_767_225_600_000);

/// A device of a user, in the app `todo` unless it says otherwise.
#[derive(Clone)]
pub struct Device {
    store: Arc<dyn Store>,
    caller: Caller,
    app: AppId,
    /// The cursor that it sends next.
    pub since: String,
    /// The server's time at its next request.
    pub now: Millis,
    requests: u64,
}

impl fmt::Debug for Device {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} of {}", self.caller.client, self.caller.user)
    }
}

impl Device {
    /// A device that has read nothing.
    #[must_use]
    pub fn new(store: &Arc<dyn Store>, user: &str, client: &str) -> Self {
        let caller = Caller {
            user: user_id(user),
            client: ClientId::new(client).expect("an identifier"),
        };
        let app = AppId::new("todo").expect("an identifier");
        Self {
            store: store.clone(),
            caller,
            app,
            since: String::new(),
            now: START,
            requests: 0,
        }
    }

    /// The same device in another app.
    #[must_use]
    pub fn in_app(mut self, app: &str) -> Self {
        self.app = AppId::new(app).expect("an identifier");
        self
    }

    /// Lets time pass.
    pub fn wait(&mut self, millis: i64) {
        self.now.0 += millis;
    }

    /// Pushes changes, given as a JSON array, and keeps the cursor.
    pub async fn push(&mut self, changes: Json) -> Pushed {
        self.push_text(&changes.to_string()).await
    }

    /// Pushes changes, given as the text of a JSON array, and keeps the cursor.
    pub async fn push_text(&mut self, changes: &str) -> Pushed {
        let pushed = self.push_again(changes).await;
        self.since.clone_from(&pushed.answer.synced_until);
        pushed
    }

    /// Pushes changes as if the answer got lost: the cursor stays.
    pub async fn push_again(&mut self, changes: &str) -> Pushed {
        let push = self.read(changes);
        let pushed = self.store.push(push).await.expect("the push is taken");
        let Answer {
            has_more,
            synced_until,
            ..
        } = &pushed.answer;
        assert!(
            !has_more || *synced_until > self.since,
            "hasMore implies that the cursor moved"
        );
        pushed
    }

    /// The push that [`Device::push`] would send.
    pub fn read(&mut self, changes: &str) -> Push {
        let body = format!(r#"{{"since":{},"changes":{changes}}}"#, json!(self.since));
        let changeset = Changeset::parse(body.as_bytes()).expect("a clause pushes changesets");
        self.requests += 1;
        Push {
            caller: self.caller.clone(),
            app: self.app.clone(),
            since: Cursor::parse(&changeset.since),
            changes: changeset.changes,
            parked: changeset.parked,
            now: self.now,
            ids: EventIds::new(self.now, self.seed(changes)),
        }
    }

    /// The same for the same request, whatever store it goes to.
    fn seed(&self, request: &str) -> u128 {
        let who = format!("{:?}/{}/{}/{request}", self.caller, self.app, self.requests);
        u128::from(sync_merge::digest(who.as_bytes()))
    }

    /// Reads one page of some tables, their names separated by commas (of all if there are none), and keeps the cursor.
    pub async fn page(&mut self, names: &str, limit: usize) -> Answer {
        let pull = Pull {
            caller: self.caller.clone(),
            app: self.app.clone(),
            tables: tables(names),
            since: Cursor::parse(&self.since),
            limit,
            bytes: PAGE_BYTES,
            now: self.now,
        };
        let answer = self.store.pull(pull).await.expect("the pull is answered");
        assert!(
            !answer.has_more || answer.synced_until > self.since,
            "hasMore implies that the cursor moved"
        );
        assert!(
            !answer.has_more || !answer.server_changes.is_empty(),
            "a page holds at least one row"
        );
        self.since.clone_from(&answer.synced_until);
        answer
    }

    /// Pulls all tables to the head; the changes as JSON, without event ids.
    pub async fn pull(&mut self) -> Json {
        let mut changes = Vec::new();
        loop {
            let answer = self.page("", MAX_PAGE).await;
            changes.extend(answer.server_changes);
            if !answer.has_more {
                return self::changes(&changes);
            }
        }
    }

    /// Reads some tables to the head in pages of so many changes; all of them as JSON, without event ids.
    pub(super) async fn pages(&mut self, names: &str, limit: usize) -> Vec<Json> {
        let mut all = Vec::new();
        loop {
            let answer = self.page(names, limit).await;
            assert!(answer.server_changes.len() <= limit, "a page over {limit}");
            all.extend(list(&answer));
            if !answer.has_more {
                return all;
            }
        }
    }

    /// Tells the store all the spaces of the user of this device, as it is asked for now.
    pub(super) async fn told(&self, occasion: Occasion, spaces: &[(&str, Role)]) -> Regranted {
        let space = |name: &str| SpaceId::new(name).expect("an identifier");
        let membership = Membership {
            user: self.caller.user.clone(),
            spaces: spaces
                .iter()
                .map(|(name, role)| (space(name), *role))
                .collect(),
            asked: self.now,
            occasion,
        };
        let regranted = self.store.regrant(membership, self.now).await;
        regranted.expect("the answer is taken")
    }

    /// The grants of the user of this device, as the store has them.
    pub(super) async fn grants(&self) -> Vec<Grant> {
        let grants = self.store.grants(self.caller.user.clone()).await;
        grants.expect("there are grants")
    }

    /// Lets what was kept for the user of this device alone go where it may go by now: what each batch has touched.
    pub(super) async fn promote(&mut self) -> Vec<Promoted> {
        let mut all = Vec::new();
        let mut after = Some(Position(0));
        while let Some(position) = after {
            self.requests += 1;
            let promotion = Promotion {
                user: self.caller.user.clone(),
                after: position,
                limit: PROMOTION_BATCH,
                now: self.now,
                ids: EventIds::new(self.now, self.seed("promote")),
            };
            let promoted = self.store.promote(promotion).await;
            let promoted = promoted.expect("a batch is promoted");
            assert!(promoted.next.is_none_or(|next| next > position));
            after = promoted.next;
            all.push(promoted);
        }
        all
    }

    /// Gives the user of this device a role in a space, or takes it away, at once.
    pub async fn grant(&self, space: &str, role: Option<Role>) {
        grant(
            &*self.store,
            self.caller.user.as_str(),
            space,
            role,
            self.now,
        )
        .await;
    }
}

/// Gives a user a role in a space, or takes it away, as an announcement does.
///
/// # Panics
///
/// If the store does not take it, or the names are none.
pub async fn grant(store: &dyn Store, user: &str, space: &str, role: Option<Role>, now: Millis) {
    let user = user_id(user);
    let known = store.grants(user.clone()).await.expect("there are grants");
    let known = known
        .into_iter()
        .filter_map(|grant| Some((grant.space, grant.role?)));
    let mut spaces: BTreeMap<_, _> = known.collect();
    let space = SpaceId::new(space).expect("an identifier");
    match role {
        Some(role) => spaces.insert(space, role),
        None => spaces.remove(&space),
    };
    let membership = Membership {
        user,
        spaces,
        asked: now,
        occasion: Occasion::Announcement,
    };
    let regranted = store.regrant(membership, now).await;
    regranted.expect("the grant is kept");
}

/// Changes as JSON without their event ids, to be compared whole.
#[must_use]
pub fn changes(changes: &[sync_protocol::ServerChange]) -> Json {
    let mut list = serde_json::to_value(changes).expect("changes are JSON");
    for change in list.as_array_mut().into_iter().flatten() {
        if let Some(members) = change.as_object_mut() {
            members.remove("eventId");
            members.remove("schemaVersion");
        }
    }
    list
}

/// The changes of an answer, each as JSON without its event id.
pub(super) fn list(answer: &Answer) -> Vec<Json> {
    match changes(&answer.server_changes) {
        Json::Array(list) => list,
        other => vec![other],
    }
}

/// The records that some changes are about, in their order.
pub(super) fn ids(changes: &[Json]) -> Vec<&str> {
    let ids = changes.iter().filter_map(|change| change["id"].as_str());
    ids.collect()
}

/// The same change, naming a space.
pub(super) fn of(space: &str, mut change: Json) -> Json {
    change["spaceId"] = json!(space);
    change
}

/// The same change as it goes out in a space, written by a user.
pub(super) fn by(user: &str, mut change: Json) -> Json {
    change["author"] = json!(user);
    change
}

fn tables(names: &str) -> Tables {
    if names.is_empty() {
        return Tables::All;
    }
    let names = names.split(',');
    Tables::Only(
        names
            .map(|name| TableName::new(name).expect("an identifier"))
            .collect(),
    )
}

pub(super) fn user_id(user: &str) -> UserId {
    UserId::new(user).expect("an identifier")
}

/// A field of an update as it goes out.
pub(super) fn field(value: Json, at: &str) -> Json {
    json!({"value": value, "at": at, "updatedAt": at})
}

/// An update of one field.
pub(super) fn update(id: &str, name: &str, value: impl Into<Json>, at: &str) -> Json {
    json!({"table": "tasks", "id": id, "op": "update", "fields": {name: {"value": value.into(), "at": at}}})
}

/// An insert whose fields have no time.
pub(super) fn insert(id: &str, title: &str) -> Json {
    json!({"table": "tasks", "id": id, "op": "insert", "data": {"id": id, "title": title}})
}

/// Times that lie a minute apart, long before [`START`].
pub(super) const TIMES: [&str; 5] = [
    "2025-02-01T10:00:00.000Z",
    "2025-02-01T10:01:00.000Z",
    "2025-02-01T10:02:00.000Z",
    "2025-02-01T10:03:00.000Z",
    "2025-02-01T10:04:00.000Z",
];

/// A correction or an update of one field, as it goes out.
pub(super) fn told(id: &str, name: &str, value: impl Into<Json>, at: &str) -> Json {
    json!({"table": "tasks", "id": id, "op": "update", "fields": {name: field(value.into(), at)}})
}

/// How a missing time goes out.
pub(super) const NO_TIME: &str = "1970-01-01T00:00:00.000Z";
