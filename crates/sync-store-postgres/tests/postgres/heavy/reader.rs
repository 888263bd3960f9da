//! A device that reads small pages with the cursor it was last given.

use std::time::Duration;

use sync_protocol::{TableName, Tables};
use sync_store::{Store, StoreError};

use super::world::{Seen, user_name};
use super::{Shared, table_of};
use crate::support::{ids, pull};

/// The pause at the head, and after an answer that the store is away.
const PAUSE: Duration = Duration::from_millis(25);

pub(super) struct Reader {
    world: Shared,
    limit: usize,
    pub(super) since: String,
    pub(super) seen: Seen,
}

impl Reader {
    /// One that reads one table or all, in pages of its own size.
    pub(super) fn new(world: Shared, number: usize) -> Self {
        let mut reader = Self::of_writer(world, number, format!("reader{number}"));
        reader.limit = 3 + 2 * number;
        reader.seen.table = table_of(number);
        reader
    }

    /// One that goes on from the cursors of pushes.
    pub(super) fn of_writer(world: Shared, number: usize, client: String) -> Self {
        Self {
            world,
            limit: 200,
            since: String::new(),
            seen: Seen {
                user: number,
                client,
                table: None,
                records: Vec::new(),
            },
        }
    }

    /// Reads until the writers are done and nothing is left.
    pub(super) async fn run(mut self) -> Seen {
        loop {
            let is_last = self.world.is_done();
            match self.page().await {
                Ok(true) => {}
                Ok(false) if is_last => return self.seen,
                Ok(false) | Err(StoreError::Unavailable(_)) => tokio::time::sleep(PAUSE).await,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Reads one page: whether there are more.
    async fn page(&mut self) -> Result<bool, StoreError> {
        let mut request = pull(&user_name(self.seen.user), &self.seen.client, &self.since);
        if let Some(table) = self.seen.table {
            request.tables = Tables::one(TableName::new(table).unwrap());
        }
        request.limit = self.limit;
        request.now = self.world.now();
        let answer = self.world.store.pull(request).await?;
        assert!(answer.server_changes.len() <= self.limit);
        assert!(
            !answer.has_more || answer.synced_until > self.since,
            "a page moves the cursor"
        );
        self.seen.records.extend(ids(&answer));
        self.since = answer.synced_until;
        Ok(answer.has_more)
    }
}
