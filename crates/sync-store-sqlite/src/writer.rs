//! The one thread that writes. Jobs that wait are committed together, each inside a savepoint of its own; their answers
//! leave after the commit (P1, P2). What would make a commit too large goes into the next one, so that a small job is
//! answered before a large one behind it begins.

use std::sync::Arc;
use std::thread::JoinHandle;

use rusqlite::Connection;
use sync_store::StoreError;

use crate::failure::{Failure, Outcome};
use crate::job::Job;
use crate::queue::{Load, Queue, Refused};

/// How many jobs may wait; then the store is overloaded.
const MAX_WAITING: usize = 1024;
/// How many jobs share a commit at the most: none waits for long for those that came after it.
const MAX_JOBS_PER_COMMIT: usize = 128;
/// How many bytes several jobs that share a commit write at the most: a few times what clients push from day to day (200
/// changes), and some tens of milliseconds of work. A job that is larger is alone.
const MAX_BYTES_PER_COMMIT: usize = 512 * 1024;

/// The writing thread. It ends, and is waited for, when the value is dropped.
#[derive(Debug)]
pub(crate) struct Writer {
    queue: Arc<Queue<Box<dyn Job>>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread, which owns the connection from then on.
    pub(crate) fn start(connection: Connection) -> Outcome<Self> {
        let queue = Arc::new(Queue::new(MAX_WAITING));
        let jobs = Arc::clone(&queue);
        let thread = std::thread::Builder::new()
            .name("sqlite-writer".to_owned())
            .spawn(move || run(&connection, &jobs))
            .map_err(|error| Failure(StoreError::unavailable(format!("no thread: {error}"))))?;
        Ok(Self {
            queue,
            thread: Some(thread),
        })
    }

    /// Sends a job to the thread.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] if too many wait.
    pub(crate) fn send(&self, job: Box<dyn Job>) -> Result<(), StoreError> {
        self.queue.offer(job).map_err(overloaded)
    }

    /// How busy it is.
    pub(crate) fn load(&self) -> Load {
        self.queue.load()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue.close();
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so already.
            let _ = thread.join();
        }
    }
}

/// What a caller hears whose job a queue does not take.
pub(crate) fn overloaded(refused: Refused) -> StoreError {
    StoreError::unavailable(match refused {
        Refused::Full => "too many requests wait for the database",
        Refused::Closed => "the store is closed",
    })
}

fn run(connection: &Connection, queue: &Queue<Box<dyn Job>>) {
    while let Some(first) = queue.take() {
        let mut batch = Batch::default();
        let mut next = Some(first);
        while let Some(job) = next {
            batch.take(connection, job);
            next = queue.take_waiting(|job| batch.has_room_for(job.as_ref()));
        }
        batch.finish(connection);
    }
}

/// Jobs that share a transaction.
#[derive(Default)]
struct Batch {
    done: Vec<Box<dyn Job>>,
    bytes: usize,
    state: State,
}

/// Where the transaction of a batch stands.
#[derive(Default)]
enum State {
    /// Not yet begun.
    #[default]
    Idle,
    /// Open.
    Open,
    /// SQLite has given it up, or it could not be begun: nothing of it stays.
    Lost(StoreError),
}

impl Batch {
    /// Whether a job may be done before those that are done are answered.
    fn has_room_for(&self, job: &dyn Job) -> bool {
        let is_lost = matches!(self.state, State::Lost(_));
        let bytes = self.bytes.saturating_add(job.bytes());
        let fits = self.done.len() < MAX_JOBS_PER_COMMIT && bytes <= MAX_BYTES_PER_COMMIT;
        !is_lost && (fits || self.done.is_empty())
    }

    /// Does a job inside its savepoint. If it fails, nothing of it stays, and the others are not touched.
    fn take(&mut self, connection: &Connection, mut job: Box<dyn Job>) {
        if job.is_abandoned() {
            return;
        }
        if let State::Idle = self.state {
            self.state = match connection.execute_batch("BEGIN IMMEDIATE") {
                Ok(()) => State::Open,
                Err(error) => State::Lost(Failure::from(error).0),
            };
        }
        if let State::Open = self.state {
            self.bytes = self.bytes.saturating_add(job.bytes());
            if let Err(failure) = in_savepoint(connection, job.as_mut()) {
                self.state = State::Lost(failure.0);
            }
        }
        self.done.push(job);
    }

    /// Commits, and then tells every job what became of it.
    fn finish(self, connection: &Connection) {
        let committed = match self.state {
            State::Idle => Ok(()),
            State::Open => commit(connection),
            State::Lost(error) => Err(error),
        };
        if let Err(error) = &committed {
            roll_back(connection);
            tracing::warn!(%error, jobs = self.done.len(), "a transaction came to nothing");
        }
        for job in self.done {
            job.answer(committed.clone());
        }
    }
}

/// Does a job between savepoint and release. An error means that the whole transaction is lost.
fn in_savepoint(connection: &Connection, job: &mut dyn Job) -> Outcome<()> {
    connection.prepare_cached("SAVEPOINT job")?.execute([])?;
    let outcome = job.run(connection);
    if connection.is_autocommit() {
        // A full disk, say: SQLite itself has rolled back, and with it the jobs before this one.
        return Err(Failure(outcome.err().unwrap_or_else(|| {
            StoreError::unavailable("the transaction was rolled back")
        })));
    }
    if let Err(error) = outcome {
        tracing::warn!(%error, "a job failed and is rolled back");
        connection.prepare_cached("ROLLBACK TO job")?.execute([])?;
    }
    connection.prepare_cached("RELEASE job")?.execute([])?;
    Ok(())
}

fn commit(connection: &Connection) -> Result<(), StoreError> {
    let committed = connection.execute_batch("COMMIT");
    committed.map_err(|error| Failure::from(error).0)
}

fn roll_back(connection: &Connection) {
    if !connection.is_autocommit() {
        // If even this fails, the next BEGIN will, and say so.
        let _ = connection.execute_batch("ROLLBACK");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use tokio::sync::oneshot;

    use super::*;
    use crate::job::{Sent, job};

    /// A word with a `parent` that is not there makes the commit fail, and nothing before it.
    const TABLE: &str = "
PRAGMA foreign_keys = ON;
CREATE TABLE words (
    word   TEXT PRIMARY KEY,
    parent TEXT REFERENCES words (word) DEFERRABLE INITIALLY DEFERRED
) STRICT;
";

    type Answer<T> = oneshot::Receiver<Result<T, StoreError>>;

    /// A writer whose thread is busy until it is let go, so that all jobs of a test wait together.
    struct Busy {
        writer: Writer,
        go: mpsc::Sender<()>,
        _first: Answer<()>,
    }

    fn busy() -> Busy {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(TABLE).unwrap();
        let writer = Writer::start(connection).unwrap();
        let (go, wait) = mpsc::channel();
        // So large that it shares its commit with nobody.
        let (first, answer): Sent<()> = job(usize::MAX, move |_| {
            let _ = wait.recv();
            Ok(())
        });
        writer.send(first).unwrap();
        while writer.load().waiting > 0 {
            std::thread::yield_now();
        }
        Busy {
            writer,
            go,
            _first: answer,
        }
    }

    impl Busy {
        fn send<T: Send + 'static>(
            &self,
            work: impl FnOnce(&Connection) -> Outcome<T> + Send + 'static,
        ) -> Answer<T> {
            self.send_large(1, work)
        }

        fn send_large<T: Send + 'static>(
            &self,
            bytes: usize,
            work: impl FnOnce(&Connection) -> Outcome<T> + Send + 'static,
        ) -> Answer<T> {
            let (job, answer) = job(bytes, work);
            self.writer.send(job).unwrap();
            answer
        }

        fn write(&self, word: &'static str, parent: Option<&'static str>) -> Answer<()> {
            self.send(move |connection| insert(connection, word, parent))
        }

        fn words(&self) -> Vec<String> {
            let words = self.send(|connection| {
                let mut statement = connection.prepare("SELECT word FROM words ORDER BY word")?;
                let words = statement.query_map([], |row| row.get(0))?;
                Ok(words.collect::<Result<_, _>>()?)
            });
            words.blocking_recv().unwrap().unwrap()
        }
    }

    fn insert(connection: &Connection, word: &str, parent: Option<&str>) -> Outcome<()> {
        connection.execute("INSERT INTO words VALUES (?1, ?2)", (word, parent))?;
        Ok(())
    }

    fn outcome<T>(answer: Answer<T>) -> Result<T, StoreError> {
        answer.blocking_recv().unwrap()
    }

    #[test]
    fn jobs_that_wait_share_a_commit_and_its_failure() {
        let busy = busy();
        let answers = [
            busy.write("a", None),
            busy.write("b", Some("nobody")),
            busy.write("c", None),
        ];
        busy.go.send(()).unwrap();
        for answer in answers {
            assert!(matches!(outcome(answer), Err(StoreError::Fault(_))));
        }
        assert_eq!(busy.words(), Vec::<String>::new());
        assert_eq!(outcome(busy.write("d", None)), Ok(()));
        assert_eq!(busy.words(), ["d"]);
    }

    #[test]
    fn a_job_that_fails_or_panics_leaves_the_others_of_its_commit_whole() {
        let busy = busy();
        let first = busy.write("a", None);
        let failing = busy.send(|connection| {
            insert(connection, "half", None)?;
            insert(connection, "a", None)
        });
        let panicking: Answer<()> = busy.send(|connection| {
            insert(connection, "half", None)?;
            panic!("for the test");
        });
        let last = busy.write("b", None);
        busy.go.send(()).unwrap();
        assert_eq!((outcome(first), outcome(last)), (Ok(()), Ok(())));
        assert!(matches!(outcome(failing), Err(StoreError::Fault(_))));
        let panic = StoreError::fault("a panic: for the test");
        assert_eq!(outcome(panicking), Err(panic));
        assert_eq!(busy.words(), ["a", "b"]);
    }

    #[test]
    fn a_transaction_that_sqlite_gives_up_fails_all_that_were_in_it() {
        let busy = busy();
        let first = busy.write("a", None);
        let giving_up = busy.send(|connection| Ok(connection.execute_batch("ROLLBACK")?));
        let last = busy.write("b", None);
        busy.go.send(()).unwrap();
        let lost = Err(StoreError::unavailable("the transaction was rolled back"));
        assert_eq!((outcome(first), outcome(giving_up)), (lost.clone(), lost));
        assert_eq!(outcome(last), Ok(()));
        assert_eq!(busy.words(), ["b"]);
    }

    #[test]
    fn a_full_disk_is_unavailable_for_the_job_that_needs_room() {
        let busy = busy();
        let full = busy.send(|connection| {
            connection.execute_batch("PRAGMA max_page_count = 10")?;
            let long = "x".repeat(1_000_000);
            insert(connection, &long, None)
        });
        busy.go.send(()).unwrap();
        assert!(matches!(outcome(full), Err(StoreError::Unavailable(_))));
        assert_eq!(outcome(busy.write("a", None)), Ok(()));
        assert_eq!(busy.words(), ["a"]);
    }

    #[test]
    fn what_nobody_waits_for_is_not_done() {
        let busy = busy();
        drop(busy.write("a", None));
        let large = busy.send_large(usize::MAX, |connection| insert(connection, "b", None));
        drop(large);
        busy.go.send(()).unwrap();
        assert_eq!(busy.words(), Vec::<String>::new());
    }

    #[test]
    fn small_jobs_are_answered_before_a_large_one_behind_them_begins() {
        let busy = busy();
        let small = [busy.write("a", None), busy.write("b", None)];
        let large = busy.send_large(MAX_BYTES_PER_COMMIT, move |_| {
            Ok(small.map(|mut answer| answer.try_recv()))
        });
        busy.go.send(()).unwrap();
        assert_eq!(outcome(large), Ok([Ok(Ok(())), Ok(Ok(()))]));
    }

    #[test]
    fn a_large_job_is_answered_before_those_behind_it_begin() {
        let busy = busy();
        let mut large = busy.send_large(MAX_BYTES_PER_COMMIT, |_| Ok(()));
        let behind = busy.send(move |_| Ok(large.try_recv()));
        busy.go.send(()).unwrap();
        assert_eq!(outcome(behind), Ok(Ok(Ok(()))));
    }

    #[test]
    fn a_queue_that_is_full_refuses_at_once() {
        let busy = busy();
        let waiting: Vec<_> = (0..MAX_WAITING).map(|_| busy.send(|_| Ok(()))).collect();
        let (job, _answer): Sent<()> = job(1, |_| Ok(()));
        assert!(matches!(
            busy.writer.send(job),
            Err(StoreError::Unavailable(_))
        ));
        busy.go.send(()).unwrap();
        assert!(waiting.into_iter().all(|answer| outcome(answer).is_ok()));
    }

    #[test]
    fn a_writer_that_is_dropped_first_does_what_waits() {
        let busy = busy();
        let answers = [busy.write("a", None), busy.write("b", None)];
        busy.go.send(()).unwrap();
        drop(busy);
        for answer in answers {
            assert_eq!(outcome(answer), Ok(()));
        }
    }
}
