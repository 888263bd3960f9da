//! A record as stores keep it: its winning versions as one text, which points at the rows that have the values.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};
use sync_merge::{Claim, Claimed, Held, Record, RowRef, Version, deleted_at};
use sync_protocol::{ClientId, FieldName, FieldTime, SpaceId, UserId, Value};

use crate::StoreError;

/// The live rows of the loaded records, by position.
pub(crate) type Rows = HashMap<i64, Row>;

/// What is loaded of a live row.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) user: UserId,
    pub(crate) to_everyone: bool,
    pub(crate) bytes: usize,
    pub(crate) values: HashMap<FieldName, Value>,
}

/// A record as a store writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordState {
    /// The winning versions without their values, and the claims: one opaque text.
    pub state: String,
    /// The positions of its live rows, ascending.
    pub rows: Vec<i64>,
    /// How many effective changes it has had.
    pub version: i64,
    /// Whether it is deleted and still has values to be removed.
    pub deleted: bool,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Stored {
    /// Per field: time in milliseconds, client, position of its row.
    f: BTreeMap<FieldName, (i64, ClientIdText, i64)>,
    /// The position of the first insert.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    i: Option<i64>,
    /// The claims.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) c: Vec<StoredClaim>,
    /// Whether its delete never moves.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    k: bool,
    /// The space that it was meant for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    s: Option<SpaceId>,
    /// The fields that whole rows have brought.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    r: BTreeSet<FieldName>,
    /// Those that the last whole row lacks.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    a: BTreeSet<FieldName>,
    /// The position of the last row, if it holds nothing but a version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    u: Option<i64>,
}

type ClientIdText = String;

#[derive(Serialize, Deserialize)]
pub(crate) struct StoredClaim(pub(crate) UserId, ClientIdText, FieldName, i64, u64, i64);

impl RecordState {
    /// How a store keeps a record whose new rows stand at `base` and the positions behind it.
    #[must_use]
    pub fn write(record: &Record, base: i64) -> Self {
        let position = |row: RowRef| match row {
            RowRef::Stored(position) => position,
            RowRef::New(place) => base + i64::try_from(place).unwrap_or(i64::MAX - base),
        };
        let fields = record.fields.iter().map(|(name, held)| {
            let Version { at, client, .. } = &held.version;
            (
                name.clone(),
                (at.millis(), client.to_string(), position(held.row)),
            )
        });
        let claims = record.claims.iter().map(|claim| {
            let Claim {
                user,
                client,
                field,
                claimed,
                given,
            } = claim;
            let (at, given) = (claimed.at.millis(), given.millis());
            StoredClaim(
                user.clone(),
                client.to_string(),
                field.clone(),
                at,
                claimed.digest,
                given,
            )
        });
        let absent = record.fields.iter().filter(|(_, held)| held.is_absent);
        let absent = absent.map(|(name, _)| name);
        let stored = Stored {
            f: fields.collect(),
            i: record.inserted.map(position),
            c: claims.collect(),
            k: record.keeps_deletion,
            s: record.meant_for.clone(),
            r: record.carried.clone(),
            a: absent.cloned().collect(),
            u: record.unchanged.map(position),
        };
        Self {
            state: text(&stored),
            rows: record.live_rows().into_iter().map(position).collect(),
            version: record.version,
            deleted: record.is_deleted() && (record.fields.len() > 1 || record.inserted.is_some()),
        }
    }

    /// Reads a record back, with the fields of its live rows.
    ///
    /// # Errors
    ///
    /// [`StoreError::Fault`] if the text or a row is not what was written.
    pub(crate) fn read(state: &str, version: i64, rows: &Rows) -> Result<Record, StoreError> {
        let stored = parse(state)?;
        let mut fields = BTreeMap::new();
        for (name, (at, client, position)) in stored.f {
            let lacks = || StoreError::fault(format!("row {position} lacks a field of its record"));
            let row = rows.get(&position).ok_or_else(lacks)?;
            let version = Version {
                at: FieldTime::from_millis(at),
                client: client_id(&client)?,
                value: row.values.get(&name).cloned().ok_or_else(lacks)?,
            };
            let held = Held {
                version,
                author: row.user.clone(),
                row: RowRef::Stored(position),
                to_everyone: row.to_everyone,
                is_absent: stored.a.contains(&name),
            };
            fields.insert(name, held);
        }
        let claims = stored
            .c
            .into_iter()
            .map(read_claim)
            .collect::<Result<_, _>>()?;
        Ok(Record {
            fields,
            inserted: stored.i.map(RowRef::Stored),
            claims,
            version,
            keeps_deletion: stored.k,
            meant_for: stored.s,
            carried: stored.r,
            unchanged: stored.u.map(RowRef::Stored),
        })
    }
}

fn client_id(text: &str) -> Result<ClientId, StoreError> {
    ClientId::new(text).map_err(|error| StoreError::fault(format!("a client id {error}")))
}

fn read_claim(stored: StoredClaim) -> Result<Claim, StoreError> {
    let StoredClaim(user, client, field, at, digest, given) = stored;
    let claimed = Claimed {
        at: FieldTime::from_millis(at),
        digest,
    };
    Ok(Claim {
        user,
        client: client_id(&client)?,
        field,
        claimed,
        given: FieldTime::from_millis(given),
    })
}

/// What is left of a deleted record after the history window: its tombstone, without the other fields and the insert.
///
/// # Errors
///
/// [`StoreError::Fault`] if the text is not what was written.
pub fn strip_deleted(state: &RecordState) -> Result<RecordState, StoreError> {
    let mut stored = parse(&state.state)?;
    stored.f.retain(|name, _| name == deleted_at());
    stored.i = None;
    (stored.r, stored.a, stored.u) = Default::default();
    stored
        .c
        .retain(|StoredClaim(_, _, field, ..)| field == deleted_at());
    let rows: BTreeSet<i64> = stored.f.values().map(|(.., row)| *row).collect();
    Ok(RecordState {
        state: text(&stored),
        rows: rows.into_iter().collect(),
        version: state.version,
        deleted: false,
    })
}

pub(crate) fn parse(state: &str) -> Result<Stored, StoreError> {
    serde_json::from_str(state)
        .map_err(|error| StoreError::fault(format!("a record's state cannot be read: {error}")))
}

pub(crate) fn text(stored: &Stored) -> String {
    serde_json::to_string(stored).expect("names and numbers are always JSON")
}
