//! The store in memory: the oracle that the others are compared with, and what simulations run on.

mod grants;
mod import;
mod rows;
mod sweep;
mod whole;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::ready;
use std::sync::{Mutex, MutexGuard, PoisonError};

use sync_protocol::rows::DownloadPage;
use sync_protocol::{Answer, AppId, EventId, Millis, Parked, SpaceId, UserId};

use self::rows::Uploads;
use crate::state::RecordState;
use crate::{
    Decision, Delta, Download, Entry, Erased, Erasure, Export, Exported, Grant, ImportState,
    Importer, Intake, Loaded, LoadedRow, Membership, Page, ParkedChange, Pending, Position,
    Promoted, Promotion, Pull, Push, Pushed, RecordKey, Regranted, Rules, Scope, ScopesMissing,
    Stats, Store, StoreError, Stretch, Swept, Upload, Uploaded, Window, Writes, imported,
    pull_answer,
};

/// A store that keeps everything in memory. It has every promise but durability.
#[derive(Debug, Default)]
pub struct MemoryStore {
    rules: Rules,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    clock: i64,
    log: BTreeMap<Position, Row>,
    records: HashMap<(AppId, RecordKey), Kept>,
    events: BTreeSet<(UserId, EventId)>,
    grants: BTreeMap<(UserId, SpaceId), Grant>,
    parked: Vec<(UserId, AppId, ParkedChange)>,
    import: ImportState,
    uploads: Uploads,
}

#[derive(Debug)]
struct Row {
    entry: Entry,
    dead_since: Option<Millis>,
}

#[derive(Debug)]
struct Kept {
    state: RecordState,
    deleted_since: Option<Millis>,
}

impl MemoryStore {
    /// An empty store with these rules.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            inner: Mutex::default(),
        }
    }

    fn locked(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn push(&self, push: Push) -> Pending<'_, Pushed> {
        Box::pin(ready(self.locked().push(&push, self.rules)))
    }

    fn upload(&self, upload: Upload) -> Pending<'_, Uploaded> {
        Box::pin(ready(self.locked().upload(upload)))
    }

    fn download(&self, download: Download) -> Pending<'_, DownloadPage> {
        Box::pin(ready(self.locked().download(download)))
    }

    fn pull(&self, pull: Pull) -> Pending<'_, Answer> {
        Box::pin(ready(self.locked().pull(pull, self.rules)))
    }

    fn regrant(&self, membership: Membership, now: Millis) -> Pending<'_, Regranted> {
        Box::pin(ready(Ok(self.locked().regrant(&membership, now))))
    }

    fn grants(&self, user: UserId) -> Pending<'_, Vec<Grant>> {
        Box::pin(ready(Ok(self.locked().grants(&user))))
    }

    fn promote(&self, promotion: Promotion) -> Pending<'_, Promoted> {
        Box::pin(ready(self.locked().promote(&promotion, self.rules)))
    }

    fn parked(&self, user: UserId, app: AppId) -> Pending<'_, Vec<ParkedChange>> {
        let inner = self.locked();
        let own = inner
            .parked
            .iter()
            .filter(|(owner, of, _)| (owner, of) == (&user, &app));
        Box::pin(ready(Ok(own.map(|(.., parked)| parked.clone()).collect())))
    }

    fn export(&self, export: Export) -> Pending<'_, Exported> {
        Box::pin(ready(Ok(self.locked().export(&export))))
    }

    fn erase(&self, erasure: Erasure) -> Pending<'_, Erased> {
        Box::pin(ready(self.locked().erase(&erasure)))
    }

    fn sweep(&self, now: Millis) -> Pending<'_, Swept> {
        let before = Millis(now.0 - self.rules.history_millis);
        let mut inner = self.locked();
        inner.forget_uploads(self.rules.remembers_since(now));
        Box::pin(ready(inner.sweep(before)))
    }

    fn stats(&self) -> Pending<'_, Stats> {
        let dead = self
            .locked()
            .log
            .values()
            .filter(|row| row.dead_since.is_some())
            .count();
        Box::pin(ready(Ok(Stats {
            dead_rows: u64::try_from(dead).unwrap_or(u64::MAX),
            ..Stats::default()
        })))
    }

    fn importer(&self) -> Option<&dyn Importer> {
        Some(self)
    }

    fn ready(&self) -> Pending<'_, ()> {
        Box::pin(ready(Ok(())))
    }
}

impl Inner {
    fn push(&mut self, push: &Push, rules: Rules) -> Result<Pushed, StoreError> {
        let since = push.since.after_import(imported(self.import.until())?);
        let push = &Push {
            since,
            ..push.clone()
        };
        let mut written = BTreeSet::new();
        loop {
            let reach = self.reach(&push.caller.user);
            let intake = Intake::new(push.clone(), reach, &written);
            match self.take(intake, rules)? {
                Ok(pushed) => return Ok(pushed),
                Err(missing) => written.extend(missing.0),
            };
        }
    }

    fn take(
        &mut self,
        intake: Intake,
        rules: Rules,
    ) -> Result<Result<Pushed, ScopesMissing>, StoreError> {
        let loaded = self.load(&intake)?;
        let decision = match intake.decide(&loaded, rules)? {
            Ok(decision) => decision,
            Err(missing) => return Ok(Err(missing)),
        };
        let push = decision.push();
        let delta = self.delta(&push.app, &decision.readable().cloned().collect::<Vec<_>>());
        let base = self.draw(decision.positions(), push.now);
        self.write(&decision, decision.writes(base))?;
        let window = decision.window(delta.horizon);
        let page = self.page(&window);
        Ok(Ok(decision.answer((&window, &page), delta, base)))
    }

    fn pull(&self, mut pull: Pull, rules: Rules) -> Result<Answer, StoreError> {
        pull.since = pull.since.after_import(imported(self.import.until())?);
        let pull = &pull;
        let reach = self.reach(&pull.caller.user);
        let scopes: Vec<_> = reach.readable().cloned().collect();
        let delta = self.delta(&pull.app, &scopes);
        let window = pull.window(&reach, delta.horizon);
        let page = self.page(&window);
        Ok(pull_answer(pull, &reach, (&window, &page), delta, rules))
    }

    fn load(&self, intake: &Intake) -> Result<Loaded, StoreError> {
        let mut loaded = Loaded::default();
        for key in intake.keys() {
            self.load_record(&intake.push().app, key, &mut loaded)?;
        }
        let user = &intake.push().caller.user;
        let taken = intake
            .event_ids()
            .into_iter()
            .filter(|id| self.events.contains(&(user.clone(), *id)));
        taken.for_each(|id| loaded.event(id));
        Ok(loaded)
    }

    fn load_record(
        &self,
        app: &AppId,
        key: RecordKey,
        loaded: &mut Loaded,
    ) -> Result<(), StoreError> {
        let Some(kept) = self.records.get(&(app.clone(), key.clone())) else {
            return Ok(());
        };
        for position in &kept.state.rows {
            let entry = &self.log[&Position(*position)].entry;
            loaded.row(LoadedRow {
                position: entry.position,
                user: entry.user.as_str(),
                to_everyone: entry.to_everyone,
                data: &entry.data(),
                field_timestamps: &entry.field_timestamps(),
            })?;
        }
        loaded.record(key, kept.state.state.clone(), kept.state.version);
        Ok(())
    }

    fn draw(&mut self, count: usize, now: Millis) -> Position {
        if count == 0 {
            return Position(self.clock);
        }
        let base = (self.clock + 1).max(now.0.saturating_mul(1_000_000));
        self.clock = base + i64::try_from(count).unwrap_or(0) - 1;
        Position(base)
    }

    fn write(&mut self, decision: &Decision, writes: Writes) -> Result<(), StoreError> {
        let Push {
            caller, app, now, ..
        } = decision.push();
        self.put(&caller.user, app, *now, writes)
    }

    fn put(
        &mut self,
        user: &UserId,
        app: &AppId,
        now: Millis,
        writes: Writes,
    ) -> Result<(), StoreError> {
        for entry in writes.entries {
            self.append(entry)?;
        }
        for position in writes.dead {
            self.bury(position, now);
        }
        for (key, state) in writes.records {
            let deleted_since = state.deleted.then_some(now);
            self.keep(app.clone(), key, state, deleted_since);
        }
        for key in writes.gone {
            self.records.remove(&(app.clone(), key));
        }
        for parked in writes.parked {
            self.park(user.clone(), app.clone(), parked);
        }
        Ok(())
    }

    fn append(&mut self, entry: Entry) -> Result<(), StoreError> {
        if !self.events.insert((entry.user.clone(), entry.event_id)) {
            return Err(StoreError::fault("an event id occurs twice"));
        }
        let position = entry.position;
        let row = Row {
            entry,
            dead_since: None,
        };
        self.log.insert(position, row);
        Ok(())
    }

    fn bury(&mut self, position: Position, since: Millis) {
        if let Some(row) = self.log.get_mut(&position) {
            row.dead_since = Some(since);
        }
    }

    /// Writes a record over; one that was deleted before is so since then.
    fn keep(
        &mut self,
        app: AppId,
        key: RecordKey,
        state: RecordState,
        deleted_since: Option<Millis>,
    ) {
        let earlier = self.records.get(&(app.clone(), key.clone()));
        let earlier = earlier.and_then(|kept| kept.deleted_since);
        let deleted_since = deleted_since.map(|since| earlier.unwrap_or(since));
        let kept = Kept {
            state,
            deleted_since,
        };
        self.records.insert((app, key), kept);
    }

    fn park(&mut self, user: UserId, app: AppId, parked: Parked) {
        let kept = ParkedChange {
            raw: parked.raw,
            reason: parked.reason,
        };
        let kept = (user, app, kept);
        if !self.parked.contains(&kept) {
            self.parked.push(kept);
        }
    }

    /// Dead rows do not count: one that is the last of a scope was a value of a deleted record, and no answer brings it.
    fn delta(&self, app: &AppId, scopes: &[Scope]) -> Delta {
        let visible = |row: &&Row| {
            row.dead_since.is_none() && row.entry.app == *app && scopes.contains(&row.entry.scope)
        };
        let horizon = self.log.values().rev().find(visible);
        let greatest = self.log.last_key_value();
        Delta {
            horizon: horizon.map(|row| row.entry.position).unwrap_or_default(),
            greatest: greatest.map(|(position, _)| *position).unwrap_or_default(),
            imported: self.import.until(),
        }
    }

    fn page(&self, window: &Window) -> Page {
        let mut rows: Vec<_> = window
            .stretches
            .iter()
            .flat_map(|stretch| self.rows(window, stretch))
            .collect();
        rows.sort_by_key(|entry| window.place(entry));
        Page::fill(rows.into_iter().cloned(), window)
    }

    fn rows<'a>(
        &'a self,
        window: &'a Window,
        stretch: &'a Stretch,
    ) -> impl Iterator<Item = &'a Entry> {
        let is_wanted = |entry: &&Entry| {
            let own = window
                .skip
                .as_ref()
                .is_some_and(|(user, client)| (user, client) == (&entry.user, &entry.client));
            entry.app == window.app
                && window.tables.has(&entry.table)
                && stretch.scope == entry.scope
                && (!own || entry.to_everyone || stretch.joined.is_some())
        };
        let range = (
            std::ops::Bound::Excluded(stretch.after),
            std::ops::Bound::Included(stretch.until),
        );
        let live = self.log.range(range);
        let live = live.filter(|(_, row)| row.dead_since.is_none());
        live.map(|(_, row)| &row.entry).filter(is_wanted)
    }
}
