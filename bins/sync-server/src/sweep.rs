//! Removes what is dead for longer than the history window, in small batches beside the requests.

use std::sync::Arc;
use std::time::Duration;

use sync_access::Clock;
use sync_store::Store;
use sync_transport::Metrics;

/// The pause after nothing was left to remove.
const REST: Duration = Duration::from_secs(60);
/// The pause between two batches.
const BREATH: Duration = Duration::from_millis(50);

/// Sweeps for as long as it is polled.
pub(crate) async fn sweep(store: Arc<dyn Store>, clock: Clock, metrics: Metrics) {
    loop {
        let pause = match store.sweep(clock()).await {
            Ok(swept) => {
                metrics.swept(&swept);
                if swept.more { BREATH } else { REST }
            }
            Err(error) => {
                metrics.sweep_failed();
                tracing::warn!(%error, "a sweep failed; it is tried again");
                REST
            }
        };
        tokio::time::sleep(pause).await;
    }
}
