//! A record that was loaded, as a row.

use sync_merge::{Record, deleted_at};
use sync_protocol::AppId;
use sync_protocol::rows::RowOp;

use crate::{Loaded, RecordKey, RowAfter, StoreError};

impl Loaded {
    /// A record as the row that it is now; `None` if there is none.
    ///
    /// # Errors
    ///
    /// [`StoreError::Fault`] if what was loaded cannot be read.
    pub fn row_now(&self, app: &AppId, key: &RecordKey) -> Result<Option<RowAfter>, StoreError> {
        let record = self.read(key)?;
        Ok(record.map(|record| row_after(app, key, &record)))
    }
}

fn row_after(app: &AppId, key: &RecordKey, record: &Record) -> RowAfter {
    let fields = record.fields.iter();
    let fields = fields
        .filter(|(name, _)| *name != deleted_at())
        .map(|(name, held)| (name.clone(), held.version.value.clone()));
    RowAfter {
        app: app.clone(),
        table: key.table.clone(),
        record: key.record.clone(),
        version: record.version,
        op: if record.is_deleted() {
            RowOp::Delete
        } else {
            RowOp::Update
        },
        payload: (!record.is_deleted()).then(|| fields.collect()),
    }
}
