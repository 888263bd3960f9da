//! A batch of an import: what to load for it, and what to write.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sync_protocol::{
    AppId, Change, ClientId, EventIds, Millis, Op, Parked, SpaceId, UserId, Value,
};

use super::{Import, Mark, NANOS_PER_MILLI, ReplacedRow, SpacesOfUsers, Tally};
use crate::{
    Caller, Cursor, Decision, Entry, Grant, Intake, Loaded, Position, Push, Reach, RecordKey,
    RecordState, Role, Rules, Scope, StoreError, Writes,
};

/// How much later than its row a position is before clients notice, in nanoseconds.
const LATE_NANOS: i64 = 1_000_000_000;

/// Rows that were read, before anything is loaded for them.
#[derive(Debug)]
pub struct ImportBatch {
    rows: Vec<Row>,
    mark: Option<Mark>,
}

#[derive(Debug)]
struct Row {
    /// When it was made; never ahead of the wall clock.
    created: Position,
    reading: Reading,
}

/// As what a row was read.
#[derive(Debug)]
enum Reading {
    Change(Box<Intake>),
    Parked(ParkedRow),
    Nobodys(String),
}

/// A row that can never be a change, as it is kept for its user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParkedRow {
    /// Its user.
    pub user: UserId,
    /// Its app.
    pub app: AppId,
    /// The change, and why it is none.
    pub parked: Parked,
    /// When it was made.
    pub received: Millis,
}

/// A record as it is behind a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptRecord {
    /// Its app.
    pub app: AppId,
    /// Its key.
    pub key: RecordKey,
    /// What is kept of it.
    pub state: RecordState,
    /// Since when it is deleted, unless it was before this batch; none if it is not, or has no values left.
    pub deleted_since: Option<Millis>,
}

/// What a store writes for a batch, in one transaction.
#[derive(Debug, Default)]
pub struct ImportWrites {
    /// The rows to append, in order of position. What a later row of the batch has replaced is not among them.
    pub entries: Vec<Entry>,
    /// The records to write over.
    pub records: Vec<KeptRecord>,
    /// The records that are gone: they have moved elsewhere.
    pub gone: Vec<(AppId, RecordKey)>,
    /// The positions of rows that are dead, and since when.
    pub dead: Vec<(Position, Millis)>,
    /// What is kept aside.
    pub parked: Vec<ParkedRow>,
    /// The last position.
    pub last: Position,
    /// The last row.
    pub mark: Option<Mark>,
    /// What became of the rows.
    pub tally: Tally,
}

impl ImportBatch {
    /// Reads rows.
    #[must_use]
    pub fn read(import: Import) -> Self {
        let Import {
            rows, spaces, now, ..
        } = import;
        let mark = rows.last().map(|row| row.mark.clone());
        let mut reader = Reader {
            spaces: &spaces,
            reaches: HashMap::new(),
            now: now.0.saturating_mul(NANOS_PER_MILLI),
        };
        let rows = rows.into_iter().map(|row| reader.read(row)).collect();
        Self { rows, mark }
    }

    /// The records to load, by app, each once.
    #[must_use]
    pub fn keys(&self) -> BTreeMap<AppId, BTreeSet<RecordKey>> {
        let mut keys: BTreeMap<AppId, BTreeSet<RecordKey>> = BTreeMap::new();
        for intake in self.intakes() {
            let of_app = keys.entry(intake.push().app.clone()).or_default();
            of_app.extend(intake.keys());
        }
        keys
    }

    /// The scopes that are read and written.
    #[must_use]
    pub fn scopes(&self) -> BTreeSet<Scope> {
        let keys = self.intakes().flat_map(Intake::keys);
        keys.map(|key| key.scope).collect()
    }

    fn intakes(&self) -> impl Iterator<Item = &Intake> {
        self.rows.iter().filter_map(|row| match &row.reading {
            Reading::Change(intake) => Some(&**intake),
            Reading::Parked(_) | Reading::Nobodys(_) => None,
        })
    }

    /// Lets the rows stand one after the other against what was loaded, at positions above `last`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Fault`] if what was loaded cannot be read.
    pub fn decide(
        self,
        loaded: HashMap<AppId, Loaded>,
        rules: Rules,
        last: Position,
    ) -> Result<ImportWrites, StoreError> {
        let mut run = Run {
            loaded,
            rules,
            log: BTreeMap::new(),
            records: BTreeMap::new(),
            writes: ImportWrites {
                last,
                mark: self.mark,
                ..ImportWrites::default()
            },
        };
        for row in self.rows {
            run.take(row)?;
        }
        Ok(run.end())
    }
}

/// Reads rows as changes.
struct Reader<'a> {
    spaces: &'a SpacesOfUsers,
    reaches: HashMap<String, Reach>,
    now: i64,
}

impl Reader<'_> {
    fn read(&mut self, row: ReplacedRow) -> Row {
        let created = Position(row.created_nanos.clamp(1, self.now.max(1)));
        let reading = self.read_change(row, Millis(created.0 / NANOS_PER_MILLI));
        Row {
            created,
            reading: reading.unwrap_or_else(Reading::Nobodys),
        }
    }

    fn read_change(&mut self, row: ReplacedRow, received: Millis) -> Result<Reading, String> {
        let user = UserId::new(&row.user).map_err(|error| format!("the user id {error}"))?;
        let app = AppId::new(&row.app).map_err(|error| format!("the app id {error}"))?;
        let raw = row.change();
        let mut change = match Change::parse(&raw) {
            Ok(change) => change,
            Err(reason) => return Ok(Reading::Parked(parked(user, app, raw, reason, received))),
        };
        // The column says who has read it, whatever the values name.
        change.space.take_if(|_| row.space.is_none());
        let reach = self.reach(&user, change.shared_space());
        let written = reach.writable().cloned().collect();
        let push = Push {
            caller: Caller {
                user,
                // A label that was never allowed here says nothing.
                client: ClientId::new(&row.client).unwrap_or_else(|_| ClientId::nameless()),
            },
            app,
            // Nobody reads the answer.
            since: Cursor::at(Position(i64::MAX)),
            changes: vec![change],
            parked: Vec::new(),
            now: received,
            ids: EventIds::new(received, row.mark.id.bits()),
        };
        let intake = Intake::new(push, reach, &written);
        Ok(Reading::Change(Box::new(intake)))
    }

    /// What a user counts as having reached: the spaces that the user has ever written into.
    fn reach(&mut self, user: &UserId, named: Option<&SpaceId>) -> Reach {
        if let Some(known) = self.reaches.get(user.as_str())
            && named.is_none_or(|space| known.writable_space(space).is_some())
        {
            return known.clone();
        }
        let known = self.spaces.get(user.as_str()).into_iter().flatten();
        let known = known.filter_map(|space| SpaceId::new(space).ok());
        let spaces: BTreeSet<SpaceId> = known.chain(named.cloned()).collect();
        let grant = |space| Grant {
            role: Some(Role::Writer),
            ..Grant::new(space, Position(0))
        };
        let grants: Vec<Grant> = spaces.into_iter().map(grant).collect();
        let reach = Reach::new(user, &grants);
        self.reaches.insert(user.to_string(), reach.clone());
        reach
    }
}

fn parked(user: UserId, app: AppId, raw: Value, reason: String, received: Millis) -> ParkedRow {
    let parked = Parked {
        index: 0,
        raw,
        reason,
    };
    ParkedRow {
        user,
        app,
        parked,
        received,
    }
}

/// A record, and since when it is deleted.
type Known = (RecordState, Option<Millis>);

/// A batch on its way through the merge.
struct Run {
    /// What is known of each app's records, kept up to what was decided so far.
    loaded: HashMap<AppId, Loaded>,
    rules: Rules,
    /// The rows that were appended and are live.
    log: BTreeMap<Position, Entry>,
    /// The records that differ from what was loaded; those without a state are gone.
    records: BTreeMap<(AppId, RecordKey), Option<Known>>,
    writes: ImportWrites,
}

impl Run {
    fn take(&mut self, row: Row) -> Result<(), StoreError> {
        self.writes.tally.rows += 1;
        match row.reading {
            Reading::Change(intake) => self.decide(*intake, row.created)?,
            Reading::Parked(parked) => self.park(parked),
            Reading::Nobodys(reason) => self.writes.tally.drop_row(&reason),
        }
        Ok(())
    }

    fn park(&mut self, parked: ParkedRow) {
        self.writes.tally.park(&parked.parked.reason);
        self.writes.parked.push(parked);
    }

    fn decide(&mut self, intake: Intake, created: Position) -> Result<(), StoreError> {
        let app = intake.push().app.clone();
        let loaded = self.loaded.entry(app.clone()).or_default();
        let decision = intake.decide(loaded, self.rules)?.map_err(|missing| {
            let count = missing.0.len();
            StoreError::fault(format!("an import lacks {count} scopes"))
        })?;
        let base = created.max(Position(self.writes.last.0.saturating_add(1)));
        let writes = decision.writes(base);
        loaded.follow(&writes);
        self.count(&decision, &writes, base.0 - created.0);
        self.keep(&app, decision.push(), writes);
        Ok(())
    }

    fn count(&mut self, decision: &Decision, writes: &Writes, later_nanos: i64) {
        let tally = &mut self.writes.tally;
        let rows = decision.rows_of_changes();
        tally.appended += number(rows);
        tally.moved += number(writes.entries.len() - rows);
        tally.superseded += number(writes.dead.len());
        tally.ahead += number(decision.changes_ahead());
        let is_shared = |entry: &&Entry| entry.scope.space().is_some();
        let shared = writes.entries.iter().filter(is_shared).count();
        tally.shared += number(shared);
        tally.personal += number(writes.entries.len() - shared);
        let is_late = !writes.entries.is_empty() && later_nanos > LATE_NANOS;
        tally.late += u64::from(is_late);
        let Some(change) = decision.push().changes.first().filter(|_| rows == 0) else {
            return;
        };
        let says_nothing =
            change.op != Op::Insert && change.writes.is_empty() && change.deletion.is_none();
        let outcome = match (says_nothing, decision.loses()) {
            (true, _) => &mut tally.empty,
            (false, true) => &mut tally.lost,
            (false, false) => &mut tally.replays,
        };
        *outcome += 1;
    }

    fn keep(&mut self, app: &AppId, push: &Push, writes: Writes) {
        let now = push.now;
        for entry in writes.entries {
            self.writes.last = entry.position;
            self.log.insert(entry.position, entry);
        }
        for position in writes.dead {
            if self.log.remove(&position).is_none() {
                self.writes.dead.push((position, now));
            }
        }
        for (key, state) in writes.records {
            let kept = self.records.entry((app.clone(), key)).or_default();
            let earlier = kept.as_ref().and_then(|(_, since)| *since);
            let since = state.deleted.then(|| earlier.unwrap_or(now));
            *kept = Some((state, since));
        }
        for key in writes.gone {
            self.records.insert((app.clone(), key), None);
        }
        for parked in writes.parked {
            self.park(ParkedRow {
                user: push.caller.user.clone(),
                app: app.clone(),
                parked,
                received: now,
            });
        }
    }

    fn end(self) -> ImportWrites {
        let Self {
            log,
            records,
            mut writes,
            ..
        } = self;
        writes.entries = log.into_values().collect();
        for ((app, key), kept) in records {
            match kept {
                Some((state, deleted_since)) => writes.records.push(KeptRecord {
                    app,
                    key,
                    state,
                    deleted_since,
                }),
                None => writes.gone.push((app, key)),
            }
        }
        writes
    }
}

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
