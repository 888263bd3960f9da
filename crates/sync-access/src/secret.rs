//! The secret by which tokens of rows clients are signed: HS256, and nothing else.

use openssl::hash::MessageDigest;
use openssl::memcmp;
use openssl::pkey::{PKey, Private};
use openssl::sign::Signer;

use crate::error::SetupError;

/// The fewest bytes of a secret (RFC 7518, 3.2).
pub const MIN_SECRET_BYTES: usize = 32;

/// A secret, bound to the one algorithm that it verifies.
pub(crate) struct Secret(PKey<Private>);

impl Secret {
    /// # Errors
    ///
    /// [`SetupError`] for one that is too short to be safe.
    pub(crate) fn new(text: &str) -> Result<Self, SetupError> {
        if text.len() < MIN_SECRET_BYTES {
            return Err(SetupError(format!(
                "the secret of tokens has fewer than {MIN_SECRET_BYTES} bytes"
            )));
        }
        let key = PKey::hmac(text.as_bytes());
        key.map(Self)
            .map_err(|_| SetupError("the secret of tokens cannot be used".to_owned()))
    }

    /// Whether `signature` is that of `signed`; how much of it is right takes no time to tell.
    pub(crate) fn has_signed(&self, signed: &str, signature: &[u8]) -> bool {
        let made = Signer::new(MessageDigest::sha256(), &self.0)
            .and_then(|mut signer| signer.sign_oneshot_to_vec(signed.as_bytes()));
        // Of unequal lengths the comparison would panic.
        made.is_ok_and(|made| made.len() == signature.len() && memcmp::eq(&made, signature))
    }
}
