//! A piece of work for a thread that owns a connection, and the way its answer goes back to the runtime.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use rusqlite::Connection;
use sync_store::StoreError;
use tokio::sync::oneshot;

use crate::failure::Outcome;

/// What a thread does inside a transaction, and answers once that is committed or rolled back.
pub(crate) trait Job: Send {
    /// About how many bytes it writes.
    fn bytes(&self) -> usize;

    /// Whether nobody waits for the answer any more.
    fn is_abandoned(&self) -> bool;

    /// Does the work and keeps the answer. An error, or a panic, means that what was written has to be rolled back.
    fn run(&mut self, connection: &Connection) -> Result<(), StoreError>;

    /// Sends the answer; the error instead, if the transaction came to nothing.
    fn answer(self: Box<Self>, transaction: Result<(), StoreError>);
}

impl fmt::Debug for dyn Job {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Job")
    }
}

/// A job, and where its answer arrives.
pub(crate) type Sent<T> = (Box<dyn Job>, oneshot::Receiver<Result<T, StoreError>>);

/// Makes a job of a function that writes about so many bytes.
pub(crate) fn job<T, F>(bytes: usize, work: F) -> Sent<T>
where
    T: Send + 'static,
    F: FnOnce(&Connection) -> Outcome<T> + Send + 'static,
{
    let (sender, receiver) = oneshot::channel();
    let task = Task {
        bytes,
        work: Some(work),
        outcome: Err(StoreError::unavailable("the job was not done")),
        sender,
    };
    (Box::new(task), receiver)
}

struct Task<T, F> {
    bytes: usize,
    work: Option<F>,
    outcome: Result<T, StoreError>,
    sender: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Job for Task<T, F>
where
    T: Send,
    F: FnOnce(&Connection) -> Outcome<T> + Send,
{
    fn bytes(&self) -> usize {
        self.bytes
    }

    fn is_abandoned(&self) -> bool {
        self.sender.is_closed()
    }

    fn run(&mut self, connection: &Connection) -> Result<(), StoreError> {
        let Some(work) = self.work.take() else {
            return Ok(());
        };
        // What a panic leaves half done is in the transaction, which is rolled back.
        self.outcome = match catch_unwind(AssertUnwindSafe(|| work(connection))) {
            Ok(outcome) => outcome.map_err(|failure| failure.0),
            Err(panic) => Err(StoreError::fault(format!("a panic: {}", text(&*panic)))),
        };
        self.outcome.as_ref().map(|_| ()).map_err(Clone::clone)
    }

    fn answer(self: Box<Self>, transaction: Result<(), StoreError>) {
        // Nobody may be waiting any more.
        let _ = self.sender.send(transaction.and(self.outcome));
    }
}

fn text(panic: &(dyn Any + Send)) -> &str {
    let plain = panic.downcast_ref::<&str>().copied();
    plain
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a text")
}
