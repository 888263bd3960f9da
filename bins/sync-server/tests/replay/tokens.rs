//! Tokens, good and bad, and the key set that tells which is which.

use openssl::base64::encode_block;
use openssl::hash::MessageDigest;
use openssl::pkey::{Id, PKey, Private};
use openssl::sign::Signer;
use serde_json::{Value, json};

use super::Fault;

const KEY_ID: &str = "replay-key";
const HOUR: u64 = 3_600;

/// Signs tokens.
pub(crate) struct Issuer {
    key: PKey<Private>,
}

impl Issuer {
    /// An issuer with a key of its own.
    pub(crate) fn new() -> Self {
        Self {
            key: PKey::generate_ed25519().expect("OpenSSL makes Ed25519 keys"),
        }
    }

    /// The key set (RFC 7517) with the one public key.
    pub(crate) fn key_set(&self) -> String {
        let key = json!({
            "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": KEY_ID,
            "x": base64_url(self.public_key()),
        });
        json!({"keys": [key]}).to_string()
    }

    /// A token of this user, which differs from a good one in what its kind says.
    pub(crate) fn token(&self, user: &str, kind: &str) -> Result<String, Fault> {
        let (header, claims) = (header(kind), claims(user, kind));
        let content = format!(
            "{}.{}",
            base64_url(header.to_string()),
            base64_url(claims.to_string())
        );
        let signature = match kind {
            "good" | "expired" | "not-yet" | "no-exp" | "no-sub" | "empty-sub" | "no-kid"
            | "unknown-kid" => signature(&self.key, None, &content),
            "other-key" => signature(&Self::new().key, None, &content),
            "hs256" => {
                let key = PKey::private_key_from_raw_bytes(&self.public_key(), Id::HMAC)
                    .expect("any bytes are a key");
                signature(&key, Some(MessageDigest::sha256()), &content)
            }
            "none" => Vec::new(),
            other => return Err(format!("there is no kind of token called {other}")),
        };
        Ok(format!("{content}.{}", base64_url(&signature)))
    }

    fn public_key(&self) -> Vec<u8> {
        self.key
            .raw_public_key()
            .expect("an Ed25519 key has a raw form")
    }
}

/// Seconds since 1970.
#[expect(
    clippy::disallowed_methods,
    reason = "a replay is an edge of the process: the server under test has real time"
)]
pub(crate) fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.expect("the clock stands behind 1970").as_secs()
}

fn header(kind: &str) -> Value {
    let algorithm = match kind {
        "hs256" => "HS256",
        "none" => "none",
        _ => "EdDSA",
    };
    match kind {
        "no-kid" => json!({"alg": algorithm, "typ": "JWT"}),
        "unknown-kid" => json!({"alg": algorithm, "typ": "JWT", "kid": "no-such-key"}),
        _ => json!({"alg": algorithm, "typ": "JWT", "kid": KEY_ID}),
    }
}

fn claims(user: &str, kind: &str) -> Value {
    let now = now();
    match kind {
        "expired" => json!({"sub": user, "iat": now - 2 * HOUR, "exp": now - HOUR}),
        "not-yet" => json!({"sub": user, "iat": now, "nbf": now + HOUR / 2, "exp": now + HOUR}),
        "no-exp" => json!({"sub": user, "iat": now}),
        "no-sub" => json!({"iat": now, "exp": now + HOUR}),
        "empty-sub" => json!({"sub": "", "iat": now, "exp": now + HOUR}),
        _ => json!({"sub": user, "iat": now, "exp": now + HOUR}),
    }
}

fn signature(key: &PKey<Private>, digest: Option<MessageDigest>, content: &str) -> Vec<u8> {
    let signer = match digest {
        Some(digest) => Signer::new(digest, key),
        None => Signer::new_without_digest(key),
    };
    let signed = signer.and_then(|mut signer| signer.sign_oneshot_to_vec(content.as_bytes()));
    signed.expect("a key signs any text")
}

fn base64_url(bytes: impl AsRef<[u8]>) -> String {
    encode_block(bytes.as_ref())
        .trim_end_matches('=')
        .replace('+', "-")
        .replace('/', "_")
}

#[cfg(test)]
mod tests {
    use openssl::base64::decode_block;
    use openssl::sign::Verifier;

    use super::*;

    fn read(part: &str) -> Vec<u8> {
        let padding = "=".repeat((4 - part.len() % 4) % 4);
        decode_block(&format!(
            "{}{padding}",
            part.replace('-', "+").replace('_', "/")
        ))
        .unwrap()
    }

    #[test]
    fn a_good_token_verifies_with_the_key_of_the_key_set() {
        let issuer = Issuer::new();
        let token = issuer.token("user-1", "good").unwrap();
        let parts: Vec<&str> = token.split('.').collect();
        let set: Value = serde_json::from_str(&issuer.key_set()).unwrap();
        let public = read(set["keys"][0]["x"].as_str().unwrap());
        let key = PKey::public_key_from_raw_bytes(&public, Id::ED25519).unwrap();
        let mut verifier = Verifier::new_without_digest(&key).unwrap();
        let content = format!("{}.{}", parts[0], parts[1]);
        assert!(
            verifier
                .verify_oneshot(&read(parts[2]), content.as_bytes())
                .unwrap()
        );
        let claims: Value = serde_json::from_slice(&read(parts[1])).unwrap();
        assert_eq!(claims["sub"], "user-1");
        assert_eq!(
            claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(),
            HOUR
        );
    }

    #[test]
    fn a_token_without_an_algorithm_has_no_signature() {
        let token = Issuer::new().token("user-1", "none").unwrap();
        assert!(token.ends_with('.'));
    }

    #[test]
    fn a_kind_that_is_not_there_is_a_fault() {
        assert!(Issuer::new().token("user-1", "typo").is_err());
    }
}
