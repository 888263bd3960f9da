//! How much of bodies is in memory at a time, and how many are worked on: what all requests share.
//!
//! ```text
//! arriving: KiB by KiB, waits for others to end -> worked on: one per core -> unpacked: at once or not at all
//! ```
//!
//! While it arrives a body takes what has come of it, and not what it announces: announcing costs a client nothing. While
//! it is unpacked nobody waits for memory: those who hold some and wait for more would wait for each other. What is unpacked
//! before it is counted is one body for each that is worked on.

use std::num::NonZero;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::Limits;
use crate::error::Refusal;

const KIB: usize = 1024;

/// What there is to give. Clones share it.
#[derive(Clone)]
pub(crate) struct Budget {
    kib: Arc<Semaphore>,
    turns: Arc<Semaphore>,
    wait: Duration,
}

impl Budget {
    pub(crate) fn new(limits: &Limits) -> Self {
        let kib = (limits.bodies / KIB).min(Semaphore::MAX_PERMITS);
        let cores = available_parallelism().map_or(1, NonZero::get);
        Self {
            kib: Arc::new(Semaphore::new(kib)),
            turns: Arc::new(Semaphore::new(cores)),
            wait: limits.body,
        }
    }

    /// Nothing yet, of which more may be had.
    pub(crate) fn nothing(&self) -> Held {
        let kib = Arc::clone(&self.kib).try_acquire_many_owned(0);
        Held {
            kib: kib.expect("nothing can always be had, of a semaphore that is never closed"),
            wait: self.wait,
        }
    }

    /// Leave to keep a core busy: further ones wait, so that there is always room for the requests that take no work.
    pub(crate) async fn turn(&self) -> OwnedSemaphorePermit {
        let turn = Arc::clone(&self.turns).acquire_owned().await;
        turn.expect("the semaphore is never closed")
    }
}

/// What a request holds; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Held {
    kib: OwnedSemaphorePermit,
    wait: Duration,
}

impl Held {
    /// Holds so many bytes in all, once they can be had.
    ///
    /// # Errors
    ///
    /// [`Refusal::Busy`] if that takes too long.
    pub(crate) async fn reach(&mut self, bytes: usize) -> Result<(), Refusal> {
        let more = self.lacking(bytes);
        if more == 0 {
            return Ok(());
        }
        let more = Arc::clone(self.kib.semaphore()).acquire_many_owned(more);
        let more = timeout(self.wait, more).await.map_err(|_| Refusal::Busy)?;
        self.kib.merge(more.expect("the semaphore is never closed"));
        Ok(())
    }

    /// Holds so many bytes in all, at once.
    ///
    /// # Errors
    ///
    /// [`Refusal::Busy`] if they cannot be had now.
    pub(crate) fn reach_now(&mut self, bytes: usize) -> Result<(), Refusal> {
        let more = self.lacking(bytes);
        let more = Arc::clone(self.kib.semaphore()).try_acquire_many_owned(more);
        self.kib.merge(more.map_err(|_| Refusal::Busy)?);
        Ok(())
    }

    fn lacking(&self, bytes: usize) -> u32 {
        let lacking = bytes.div_ceil(KIB).saturating_sub(self.kib.num_permits());
        u32::try_from(lacking).unwrap_or(u32::MAX)
    }
}
