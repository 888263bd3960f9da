//! What a download is made of: records as they are now, each at the position of its newest row, and the parents that a page
//! needs before its device has been given them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Deserialize;
use serde_json::value::RawValue;
use sync_merge::deleted_at;
use sync_protocol::rows::{DownloadPage, DownloadedRow, RowOp, is_canonical_uuid};
use sync_protocol::{AppId, FieldName, FieldTime, Members, Millis, Op, RecordId, TableName, Value};

use super::now::name_row;
use super::references::{Parent, referred};
use super::{Download, OwnRows};
use crate::{Position, RecordKey, StoreError, personal};

/// About the most bytes of rows that a page takes up. Clients rely on pages that are cut by their number of rows alone, so
/// it is far above what those have; but what an answer takes up is bounded (P8).
const MAX_PAGE_BYTES: usize = 64 * 1024 * 1024;
/// How many times more rows are asked for, where records that are no rows (yet) have left a page short.
const MAX_ROUNDS: usize = 10;
/// How many parents are brought with a page at the most: beyond, those of a chain come by themselves.
const MAX_PARENTS: usize = 10_000;

/// A record whose newest live row stands in the window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundRow {
    /// The position of its newest row.
    pub position: Position,
    /// Its app.
    pub app: AppId,
    /// Its table.
    pub table: TableName,
    /// Its id.
    pub record: RecordId,
    /// What its newest row did.
    pub op: Op,
    /// The client that wrote the newest row.
    pub client: String,
    /// The number that the device gave that change.
    pub source_change_id: Option<i64>,
    /// Whether that row goes out to the client that wrote it, too.
    pub to_everyone: bool,
    /// When that was received.
    pub received: Millis,
    /// The version of the record.
    pub version: i64,
    /// Its state, as [`RecordState`](crate::RecordState) wrote it.
    pub state: String,
    /// The column `data` of all of its live rows, in order of position.
    pub data: Vec<String>,
}

impl FoundRow {
    /// How many bytes of values it has.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.data.iter().map(String::len).sum()
    }
}

/// The rows that a store is to look for: the records of the user's personal scope whose newest live row stands behind
/// `after` and up to `until`, whose id is a UUID in canonical text, without own ones (if there is a device whose uploads are left
/// out, those of its rows that have a `source_change_id` and do not go out to everyone), in order of position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Behind which position.
    pub after: Position,
    /// Up to which position.
    pub until: Position,
    /// How many rows at the most.
    pub rows: usize,
    /// How many bytes of values at the most; the first row counts as fitting.
    pub bytes: usize,
}

/// A download that is being answered.
#[derive(Debug)]
pub struct DownloadBegun {
    download: Download,
    shown: Vec<DownloadedRow>,
    /// The parents that the page brings beside its own rows, by position.
    parents: BTreeMap<Position, DownloadedRow>,
    /// What refers to a parent that was not looked for yet.
    open: BTreeSet<(AppId, TableName, RecordId)>,
    asked: BTreeSet<(AppId, TableName, RecordId)>,
    next: Position,
    rounds: usize,
    room: usize,
    end: End,
}

/// How far a page has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// There may be more to look for.
    Open,
    /// It is cut, and there is more behind it.
    More,
    /// It has all there is.
    Head,
}

/// The part of a record's state that matters here.
#[derive(Default, Deserialize)]
struct Shown<'a> {
    #[serde(default)]
    i: Option<i64>,
    #[serde(default, borrow)]
    r: Vec<&'a RawValue>,
    #[serde(default, borrow)]
    a: Vec<&'a RawValue>,
}

impl DownloadBegun {
    /// Begins to answer.
    #[must_use]
    pub fn new(download: Download) -> Self {
        let is_empty = download.until != 0 && download.after >= download.until;
        Self {
            next: Position(download.after),
            shown: Vec::new(),
            parents: BTreeMap::new(),
            open: BTreeSet::new(),
            asked: BTreeSet::new(),
            rounds: 0,
            room: MAX_PAGE_BYTES,
            end: if is_empty { End::Head } else { End::Open },
            download,
        }
    }

    /// The download.
    #[must_use]
    pub fn download(&self) -> &Download {
        &self.download
    }

    /// The device whose own rows are left out, if they are.
    #[must_use]
    pub fn left_out(&self) -> Option<&str> {
        match self.download.own {
            OwnRows::LeftOut => Some(self.download.caller.client.as_str()),
            OwnRows::Included => None,
        }
    }

    /// What to look for next, if the page is not done: one row more than it has room for.
    #[must_use]
    pub fn wanted(&self) -> Option<Wanted> {
        (self.end == End::Open).then(|| Wanted {
            after: self.next,
            until: self.until(),
            rows: self.download.limit - self.shown.len() + 1,
            bytes: self.room,
        })
    }

    fn until(&self) -> Position {
        match self.download.until {
            0 => Position(i64::MAX),
            until => Position(until),
        }
    }

    /// Takes what was found; `is_cut` says that rows were left out that did not fit.
    ///
    /// # Errors
    ///
    /// [`StoreError::Fault`] if it cannot be read.
    pub fn take(&mut self, rows: Vec<FoundRow>, is_cut: bool) -> Result<(), StoreError> {
        let wanted = self.wanted().map_or(0, |wanted| wanted.rows);
        let is_last = rows.len() < wanted && !is_cut;
        self.rounds += 1;
        for row in rows {
            if self.shown.len() == self.download.limit {
                self.end = End::More;
                return Ok(());
            }
            self.next = row.position;
            self.room = self.room.saturating_sub(row.bytes());
            if let Some(shown) = show(row)? {
                self.refer(&shown)?;
                self.shown.push(shown);
            }
        }
        if is_last {
            self.end = End::Head;
        } else if is_cut || self.rounds == MAX_ROUNDS {
            self.end = End::More;
        }
        Ok(())
    }

    /// The records to look for by their keys, since the page needs them: none if it needs no more.
    pub fn missing_parents(&mut self) -> BTreeMap<AppId, Vec<RecordKey>> {
        let mut missing: BTreeMap<AppId, Vec<RecordKey>> = BTreeMap::new();
        if self.asked.len() > MAX_PARENTS {
            return missing;
        }
        let scope = personal(&self.download.caller.user);
        let shown = self.shown.iter();
        let shown: BTreeSet<_> = shown
            .map(|row| (&row.schema, &row.table, &row.pk))
            .collect();
        for parent in std::mem::take(&mut self.open) {
            let (app, table, record) = &parent;
            if shown.contains(&(app, table, record)) || !self.asked.insert(parent.clone()) {
                continue;
            }
            let key = RecordKey {
                scope: scope.clone(),
                table: table.clone(),
                record: record.clone(),
            };
            missing.entry(app.clone()).or_default().push(key);
        }
        missing
    }

    /// Takes parents that were looked for. Those up to the end of the page its device was given before; and what it has
    /// uploaded itself, it has.
    ///
    /// # Errors
    ///
    /// [`StoreError::Fault`] if one cannot be read.
    pub fn take_parents(&mut self, rows: Vec<FoundRow>) -> Result<(), StoreError> {
        for row in rows {
            let own = row.source_change_id.is_some() && !row.to_everyone;
            let is_own = own && self.left_out() == Some(row.client.as_str());
            let position = row.position;
            if position <= self.next || is_own {
                continue;
            }
            if let Some(shown) = show(row)?.filter(|row| !row.deleted) {
                self.refer(&shown)?;
                self.parents.insert(position, shown);
            }
        }
        Ok(())
    }

    fn refer(&mut self, row: &DownloadedRow) -> Result<(), StoreError> {
        let tables = &self.download.tables;
        let described = tables.find(&row.schema, &row.table);
        let Some(payload) = row
            .payload
            .as_ref()
            .filter(|_| described.is_some_and(|described| !described.references.is_empty()))
        else {
            return Ok(());
        };
        let fields = members(payload.as_str())?;
        let values = fields.0.iter().map(|(name, value)| (name, value));
        let parents = referred(&row.schema, &row.table, values, tables);
        let parents: Vec<Parent> = parents.filter_map(Result::ok).collect();
        for Parent { table, record, .. } in parents {
            self.open.insert((table.0, table.1, record));
        }
        Ok(())
    }

    /// The answer, where the apps that were asked for stand at this position.
    #[must_use]
    pub fn answer(mut self, horizon: Position) -> DownloadPage {
        let end = self.until().min(horizon);
        let next = match self.end {
            End::More => self.next,
            End::Open | End::Head => self.next.max(end),
        };
        self.shown
            .extend(std::mem::take(&mut self.parents).into_values());
        DownloadPage {
            changes: self.shown,
            has_more: self.end == End::More,
            next_after: next.0,
            window_until: match self.download.until {
                0 => horizon.0,
                until => until,
            },
        }
    }
}

/// A record as it goes out; `None` if its insert has not arrived: nobody knows whether it is whole.
fn show(row: FoundRow) -> Result<Option<DownloadedRow>, StoreError> {
    let state: Shown<'_> = serde_json::from_str(&row.state)
        .map_err(|error| StoreError::fault(format!("a record's state cannot be read: {error}")))?;
    let payload = payload(&row, &state)?;
    if payload.is_some() && state.i.is_none() || !is_canonical_uuid(row.record.as_str()) {
        return Ok(None);
    }
    let op = match row.op {
        _ if payload.is_none() => RowOp::Delete,
        Op::Insert => RowOp::Insert,
        Op::Update | Op::Delete => RowOp::Update,
    };
    Ok(Some(DownloadedRow {
        server_id: row.position.0,
        schema: row.app,
        table: row.table,
        op,
        pk: row.record,
        server_version: row.version,
        deleted: payload.is_none(),
        payload,
        source_id: row.client,
        source_change_id: row.source_change_id.unwrap_or(0),
        ts: FieldTime::from_millis(row.received.0).to_string(),
    }))
}

/// The whole row; `None` if it is deleted. Of the values of a field the newest row has the one that stands: each row holds
/// what stood when it was appended.
fn payload(row: &FoundRow, state: &Shown<'_>) -> Result<Option<Value>, StoreError> {
    if let ([only], true) = (
        row.data.as_slice(),
        state.a.is_empty() && !state.r.is_empty(),
    ) && !only.contains(r#""deletedAt""#)
    {
        return Value::parse(only).map(Some).map_err(unreadable);
    }
    let mut fields: Members<FieldName, Value> = Members::default();
    let mut places: HashMap<FieldName, usize> = HashMap::new();
    for data in &row.data {
        for (name, value) in members(data)?.0 {
            match places.get(&name) {
                Some(place) => fields.0[*place].1 = value,
                None => {
                    places.insert(name.clone(), fields.0.len());
                    fields.0.push((name, value));
                }
            }
        }
    }
    let deletion = fields.find(deleted_at().as_str());
    if deletion.is_some_and(|deletion| !deletion.is_null()) {
        return Ok(None);
    }
    let (carried, absent) = (names(&state.r)?, names(&state.a)?);
    fields.0.retain(|(name, _)| {
        !absent.contains(name) && (name != deleted_at() || carried.contains(name))
    });
    if state.r.is_empty() {
        name_row(&mut fields, &row.record);
    }
    let text = serde_json::to_string(&fields).expect("names and values are always JSON");
    Value::parse(&text).map(Some).map_err(unreadable)
}

fn names(texts: &[&RawValue]) -> Result<BTreeSet<FieldName>, StoreError> {
    let names = texts.iter().map(|text| serde_json::from_str(text.get()));
    names.collect::<Result<_, _>>().map_err(unreadable)
}

fn members(json: &str) -> Result<Members<FieldName, Value>, StoreError> {
    serde_json::from_str(json).map_err(unreadable)
}

fn unreadable(error: serde_json::Error) -> StoreError {
    StoreError::fault(format!("a row of the log cannot be read: {error}"))
}
