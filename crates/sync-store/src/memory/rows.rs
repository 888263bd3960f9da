//! The rows dialect in memory.

use std::collections::BTreeMap;

use sync_protocol::rows::{DownloadPage, is_canonical_uuid};
use sync_protocol::{AppId, ClientId, Millis, UserId};

use super::{Inner, Row};
use crate::{
    Download, DownloadBegun, FoundRow, Loaded, Logged, Position, RecordKey, Scope, StoreError,
    Upload, UploadDecision, UploadIntake, UploadLoaded, Uploaded, Wanted, imported, personal,
};

impl Inner {
    pub(super) fn upload(&mut self, upload: Upload) -> Result<Uploaded, StoreError> {
        imported(self.import.until())?;
        let intake = UploadIntake::new(upload);
        let loaded = self.load_upload(&intake)?;
        let decision = intake.decide(&loaded)?;
        let base = self.draw(decision.positions(), decision.now());
        self.write_upload(&decision, base)?;
        Ok(decision.answer(base))
    }

    fn load_upload(&self, intake: &UploadIntake) -> Result<UploadLoaded, StoreError> {
        let mut records = BTreeMap::new();
        for (app, keys) in intake.keys() {
            let mut loaded = Loaded::default();
            for key in keys {
                self.load_record(app, key.clone(), &mut loaded)?;
            }
            records.insert(app.clone(), loaded);
        }
        let caller = &intake.upload().caller;
        let logged = intake.change_ids().into_iter().filter_map(|id| {
            let key = (caller.user.clone(), caller.client.clone(), id);
            Some((id, self.uploads.get(&key)?.0))
        });
        Ok(UploadLoaded {
            records,
            logged: logged.collect(),
            greatest: self.newest(intake.scope(), None),
        })
    }

    fn write_upload(
        &mut self,
        decision: &UploadDecision,
        base: Position,
    ) -> Result<(), StoreError> {
        let (caller, now) = (decision.caller(), decision.now());
        let writes = decision.writes(base);
        for (app, writes) in writes.apps {
            self.put(&caller.user, &app, now, writes)?;
        }
        for (id, logged) in writes.logged {
            let key = (caller.user.clone(), caller.client.clone(), id);
            self.uploads.insert(key, (logged, now));
        }
        Ok(())
    }

    /// Forgets the uploads of this time or before.
    pub(super) fn forget_uploads(&mut self, before: Millis) {
        self.uploads.retain(|_, (_, at)| *at > before);
    }

    pub(super) fn download(&self, download: Download) -> Result<DownloadPage, StoreError> {
        imported(self.import.until())?;
        let scope = personal(&download.caller.user);
        let app = download.app.clone();
        let mut begun = DownloadBegun::new(download);
        while let Some(wanted) = begun.wanted() {
            let (rows, is_cut) = self.find_rows(&scope, &begun, wanted);
            begun.take(rows, is_cut)?;
        }
        loop {
            let missing = begun.missing_parents();
            if missing.is_empty() {
                break;
            }
            let keys = missing
                .iter()
                .flat_map(|(app, keys)| keys.iter().map(move |key| (app, key)));
            let found = keys.filter_map(|(app, key)| self.find_record(app, key));
            begun.take_parents(found.collect())?;
        }
        Ok(begun.answer(self.newest(&scope, app.as_ref())))
    }

    fn find_rows(
        &self,
        scope: &Scope,
        begun: &DownloadBegun,
        wanted: Wanted,
    ) -> (Vec<FoundRow>, bool) {
        let range = (
            std::ops::Bound::Excluded(wanted.after),
            std::ops::Bound::Included(wanted.until),
        );
        let app = begun.download().app.as_ref();
        let is_own = |row: &Row| {
            let own = row.entry.source_change_id.is_some() && !row.entry.to_everyone;
            own && begun.left_out() == Some(row.entry.client.as_str())
        };
        let rows = self.log.range(range).map(|(_, row)| row);
        let rows = rows.filter(|row| {
            row.dead_since.is_none()
                && row.entry.scope == *scope
                && app.is_none_or(|app| *app == row.entry.app)
                && is_canonical_uuid(row.entry.record.as_str())
                && !is_own(row)
        });
        let (mut found, mut room) = (Vec::new(), wanted.bytes);
        for row in rows {
            let key = RecordKey {
                scope: scope.clone(),
                table: row.entry.table.clone(),
                record: row.entry.record.clone(),
            };
            let Some(record) = self.find_record(&row.entry.app, &key) else {
                continue;
            };
            if record.position != row.entry.position {
                continue;
            }
            let bytes = record.bytes();
            if found.len() == wanted.rows {
                break;
            }
            if bytes > room && !found.is_empty() {
                return (found, true);
            }
            room = room.saturating_sub(bytes);
            found.push(record);
        }
        (found, false)
    }

    /// A record with its live rows.
    fn find_record(&self, app: &AppId, key: &RecordKey) -> Option<FoundRow> {
        let kept = self.records.get(&(app.clone(), key.clone()))?;
        let rows = kept
            .state
            .rows
            .iter()
            .map(|row| &self.log[&Position(*row)].entry);
        let rows: Vec<_> = rows.collect();
        let newest = *rows.last()?;
        Some(FoundRow {
            position: newest.position,
            app: app.clone(),
            table: key.table.clone(),
            record: key.record.clone(),
            op: newest.op,
            client: newest.client.to_string(),
            source_change_id: newest.source_change_id,
            to_everyone: newest.to_everyone,
            received: newest.received,
            version: kept.state.version,
            state: kept.state.state.clone(),
            data: rows.iter().map(|entry| entry.data()).collect(),
        })
    }

    /// The newest position of a scope, of one app or of all.
    fn newest(&self, scope: &Scope, app: Option<&AppId>) -> Position {
        let mut rows = self.log.values().rev();
        let newest = rows.find(|row| {
            row.dead_since.is_none()
                && row.entry.scope == *scope
                && app.is_none_or(|app| *app == row.entry.app)
        });
        newest.map(|row| row.entry.position).unwrap_or_default()
    }
}

/// What is remembered of uploads, by user, device and the device's number.
pub(super) type Uploads = BTreeMap<(UserId, ClientId, i64), (Logged, Millis)>;
