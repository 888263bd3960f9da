//! Randomness, from OpenSSL.

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
