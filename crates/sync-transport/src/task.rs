//! What goes on by itself: when nobody waits for it any more, or when whoever waits is not asked to go on.

use std::panic::resume_unwind;

use sync_store::StoreError;
use tokio::task::{JoinHandle, JoinSet};

use crate::error::Refusal;

/// Has the store asked by a task of its own, which ends with this future. It goes on while this future is not polled.
///
/// # Errors
///
/// Those of the work; [`StoreError::Fault`] if it panicked.
pub(crate) async fn alone<T: Send + 'static>(
    work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
) -> Result<T, StoreError> {
    let mut tasks = JoinSet::new();
    tasks.spawn(work);
    let ended = tasks.join_next().await;
    let ended = ended.expect("there is one task");
    ended.unwrap_or_else(|error| Err(StoreError::fault(format!("a read ended: {error}"))))
}

/// What a task came to. Its panic becomes that of whoever waits for it.
///
/// # Errors
///
/// [`Refusal::Broken`] if the runtime ended it.
pub(crate) async fn outcome<T>(task: JoinHandle<T>) -> Result<T, Refusal> {
    task.await.map_err(|error| match error.try_into_panic() {
        Ok(panic) => resume_unwind(panic),
        Err(error) => Refusal::Broken(error.to_string()),
    })
}
