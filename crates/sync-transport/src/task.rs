//! What goes on when nobody waits for it any more.

use std::panic::resume_unwind;

use tokio::task::JoinHandle;

use crate::error::Refusal;

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
