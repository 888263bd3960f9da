//! The threads that read, each with a connection of its own and one snapshot per job.

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use rusqlite::Connection;
use sync_store::StoreError;

use crate::connection;
use crate::failure::{Failure, Outcome};
use crate::job::Job;
use crate::queue::{Load, Queue};
use crate::writer::overloaded;

/// How many reads a store does at a time: each is short, and mostly from memory.
pub const READERS: usize = 4;
/// How many jobs may wait; then the store is overloaded.
const MAX_WAITING: usize = 4096;

/// The reading threads. They end, and are waited for, when the value is dropped.
#[derive(Debug)]
pub(crate) struct Readers {
    queue: Arc<Queue<Box<dyn Job>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Readers {
    /// Starts the threads on the database at `path`.
    pub(crate) fn start(path: &Path) -> Outcome<Self> {
        let mut readers = Self {
            queue: Arc::new(Queue::new(MAX_WAITING)),
            threads: Vec::new(),
        };
        for number in 0..READERS {
            let connection = connection::reader(path)?;
            let jobs = Arc::clone(&readers.queue);
            let thread = std::thread::Builder::new()
                .name(format!("sqlite-reader-{number}"))
                .spawn(move || run(&connection, &jobs))
                .map_err(|error| Failure(StoreError::unavailable(format!("no thread: {error}"))))?;
            readers.threads.push(thread);
        }
        Ok(readers)
    }

    /// Sends a job to the threads.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] if too many wait.
    pub(crate) fn send(&self, job: Box<dyn Job>) -> Result<(), StoreError> {
        self.queue.offer(job).map_err(overloaded)
    }

    /// How busy they are.
    pub(crate) fn load(&self) -> Load {
        self.queue.load()
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.queue.close();
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so already.
            let _ = thread.join();
        }
    }
}

fn run(connection: &Connection, queue: &Queue<Box<dyn Job>>) {
    while let Some(mut job) = queue.take() {
        if !job.is_abandoned() {
            let snapshot = in_snapshot(connection, job.as_mut());
            job.answer(snapshot.map_err(|failure| failure.0));
        }
    }
}

/// Does a job in one snapshot, which its first read pins.
fn in_snapshot(connection: &Connection, job: &mut dyn Job) -> Outcome<()> {
    connection.prepare_cached("BEGIN DEFERRED")?.execute([])?;
    // An error of the job itself is its answer.
    let _ = job.run(connection);
    if !connection.is_autocommit() {
        connection.prepare_cached("ROLLBACK")?.execute([])?;
    }
    Ok(())
}
