//! A row as it is now, for whoever writes it elsewhere.

use sync_merge::Record;
use sync_protocol::rows::RowOp;
use sync_protocol::{AppId, FieldName, Members, RecordId, Value};

use super::RowAfter;
use crate::{Loaded, RecordKey, StoreError};

impl Loaded {
    /// A loaded record as a row of the rows dialect; `None` if there is none, or only a part of one.
    ///
    /// # Errors
    ///
    /// [`StoreError::Fault`] if what was loaded cannot be read.
    pub fn row_now(&self, app: &AppId, key: &RecordKey) -> Result<Option<RowAfter>, StoreError> {
        let record = self.read(key)?;
        Ok(record.and_then(|record| RowAfter::of(app, key, &record, Fate::Stays)))
    }
}

/// Whether a record is still where it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is.
    Stays,
    /// It has moved into a space.
    Moved,
}

impl RowAfter {
    /// The row that a record is; `None` if it is only a part of one.
    pub(crate) fn of(app: &AppId, key: &RecordKey, record: &Record, fate: Fate) -> Option<Self> {
        let payload = match fate {
            Fate::Stays if !record.is_row() => return None,
            Fate::Stays => whole_row(record, &key.record),
            Fate::Moved => None,
        };
        Some(Self {
            app: app.clone(),
            table: key.table.clone(),
            record: key.record.clone(),
            version: record.version,
            op: match payload {
                Some(_) => RowOp::Update,
                None => RowOp::Delete,
            },
            payload,
        })
    }
}

/// The whole row of a record; `None` if it is deleted.
pub(super) fn whole_row(record: &Record, id: &RecordId) -> Option<Members<FieldName, Value>> {
    let mut row = record.row()?;
    if record.carried.is_empty() {
        name_row(&mut row, id);
    }
    Some(row)
}

/// Puts its id into a row that no rows client has written: they look for their key there.
pub(super) fn name_row(row: &mut Members<FieldName, Value>, id: &RecordId) {
    if row.find("id").is_none() {
        let name = FieldName::new("id").expect("a plain word is an identifier");
        row.0.insert(0, (name, Value::string(id.as_str())));
    }
}
