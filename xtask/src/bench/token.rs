//! Tokens of rows clients, signed as a service that knows the server's secret signs them.

use openssl::base64::encode_block;
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Signer;
use serde_json::json;

/// By which the tokens of a measured server are signed.
pub(crate) const SECRET: &str = "a secret of more than 32 bytes, for measuring";
/// 2100-01-01: no token expires during a run.
const EXPIRES: i64 = 4_102_444_800;

/// A token for a device of a user.
pub(crate) fn token(user: &str, device: &str) -> Result<String, ErrorStack> {
    let head = json!({"alg": "HS256", "typ": "JWT"}).to_string();
    let claims = json!({"sub": user, "did": device, "exp": EXPIRES}).to_string();
    let signed = format!("{}.{}", word(head.as_bytes()), word(claims.as_bytes()));
    let key = PKey::hmac(SECRET.as_bytes())?;
    let mut signer = Signer::new(MessageDigest::sha256(), &key)?;
    let signature = signer.sign_oneshot_to_vec(signed.as_bytes())?;
    Ok(format!("{signed}.{}", word(&signature)))
}

/// Base64 as in URLs.
pub(crate) fn word(bytes: &[u8]) -> String {
    let text = encode_block(bytes).replace('+', "-").replace('/', "_");
    text.trim_end_matches('=').to_owned()
}
