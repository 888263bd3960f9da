//! What a push does, decided: what to write, what to read for its answer, and the answer.

use std::collections::{BTreeMap, BTreeSet};

use sync_merge::{Context, NewRow, Plan, RowOrigin};
use sync_protocol::rows::is_canonical_uuid;
use sync_protocol::{
    Answer, Change, Conflict, EventId, FieldOut, Members, Op, Parked, SUPPORTED_SCHEMA_VERSION,
    ServerChange, Tables, Value, Warning, WarningCode,
};

use crate::intake::Edits;
use crate::request::{own_rows, synced_until};
use crate::rows::Fate;
use crate::{
    Cursor, Delta, Entry, Loaded, MAX_PAGE, PAGE_BYTES, Page, Position, Push, Pushed, Reach,
    RecordKey, RecordState, RowAfter, Rules, Scope, Touched, Window, server_changes,
};

/// A value over this is left out of a conflict.
const MAX_CONFLICT_VALUE_BYTES: usize = 64 * 1024;
/// How much of an answer conflicts may take; those over it are left out, since corrections say what stands.
const CONFLICT_BYTES: usize = PAGE_BYTES / 4;
/// How much of an answer corrections may take; those over it go through the log.
const CORRECTION_BYTES: usize = PAGE_BYTES / 4;

/// What a push does, before it has its positions.
#[derive(Debug)]
pub struct Decision {
    push: Push,
    reach: Reach,
    rules: Rules,
    keys: Vec<RecordKey>,
    plan: Plan,
    event_ids: Vec<EventId>,
}

/// What a store writes for a push, in one transaction.
#[derive(Debug, Default)]
pub struct Writes {
    /// The rows to append.
    pub entries: Vec<Entry>,
    /// The records to write over.
    pub records: Vec<(RecordKey, RecordState)>,
    /// The records that are gone: they have moved elsewhere.
    pub gone: Vec<RecordKey>,
    /// The positions of rows that are dead from now on.
    pub dead: Vec<Position>,
    /// What is kept aside.
    pub parked: Vec<Parked>,
}

impl Decision {
    /// Lets the changes of a push stand against the records that they are for.
    pub(crate) fn new(
        push: Push,
        reach: Reach,
        rules: Rules,
        loaded: &Loaded,
        edits: Edits,
    ) -> Self {
        let Edits {
            keys,
            records,
            targets,
            moves,
        } = edits;
        let edits: Vec<_> = targets.into_iter().zip(&push.changes).collect();
        let context = Context {
            user: &push.caller.user,
            client: &push.caller.client,
            now: push.now,
            skew_millis: rules.skew_millis,
            history_millis: rules.history_millis,
            seen: push.since.position().0,
            correction_bytes: CORRECTION_BYTES,
        };
        let plan = sync_merge::plan(&context, records, &moves, &edits);
        let event_ids = event_ids(&push, loaded, &plan);
        Self {
            push,
            reach,
            rules,
            keys,
            plan,
            event_ids,
        }
    }

    /// How many positions to draw.
    #[must_use]
    pub fn positions(&self) -> usize {
        self.plan.rows.len() + self.gap()
    }

    /// Positions left free before the rows: one where the client has to read all of them, so that a cursor just before
    /// them has moved all the same.
    fn gap(&self) -> usize {
        usize::from(self.plan.unread == Some(0))
    }

    /// The push.
    #[must_use]
    pub fn push(&self) -> &Push {
        &self.push
    }

    /// What to write if the first of the positions drawn is `base` and the others follow it.
    #[must_use]
    pub fn writes(&self, base: Position) -> Writes {
        let base = at(base, self.gap());
        let rows = self.plan.rows.iter().enumerate();
        let state = |place: &usize| {
            (
                self.keys[*place].clone(),
                RecordState::write(&self.plan.records[*place], base.0),
            )
        };
        Writes {
            entries: rows
                .map(|(place, row)| self.entry(row, place, at(base, place)))
                .collect(),
            records: self.plan.changed.iter().map(state).collect(),
            gone: self
                .plan
                .gone
                .iter()
                .map(|place| self.keys[*place].clone())
                .collect(),
            dead: self
                .plan
                .dead
                .iter()
                .map(|position| Position(*position))
                .collect(),
            parked: self.push.parked.clone(),
        }
    }

    fn entry(&self, row: &NewRow, place: usize, position: Position) -> Entry {
        let key = &self.keys[row.record];
        let change = match row.origin {
            RowOrigin::Change(place) => Some(&self.push.changes[place]),
            RowOrigin::Server => None,
        };
        let named = match change {
            Some(change) => change.space.as_ref(),
            None => self.plan.records[row.record].meant_for.as_ref(),
        };
        let space = key.scope.space().or(named);
        Entry {
            position,
            scope: key.scope.clone(),
            app: self.push.app.clone(),
            table: key.table.clone(),
            record: key.record.clone(),
            event_id: self.event_ids[place],
            op: row.op,
            fields: row.fields.clone(),
            user: row.user.clone(),
            client: row.client.clone(),
            space: space.cloned(),
            received: self.push.now,
            schema_version: change.map_or(SUPPORTED_SCHEMA_VERSION, |change| change.schema_version),
            actor: change.and_then(|change| change.actor.clone()),
            origin: change.and_then(|change| change.origin.clone()),
            opens: row.opens,
            to_everyone: row.to_everyone,
            undated: row.undated,
            source_change_id: None,
        }
    }

    /// The rows of the caller's personal scope that were written, as they are now: what business tables are to hold.
    #[must_use]
    pub fn rows_after(&self) -> Vec<RowAfter> {
        let personal = self.reach.personal();
        let gone = self.plan.gone.iter().map(|place| (place, Fate::Moved));
        let changed = self.plan.changed.iter().map(|place| (place, Fate::Stays));
        let own = changed.chain(gone).filter(|(place, _)| {
            let key = &self.keys[**place];
            key.scope == *personal && is_canonical_uuid(key.record.as_str())
        });
        let after = own.filter_map(|(place, fate)| {
            let record = &self.plan.records[*place];
            RowAfter::of(&self.push.app, &self.keys[*place], record, fate)
        });
        after.collect()
    }

    /// Where the delta begins: it is over all tables.
    fn begins(&self) -> Cursor {
        self.push.since.of_several_tables()
    }

    /// The rows of the answer's delta: all tables, up to the horizon as it was before this push appended.
    #[must_use]
    pub fn window(&self, horizon: Position) -> Window {
        Window {
            app: self.push.app.clone(),
            tables: Tables::All,
            stretches: self.reach.stretches(self.begins(), horizon),
            skip: own_rows(&self.push.caller, self.push.since),
            limit: MAX_PAGE,
            bytes: PAGE_BYTES - CONFLICT_BYTES - CORRECTION_BYTES,
        }
    }

    /// The scopes whose standing the answer needs.
    pub fn readable(&self) -> impl Iterator<Item = &Scope> {
        self.reach.readable()
    }

    /// What the client is told, with the page of [`Decision::window`], where the log stood before this push, and the
    /// first position that was drawn for it.
    #[must_use]
    pub fn answer(self, (window, page): (&Window, &Page), delta: Delta, base: Position) -> Pushed {
        let appended = self.plan.rows.len();
        let unread = self.plan.unread;
        // What the answer has no room for is still to be read: the cursor stands just before it.
        let horizon = if appended == 0 {
            delta.horizon
        } else {
            Position(at(base, self.gap() + unread.unwrap_or(appended)).0 - 1)
        };
        let delta = Delta {
            horizon,
            greatest: delta.greatest.max(horizon),
            imported: delta.imported,
        };
        let mut server_changes = server_changes(&page.entries, self.push.now, self.rules);
        server_changes.extend(self.corrections());
        let answer = Answer {
            server_changes,
            conflicts: self.conflicts(),
            synced_until: synced_until(self.begins(), &self.reach, (window, page), delta)
                .to_string(),
            has_more: page.has_more || unread.is_some(),
            warnings: self.warnings(),
            removed_spaces: self.reach.left_behind(self.push.since),
        };
        Pushed {
            answer,
            appended,
            touched: self.touched(base),
        }
    }

    /// Whether the client would be told of a write that stands against one of its own.
    pub(crate) fn loses(&self) -> bool {
        !self.plan.corrections.is_empty()
    }

    /// How many changes had a time further ahead than allowed.
    pub(crate) fn changes_ahead(&self) -> usize {
        self.plan.ahead.len()
    }

    /// How many rows to append come from the changes; the others are the server's own.
    pub(crate) fn rows_of_changes(&self) -> usize {
        let own = |row: &&NewRow| matches!(row.origin, RowOrigin::Change(_));
        self.plan.rows.iter().filter(own).count()
    }

    fn touched(&self, base: Position) -> Vec<Touched> {
        let base = at(base, self.gap());
        let mut touched: BTreeMap<_, (BTreeSet<_>, Position)> = BTreeMap::new();
        for (place, row) in self.plan.rows.iter().enumerate() {
            let key = &self.keys[row.record];
            let (tables, position) = touched.entry((&key.scope, row.to_everyone)).or_default();
            tables.insert(key.table.clone());
            *position = at(base, place);
        }
        let touched = touched.into_iter();
        touched
            .map(|((scope, to_everyone), (tables, position))| Touched {
                scope: scope.clone(),
                tables,
                position,
                to_everyone,
            })
            .collect()
    }

    fn corrections(&self) -> Vec<ServerChange> {
        let mut ids = self.push.ids.clone();
        for _ in &self.plan.rows {
            ids.fresh();
        }
        let correction = |correction: &sync_merge::Correction| {
            let key = &self.keys[correction.record];
            let fields = correction
                .fields
                .iter()
                .map(|(name, value, at)| (name.clone(), FieldOut::new(value.clone(), *at)));
            ServerChange {
                event_id: ids.fresh(),
                schema_version: SUPPORTED_SCHEMA_VERSION,
                table: key.table.clone(),
                id: key.record.clone(),
                op: Op::Update,
                data: None,
                fields: Some(fields.collect::<Members<_, _>>()),
                deleted_at: None,
                space_id: key.scope.space().cloned(),
                actor: None,
                origin: None,
                author: key.scope.space().and(correction.author.clone()),
            }
        };
        self.plan.corrections.iter().map(correction).collect()
    }

    fn conflicts(&self) -> Vec<Conflict> {
        let mut room = CONFLICT_BYTES;
        let short = |value: &Value| {
            (value.as_str().len() <= MAX_CONFLICT_VALUE_BYTES).then(|| value.clone())
        };
        let size =
            |value: &Option<Value>| value.as_ref().map_or(0, |value| value.as_str().len()) + 150;
        let mut conflicts = Vec::new();
        for clash in &self.plan.clashes {
            let key = &self.keys[clash.record];
            let (client_value, server_value) = (short(&clash.pushed.0), short(&clash.stands.0));
            let takes = size(&client_value) + size(&server_value);
            if takes > room {
                break;
            }
            room -= takes;
            conflicts.push(Conflict {
                table: key.table.clone(),
                id: key.record.clone(),
                field: clash.field.clone(),
                client_value,
                client_timestamp: clash.pushed.1.to_string(),
                server_value,
                server_timestamp: clash.stands.1.to_string(),
            });
        }
        conflicts
    }

    fn warnings(&self) -> Vec<Warning> {
        let ahead = self.plan.ahead.iter().map(|change| Warning {
            change: *change,
            code: WarningCode::ClockAhead,
            message: "a time is too far ahead of the server; the time of receipt was taken"
                .to_owned(),
        });
        let denied = self
            .push
            .changes
            .iter()
            .filter(|change| self.is_denied(change))
            .map(|change| Warning {
                change: change.index,
                code: WarningCode::SpaceWriteDenied,
                message: "you may not write into this space; the change is kept for you alone"
                    .to_owned(),
            });
        let parked = self.push.parked.iter().map(|parked| Warning {
            change: parked.index,
            code: WarningCode::Parked,
            message: format!(
                "the change cannot be stored and is kept aside: {}",
                parked.reason
            ),
        });
        let mut warnings: Vec<_> = ahead.chain(denied).chain(parked).collect();
        warnings.sort_by_key(|warning| warning.change);
        warnings
    }

    fn is_denied(&self, change: &Change) -> bool {
        change
            .shared_space()
            .is_some_and(|space| self.reach.writable_space(space).is_none())
    }
}

/// The position of a row, by its place among those that were drawn for.
pub(crate) fn at(base: Position, place: usize) -> Position {
    Position(base.0 + i64::try_from(place).unwrap_or(i64::MAX - base.0))
}

/// The event id of each new row: the client's own if it is new to the user, else a fresh one.
fn event_ids(push: &Push, loaded: &Loaded, plan: &Plan) -> Vec<EventId> {
    let mut taken = loaded.taken().clone();
    let mut ids = push.ids.clone();
    let mut event_id = |row: &NewRow| {
        let own = match row.origin {
            RowOrigin::Change(place) => push.changes[place].event_id,
            RowOrigin::Server => None,
        };
        own.filter(|id| taken.insert(*id))
            .unwrap_or_else(|| ids.fresh())
    };
    plan.rows.iter().map(&mut event_id).collect()
}
