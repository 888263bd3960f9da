//! A device that pushes records of its own and reads with the cursors of the answers.

use std::time::Duration;

use sync_store::{Store, StoreError};

use super::Shared;
use super::reader::Reader;
use super::world::{Seen, user_name, writable};
use crate::support::{ids, push, random};

/// The pause after an answer that the store is away.
const RETRY_AFTER: Duration = Duration::from_millis(20);

/// What became of the records of a writer.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) acknowledged: Vec<String>,
    /// Given up after they were rolled back.
    pub(super) rolled_back: Vec<String>,
}

pub(super) struct Writer {
    world: Shared,
    number: usize,
    outcome: Outcome,
    reader: Reader,
}

impl Writer {
    pub(super) fn new(world: Shared, number: usize) -> Self {
        let reader = Reader::of_writer(world.clone(), number, format!("writer{number}"));
        Self {
            world,
            number,
            outcome: Outcome::default(),
            reader,
        }
    }

    /// Pushes until there are commits enough, then reads to the end.
    pub(super) async fn run(mut self) -> (Outcome, Seen) {
        let mut count = 0;
        while self.world.wants_more() {
            self.push_one(count).await;
            count += 1;
        }
        self.world.writer_is_done();
        (self.outcome, self.reader.run().await)
    }

    async fn push_one(&mut self, count: usize) {
        let (records, changes) = self.changes(count);
        let mut tries = 0;
        loop {
            tries += 1;
            let (user, client) = (user_name(self.number), self.reader.seen.client.clone());
            let mut request = push(&user, &client, &self.reader.since, &changes);
            request.now = self.world.now();
            match self.world.store.push(request).await {
                Ok(pushed) => {
                    self.world
                        .commits
                        .fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                    self.outcome.acknowledged.extend(records);
                    self.reader.seen.records.extend(ids(&pushed.answer));
                    self.reader.since = pushed.answer.synced_until;
                    return;
                }
                // Only the first try has certainly left nothing.
                Err(StoreError::Unavailable(text))
                    if text.contains("fault injection") && tries == 1 =>
                {
                    if random().is_multiple_of(2) {
                        self.outcome.rolled_back.extend(records);
                        return;
                    }
                }
                Err(StoreError::Unavailable(_)) => tokio::time::sleep(RETRY_AFTER).await,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// One or two new records, here and there.
    fn changes(&self, count: usize) -> (Vec<String>, String) {
        let records: Vec<String> = (0..=random() % 2)
            .map(|place| format!("{}-{count}-{place}", self.number))
            .collect();
        let changes: Vec<String> = records.iter().map(|id| self.change(id)).collect();
        (records, format!("[{}]", changes.join(",")))
    }

    fn change(&self, id: &str) -> String {
        let pick = usize::try_from(random() % 3).unwrap();
        let space = match &writable(self.number)[pick] {
            Some(space) => format!(r#","spaceId":"{space}""#),
            None => String::new(),
        };
        let table = ["tasks", "notes"][pick % 2];
        format!(r#"{{"table":"{table}","id":"{id}","op":"insert","data":{{"title":"x"{space}}}}}"#)
    }
}
