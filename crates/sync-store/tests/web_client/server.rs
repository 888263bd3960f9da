//! What the models speak with: a server that takes and gives JSON.

use std::collections::BTreeMap;
use std::sync::Arc;

use sync_protocol::{
    AppId, Changeset, ClientId, EventIds, Millis, SpaceId, TableName, Tables, UserId,
};
use sync_store::{
    Caller, Cursor, Membership, Occasion, PAGE_BYTES, PROMOTION_BATCH, Position, Promotion, Pull,
    Push, Role, Store,
};
use tokio::runtime::Runtime;

/// A push, as it goes over the wire.
#[derive(Clone, Debug)]
pub(crate) struct PushRequest {
    pub(crate) user: String,
    pub(crate) client: String,
    pub(crate) body: String,
}

/// A pull, as it goes over the wire.
#[derive(Clone, Debug)]
pub(crate) struct PullRequest {
    pub(crate) user: String,
    pub(crate) client: String,
    pub(crate) table: String,
    pub(crate) since: String,
    pub(crate) limit: usize,
}

/// The answer to a push.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) json: String,
    /// How many rows it has appended, where that is known.
    pub(crate) appended: Option<usize>,
}

/// Takes requests at a time of its own clock.
pub(crate) trait Server {
    fn push(&mut self, request: &PushRequest, now: Millis) -> Reply;
    fn pull(&mut self, request: &PullRequest, now: Millis) -> String;

    /// Hears that a user has this role in the club, or none.
    fn announce(&mut self, user: &str, role: Option<Role>, asked: Millis, now: Millis);

    /// Moves what was denied to where it may be by now.
    fn promote(&mut self, user: &str, now: Millis);

    /// Removes what is dead for long, where it does not do so by itself.
    fn sweep(&mut self, now: Millis);
}

/// A store behind the real parser and the real writer, without HTTP.
pub(crate) struct InProcess {
    store: Arc<dyn Store>,
    runtime: Runtime,
    requests: u128,
}

impl InProcess {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime without drivers needs nothing");
        Self {
            store,
            runtime,
            requests: 0,
        }
    }
}

impl Server for InProcess {
    fn push(&mut self, request: &PushRequest, now: Millis) -> Reply {
        let changeset =
            Changeset::parse(request.body.as_bytes()).expect("a client sends what is understood");
        assert!(changeset.parked.is_empty(), "{:?}", changeset.parked);
        self.requests += 1;
        let push = Push {
            caller: caller(&request.user, &request.client),
            app: app(),
            since: Cursor::parse(&changeset.since),
            changes: changeset.changes,
            parked: changeset.parked,
            now,
            ids: EventIds::new(now, self.requests << 64 | self.requests),
        };
        let pushed = self
            .runtime
            .block_on(self.store.push(push))
            .expect("the store takes the push");
        Reply {
            json: serde_json::to_string(&pushed.answer).expect("an answer is JSON"),
            appended: Some(pushed.appended),
        }
    }

    fn pull(&mut self, request: &PullRequest, now: Millis) -> String {
        let pull = Pull {
            caller: caller(&request.user, &request.client),
            app: app(),
            tables: Tables::one(TableName::new(&request.table).expect("an identifier")),
            bytes: PAGE_BYTES,
            since: Cursor::parse(&request.since),
            limit: request.limit,
            now,
        };
        let answer = self
            .runtime
            .block_on(self.store.pull(pull))
            .expect("the store answers");
        serde_json::to_string(&answer).expect("an answer is JSON")
    }

    fn announce(&mut self, user: &str, role: Option<Role>, asked: Millis, now: Millis) {
        let club = SpaceId::new("club").expect("an identifier");
        let membership = Membership {
            user: UserId::new(user).expect("an identifier"),
            spaces: role
                .map(|role| (club, role))
                .into_iter()
                .collect::<BTreeMap<_, _>>(),
            asked,
            occasion: Occasion::Announcement,
        };
        let regranted = self.store.regrant(membership, now);
        self.runtime
            .block_on(regranted)
            .expect("the store hears it");
    }

    fn promote(&mut self, user: &str, now: Millis) {
        let mut after = Some(Position(0));
        while let Some(position) = after {
            self.requests += 1;
            let promotion = Promotion {
                user: UserId::new(user).expect("an identifier"),
                after: position,
                limit: PROMOTION_BATCH,
                now,
                ids: EventIds::new(now, self.requests << 64 | self.requests),
            };
            let promoted = self.runtime.block_on(self.store.promote(promotion));
            after = promoted.expect("a batch is promoted").next;
        }
    }

    fn sweep(&mut self, now: Millis) {
        while self
            .runtime
            .block_on(self.store.sweep(now))
            .expect("the store sweeps")
            .more
        {}
    }
}

fn caller(user: &str, client: &str) -> Caller {
    Caller {
        user: UserId::new(user).expect("an identifier"),
        client: ClientId::new(client).expect("an identifier"),
    }
}

fn app() -> AppId {
    AppId::new("todo").expect("an identifier")
}
