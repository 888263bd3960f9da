//! How many large bodies are in memory at a time, and how many are worked on: what all requests share.
//!
//! ```text
//! up to 64 KiB: no slot | beyond: one slot, waited for once -> worked on: one per core -> given back when it is answered
//! ```
//!
//! A slot is room for the largest body there may be, as sent or unpacked, so nobody who holds some ever waits for more:
//! those would wait for each other. It is taken when a body has grown and not when it is announced, which costs a client
//! nothing. While a body is unpacked it is there in both forms: that is one more body for each core.
//!
//! Small bodies take no slot and never wait behind large ones. Of them there are no more than requests at a time: the cap
//! of connections bounds them, at 64 KiB for each connection (for each stream, of HTTP/2).

use std::num::NonZero;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use sync_protocol::MAX_BODY_BYTES;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::Limits;
use crate::error::Refusal;

/// What is not longer, neither as sent nor unpacked, takes no slot.
pub(crate) const SMALL_BYTES: usize = 64 * 1024;

/// What there is to give. Clones share it.
#[derive(Clone)]
pub(crate) struct Budget {
    slots: Arc<Semaphore>,
    turns: Arc<Semaphore>,
    wait: Duration,
}

impl Budget {
    pub(crate) fn new(limits: &Limits) -> Self {
        let slots = (limits.bodies / MAX_BODY_BYTES).clamp(1, Semaphore::MAX_PERMITS);
        let cores = available_parallelism().map_or(1, NonZero::get);
        Self {
            slots: Arc::new(Semaphore::new(slots)),
            turns: Arc::new(Semaphore::new(cores)),
            wait: limits.body,
        }
    }

    /// Room for one large body, once there is some. Whoever has a slot or a turn must not ask for one.
    ///
    /// # Errors
    ///
    /// [`Refusal::Busy`] if that takes too long.
    pub(crate) async fn slot(&self) -> Result<Slot, Refusal> {
        let slot = Arc::clone(&self.slots).acquire_owned();
        let slot = timeout(self.wait, slot).await.map_err(|_| Refusal::Busy)?;
        Ok(Slot(slot.expect("the semaphore is never closed")))
    }

    /// Leave to keep a core busy: further ones wait, so that there is always room for the requests that take no work.
    pub(crate) async fn turn(&self) -> OwnedSemaphorePermit {
        let turn = Arc::clone(&self.turns).acquire_owned().await;
        turn.expect("the semaphore is never closed")
    }
}

/// Room for a large body; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Slot(#[expect(dead_code, reason = "it is held, not read")] OwnedSemaphorePermit);
