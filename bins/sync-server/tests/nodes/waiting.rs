//! Waiting for what must happen, and for nothing else.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// What takes longer than this never happens.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// A notice comes at the latest after so long (`wire.md`, WebSocket).
pub(crate) const PROMISED: Duration = Duration::from_secs(2);

const PAUSE: Duration = Duration::from_millis(10);

/// Until this holds.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "never: {what}");
        sleep(PAUSE).await;
    }
}

/// Rows of a table about durations: the middle one, one of a hundred, the longest.
pub(crate) fn table(title: &str, rows: &[(&str, Vec<Duration>)]) {
    println!(
        "\n{title:<64} {:>6} {:>9} {:>9} {:>9}",
        "count", "p50", "p99", "max"
    );
    for (name, durations) in rows {
        let mut sorted = durations.clone();
        sorted.sort_unstable();
        let at = |percent: usize| {
            let place = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
            let millis = sorted
                .get(place)
                .map_or(f64::NAN, |d| d.as_secs_f64() * 1e3);
            format!("{millis:.1} ms")
        };
        let count = sorted.len();
        println!(
            "{name:<64} {count:>6} {:>9} {:>9} {:>9}",
            at(50),
            at(99),
            at(100)
        );
    }
}
