//! A device that reads as the replaced service answers: rows with `created_at > since`, the server's time as the next
//! cursor. It must lose rows, or the harness proves nothing.

use std::time::{Duration, UNIX_EPOCH};

use tokio_postgres::{Client, NoTls};

use super::Shared;
use super::world::{Seen, scopes};
use sync_protocol::Millis;

/// The pause between two pages; clients of the replaced service wait for 30 s, and lose less often.
const PAUSE: Duration = Duration::from_millis(100);

pub(super) struct Naive {
    world: Shared,
    since: Millis,
    seen: Seen,
}

impl Naive {
    pub(super) fn new(world: Shared, number: usize) -> Self {
        Self {
            world,
            since: Millis(0),
            seen: Seen {
                user: number,
                client: String::new(),
                table: None,
                records: Vec::new(),
            },
        }
    }

    /// Reads until the writers are done. Its own clock is a steady one: it loses rows without any help.
    pub(super) async fn run(mut self) -> Seen {
        loop {
            let Ok((client, connection)) = tokio_postgres::connect(self.world.url(), NoTls).await
            else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            tokio::spawn(connection);
            if self.read_on(&client).await.is_ok() {
                return self.seen;
            }
        }
    }

    async fn read_on(&mut self, client: &Client) -> Result<(), tokio_postgres::Error> {
        loop {
            let is_last = self.world.is_done();
            self.page(client).await?;
            if is_last {
                return Ok(());
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn page(&mut self, client: &Client) -> Result<(), tokio_postgres::Error> {
        let sql = "select record_id
            from sync_changes
            where scope = any($1)
                and created_at > $2
            order by created_at";
        let since = UNIX_EPOCH + Duration::from_millis(self.since.0.unsigned_abs());
        let rows = client
            .query(sql, &[&scopes(self.seen.user), &since])
            .await?;
        self.since = self.world.steady_now();
        self.seen
            .records
            .extend(rows.iter().map(|row| row.get::<_, String>(0)));
        Ok(())
    }
}
