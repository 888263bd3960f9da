//! Randomness, from OpenSSL.

use std::time::Duration;

use openssl::error::ErrorStack;

/// 128 random bits.
///
/// # Errors
///
/// The system has none to give.
pub(crate) fn bits() -> Result<u128, ErrorStack> {
    let mut bytes = [0; 16];
    openssl::rand::rand_bytes(&mut bytes)?;
    Ok(u128::from_be_bytes(bytes))
}

/// Between half of a time and all of it, so that those who wait together do not come back together.
pub(crate) fn shortened(time: Duration) -> Duration {
    let share = bits().map_or(0, |bits| (bits % 1000) as u32);
    time / 2 + time / 2 * share / 1000
}
