//! [`SqliteStore`]: the trait, spelled as jobs for the threads that own the file.

use std::path::Path;
use std::sync::Arc;

use rusqlite::Connection;
use sync_protocol::rows::DownloadPage;
use sync_protocol::{Answer, AppId, Millis, UserId};
use sync_store::{
    Download, Erased, Erasure, Export, Exported, Grant, Importer, Membership, ParkedChange,
    Pending, Position, Promoted, Promotion, Pull, Push, Pushed, Regrant, Regranted, Rules, Stats,
    Store, StoreError, Swept, Upload, Uploaded,
};

use crate::connection::{self, OnlyServer};
use crate::failure::Outcome;
use crate::job::{Sent, job};
use crate::readers::{READERS, Readers};
use crate::tables::{clock, export, grants, maintenance, parked};
use crate::writer::Writer;
use crate::{erase, exchange, migrations, rows, sweep};

/// About how many bytes a row takes beside its values.
const ROW_BYTES: usize = 512;

/// A store in one SQLite file, for one process. Dropping it waits for its threads.
#[derive(Debug)]
pub struct SqliteStore {
    rules: Rules,
    // Dropped in this order: those who use the file, then the right to use it. The writer comes last of the threads,
    // since the last connection to be closed copies the write-ahead log back.
    readers: Readers,
    writer: Writer,
    _only: OnlyServer,
}

impl SqliteStore {
    /// Opens the database at `path`, makes the file and its folder if they are missing, and brings the schema up to
    /// date. It waits for the disk: not for a runtime thread that has other work.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] if the file cannot be opened, or another process serves from it;
    /// [`StoreError::Fault`] if it is no database, was made by a newer server, or has another history.
    pub fn open(path: impl AsRef<Path>, rules: Rules) -> Result<Self, StoreError> {
        open(path.as_ref(), rules).map_err(|failure| failure.0)
    }

    pub(crate) fn rules(&self) -> Rules {
        self.rules
    }

    /// Has a job done by the thread that writes, committed before it is answered.
    pub(crate) fn write<T, F>(&self, bytes: usize, work: F) -> Pending<'_, T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Outcome<T> + Send + 'static,
    {
        Box::pin(async move {
            let (job, answer): Sent<T> = job(bytes, work);
            self.writer.send(job)?;
            answer.await.map_err(|_| gone())?
        })
    }

    /// Has a job done by a thread that reads, in one snapshot.
    pub(crate) fn read<T, F>(&self, work: F) -> Pending<'_, T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Outcome<T> + Send + 'static,
    {
        Box::pin(async move {
            let (job, answer): Sent<T> = job(0, work);
            self.readers.send(job)?;
            answer.await.map_err(|_| gone())?
        })
    }
}

impl Store for SqliteStore {
    fn push(&self, push: Push) -> Pending<'_, Pushed> {
        let rules = self.rules;
        let bytes = bytes(&push);
        let work = move |connection: &Connection| exchange::push(connection, push, rules);
        // A push without changes only reads.
        match bytes {
            0 => self.read(work),
            bytes => self.write(bytes, work),
        }
    }

    fn upload(&self, upload: Upload) -> Pending<'_, Uploaded> {
        let payloads = upload
            .changes
            .iter()
            .map(|change| change.raw.as_str().len());
        let bytes = payloads.sum::<usize>() + upload.changes.len() * ROW_BYTES;
        let work = move |connection: &Connection| rows::upload(connection, upload);
        // An upload without changes only reads.
        match bytes {
            0 => self.read(work),
            bytes => self.write(bytes, work),
        }
    }

    fn download(&self, download: Download) -> Pending<'_, DownloadPage> {
        self.read(move |connection| rows::download(connection, download))
    }

    fn pull(&self, pull: Pull) -> Pending<'_, Answer> {
        let rules = self.rules;
        self.read(move |connection| exchange::pull(connection, &pull, rules))
    }

    /// Mostly nothing has changed, and nothing is written.
    fn regrant(&self, membership: Membership, now: Millis) -> Pending<'_, Regranted> {
        Box::pin(async move {
            let membership = Arc::new(membership);
            let told = Arc::clone(&membership);
            let look = move |connection: &Connection| {
                let known = grants::of(connection, &told.user)?;
                Ok(Regrant::new(&known, &told).grants(Position::default()))
            };
            let (changed, outcome) = self.read(look).await?;
            if changed.is_empty() {
                return Ok(outcome);
            }
            self.write(changed.len() * ROW_BYTES, move |connection| {
                exchange::regrant(connection, &membership, now)
            })
            .await
        })
    }

    fn grants(&self, user: UserId) -> Pending<'_, Vec<Grant>> {
        self.read(move |connection| grants::of(connection, &user))
    }

    /// Mostly there is nothing to move, and nothing is written.
    fn promote(&self, promotion: Promotion) -> Pending<'_, Promoted> {
        let rules = self.rules;
        Box::pin(async move {
            let promotion = Arc::new(promotion);
            let looked_for = Arc::clone(&promotion);
            let look = move |connection: &Connection| exchange::has_denied(connection, &looked_for);
            if !self.read(look).await? {
                return Ok(Promoted::default());
            }
            // Records may be large: nobody waits for it who shares its commit.
            self.write(usize::MAX, move |connection| {
                exchange::promote(connection, &promotion, rules)
            })
            .await
        })
    }

    fn parked(&self, user: UserId, app: AppId) -> Pending<'_, Vec<ParkedChange>> {
        self.read(move |connection| parked::of(connection, &user, &app))
    }

    fn export(&self, export: Export) -> Pending<'_, Exported> {
        self.read(move |connection| export::page(connection, &export))
    }

    fn erase(&self, erasure: Erasure) -> Pending<'_, Erased> {
        // As a sweep.
        self.write(usize::MAX, move |connection| {
            erase::erase(connection, &erasure)
        })
    }

    fn sweep(&self, now: Millis) -> Pending<'_, Swept> {
        let before = Millis(now.0.saturating_sub(self.rules.history_millis));
        let remembered = self.rules.remembers_since(now);
        // Larger than any batch: nobody waits for it who shares its commit.
        self.write(usize::MAX, move |connection| {
            sweep::sweep(connection, before, remembered)
        })
    }

    fn stats(&self) -> Pending<'_, Stats> {
        Box::pin(async move {
            let threads = [self.readers.load(), self.writer.load()];
            let dead_rows = self.read(maintenance::count_dead).await?;
            Ok(Stats {
                dead_rows,
                pool_size: count(READERS + 1),
                pool_available: count(threads.iter().map(|load| load.idle).sum()),
                pool_waiting: count(threads.iter().map(|load| load.waiting).sum()),
            })
        })
    }

    fn importer(&self) -> Option<&dyn Importer> {
        Some(self)
    }

    /// Whether a snapshot can be read and the file be locked for writing.
    fn ready(&self) -> Pending<'_, ()> {
        Box::pin(async move {
            self.read(clock::last).await?;
            self.write(0, clock::last).await?;
            Ok(())
        })
    }
}

fn open(path: &Path, rules: Rules) -> Outcome<SqliteStore> {
    connection::make_folder(path)?;
    let only = connection::lock(path)?;
    let mut connection = connection::writer(path)?;
    migrations::bring_up_to_date(&mut connection)?;
    Ok(SqliteStore {
        rules,
        readers: Readers::start(path)?,
        writer: Writer::start(connection)?,
        _only: only,
    })
}

fn gone() -> StoreError {
    StoreError::unavailable("the thread of the database has ended")
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// About how many bytes a push writes.
fn bytes(push: &Push) -> usize {
    let values = push.changes.iter().flat_map(|change| &change.writes);
    let values: usize = values.map(|write| write.value.as_str().len()).sum();
    let parked: usize = push
        .parked
        .iter()
        .map(|parked| parked.raw.as_str().len())
        .sum();
    values + parked + (push.changes.len() + push.parked.len()) * ROW_BYTES
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use serde_json::json;
    use sync_store::contract::{Device, START};

    use super::*;

    #[tokio::test]
    async fn a_sweep_is_committed_before_what_waits_behind_it_begins() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sync.db");
        let rules = Rules {
            history_millis: 0,
            ..Rules::default()
        };
        let store = Arc::new(SqliteStore::open(&path, rules).unwrap());
        let seam: Arc<dyn Store> = store.clone();
        let mut phone = Device::new(&seam, "anna", "phone");
        for n in 0..2 {
            let at = format!("2025-02-01T10:00:00.00{n}Z");
            let fields = json!({"n": {"value": n, "at": at}});
            let update = json!({"table": "tasks", "id": "a", "op": "update", "fields": fields});
            phone.push(json!([update])).await;
        }
        let (go, wait) = mpsc::channel::<()>();
        let busy = store.write(usize::MAX, move |_| Ok(wait.recv().is_ok()));
        let behind = store.write(1, move |_| {
            maintenance::count_dead(&connection::reader(&path)?)
        });
        let (busy, swept, dead, _) = tokio::join!(biased; busy, store.sweep(START), behind, async {
            go.send(())
        });
        assert_eq!((busy, swept.map(|swept| swept.rows)), (Ok(true), Ok(1)));
        assert_eq!(dead, Ok(0));
    }
}
