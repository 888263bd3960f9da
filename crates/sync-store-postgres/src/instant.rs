//! The server's milliseconds as PostgreSQL's `timestamptz`.

use std::time::{Duration, SystemTime};

use sync_protocol::Millis;

/// The last millisecond of the year 9999; what lies outside of the years 1970 to 9999 is kept as the nearest instant.
const LAST: i64 = 253_402_300_799_999;

/// The instant, as the database keeps it.
pub(crate) fn instant(time: Millis) -> SystemTime {
    let millis = time.0.clamp(0, LAST).unsigned_abs();
    SystemTime::UNIX_EPOCH + Duration::from_millis(millis)
}

/// The milliseconds of an instant that the database has kept.
pub(crate) fn millis(instant: SystemTime) -> Millis {
    let since_1970 = instant
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    Millis(i64::try_from(since_1970.as_millis()).unwrap_or(LAST))
}
