//! One copy of some records that takes pushes as a store does, and short ways to write changes.

use std::collections::{BTreeMap, BTreeSet};

use sync_merge::{Context, Plan, Record, RowRef, Version, plan};
use sync_protocol::{
    Change, ClientId, FieldName, FieldTime, FieldWrite, Millis, Op, RecordId, TableName, UserId,
    Value,
};

/// A push: who sends it, and its changes with the place of the record that each is about.
#[derive(Clone, Debug)]
pub(crate) struct Pushed {
    pub(crate) client: &'static str,
    pub(crate) edits: Vec<(usize, Change)>,
}

/// Two records, and which rows of the log are live.
pub(crate) struct Replica {
    pub(crate) records: Vec<Record>,
    pub(crate) now: i64,
    /// Up to which row the clients have read.
    pub(crate) seen: i64,
    correction_bytes: usize,
    live: BTreeSet<i64>,
    last: i64,
}

/// What has to be equal in all replicas: the winning versions, and which records exist.
pub(crate) type State = Vec<(BTreeMap<FieldName, Version>, bool)>;

impl Replica {
    pub(crate) fn new() -> Self {
        Self::with_room(1 << 20)
    }

    /// One whose answers take so many bytes of corrections.
    pub(crate) fn with_room(correction_bytes: usize) -> Self {
        Self {
            records: vec![Record::default(); 2],
            now: 1_000,
            seen: 0,
            correction_bytes,
            live: BTreeSet::new(),
            last: 0,
        }
    }

    /// Takes a push.
    pub(crate) fn push(&mut self, push: &Pushed) -> Plan {
        let (user, client) = (
            UserId::new("u").expect("an identifier"),
            ClientId::new(push.client).expect("an identifier"),
        );
        let context = Context {
            user: &user,
            client: &client,
            now: Millis(self.now),
            skew_millis: 1_000,
            history_millis: 1_000_000,
            seen: self.seen,
            correction_bytes: self.correction_bytes,
        };
        let changes: Vec<_> = push
            .edits
            .iter()
            .map(|(record, change)| (*record, change))
            .collect();
        let done = plan(&context, self.records.clone(), &[], &changes);
        let base = self.last + 1;
        for row in 0..done.rows.len() {
            self.live.insert(stored(base, row));
            self.last = stored(base, row);
        }
        for dead in &done.dead {
            assert!(
                self.live.remove(dead),
                "row {dead} dies twice or was never there"
            );
        }
        self.records = done
            .records
            .iter()
            .map(|record| settled(record, base))
            .collect();
        done
    }

    pub(crate) fn state(&self) -> State {
        let versions = |record: &Record| {
            record
                .fields
                .iter()
                .map(|(name, held)| (name.clone(), held.version.clone()))
                .collect()
        };
        self.records
            .iter()
            .map(|record| (versions(record), record.inserted.is_some()))
            .collect()
    }

    pub(crate) fn live_rows(&self) -> BTreeSet<RowRef> {
        self.live.iter().copied().map(RowRef::Stored).collect()
    }

    pub(crate) fn rows_of_records(&self) -> BTreeSet<RowRef> {
        self.records.iter().flat_map(Record::live_rows).collect()
    }

    pub(crate) fn value(&self, record: usize, field: &str) -> Option<&str> {
        Some(self.version(record, field)?.value.as_str())
    }

    pub(crate) fn at(&self, record: usize, field: &str) -> Option<i64> {
        Some(self.version(record, field)?.at.millis())
    }

    pub(crate) fn is_deleted(&self, record: usize) -> bool {
        self.records[record].is_deleted()
    }

    fn version(&self, record: usize, field: &str) -> Option<&Version> {
        self.records[record]
            .fields
            .get(&name(field))
            .map(|held| &held.version)
    }
}

pub(crate) fn all_of(replica: &mut Replica, pushes: &[Pushed]) {
    for push in pushes {
        replica.push(push);
    }
}

/// A change; a write at 0 has no time.
pub(crate) fn change(op: Op, fields: &[(&str, &str, i64)]) -> Change {
    let write = |(field, value, at): &(&str, &str, i64)| FieldWrite {
        name: name(field),
        value: Value::parse(value).expect("JSON"),
        at: FieldTime::from_millis(*at),
    };
    Change {
        index: 0,
        table: TableName::new("t").expect("an identifier"),
        id: RecordId::new("r").expect("an identifier"),
        op,
        writes: fields.iter().map(write).collect(),
        at: FieldTime::NONE,
        deletion: None,
        space: None,
        actor: None,
        origin: None,
        schema_version: 1,
        event_id: None,
        raw: Value::null(),
    }
}

pub(crate) fn insert(fields: &[(&str, &str, i64)], at: i64) -> Change {
    Change {
        at: FieldTime::from_millis(at),
        ..change(Op::Insert, fields)
    }
}

pub(crate) fn update(fields: &[(&str, &str, i64)]) -> Change {
    change(Op::Update, fields)
}

pub(crate) fn deletion(fields: &[(&str, &str, i64)], at: i64) -> Change {
    Change {
        deletion: Some(FieldTime::from_millis(at)),
        ..change(Op::Delete, fields)
    }
}

fn name(field: &str) -> FieldName {
    FieldName::new(field).expect("an identifier")
}

fn stored(base: i64, row: usize) -> i64 {
    base + i64::try_from(row).expect("a small number")
}

/// The record as it is read back once its new rows stand in the log.
fn settled(record: &Record, base: i64) -> Record {
    let position = |row: RowRef| match row {
        RowRef::New(row) => RowRef::Stored(stored(base, row)),
        known @ RowRef::Stored(_) => known,
    };
    let mut record = record.clone();
    for held in record.fields.values_mut() {
        held.row = position(held.row);
    }
    record.inserted = record.inserted.map(position);
    record
}
