//! The outer form of a token: three parts, and a header that says how it is signed.

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::base64url;
use crate::error::{TokenError, invalid};
use crate::key::Algorithm;

/// The longest token looked at, in bytes.
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// Purposes (`typ`) under which a token may say "I am the bearer"; with or without `application/`
/// before them (RFC 7515, 4.1.9).
const ACCEPTED_TYPES: [&str; 2] = ["jwt", "at+jwt"];

/// The algorithm of tokens that are signed with a secret.
const BY_SECRET: &str = "HS256";

/// How a token says that it is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Signing {
    /// With the key of this name.
    Key { algorithm: Algorithm, kid: String },
    /// With the secret (HS256). Which keys it names is nothing to go by: there is one secret.
    Secret,
}

/// A token whose form is right and whose signature nobody has looked at yet.
#[derive(Debug)]
pub(crate) struct Unverified<'a> {
    pub(crate) signing: Signing,
    /// What is signed: header and payload as they came.
    pub(crate) signed: &'a str,
    pub(crate) payload: Vec<u8>,
    pub(crate) signature: Vec<u8>,
}

/// The members that are read. Whatever else a header holds (`jwk`, `jku`, `x5c`, `x5u`) has no say.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    // Present counts, whatever the value.
    #[serde(default, deserialize_with = "present")]
    crit: bool,
}

/// Refuses what is too long to be looked at.
pub(crate) fn bound(token: &str) -> Result<(), TokenError> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(invalid("the token is too long"));
    }
    Ok(())
}

/// Takes `token` apart and judges its header.
pub(crate) fn parse(token: &str) -> Result<Unverified<'_>, TokenError> {
    let malformed = || invalid("the token is malformed");
    let (signed, signature) = token.rsplit_once('.').ok_or_else(malformed)?;
    let (header, payload) = signed.split_once('.').ok_or_else(malformed)?;
    let header = base64url::decode(header).ok_or_else(malformed)?;
    // A dot in the payload is outside of the alphabet, so a fourth part is refused here.
    let payload = base64url::decode(payload).ok_or_else(malformed)?;
    let signature = base64url::decode(signature).ok_or_else(malformed)?;
    let header: Header = serde_json::from_slice(&header).map_err(|_| malformed())?;
    let signing = judge(header)?;
    Ok(Unverified {
        signing,
        signed,
        payload,
        signature,
    })
}

/// The refusal of an algorithm that never counts, or not where the token is presented.
pub(crate) fn wrong_algorithm() -> TokenError {
    invalid("the token's algorithm is not accepted")
}

fn judge(header: Header) -> Result<Signing, TokenError> {
    let algorithm = Algorithm::from_name(&header.alg);
    if algorithm.is_none() && header.alg != BY_SECRET {
        return Err(wrong_algorithm());
    }
    if header.crit {
        return Err(invalid("the token needs extensions that are not supported"));
    }
    if !header.typ.is_none_or(|purpose| is_accepted_type(&purpose)) {
        return Err(invalid("the token is for another purpose"));
    }
    let Some(algorithm) = algorithm else {
        return Ok(Signing::Secret);
    };
    let kid = header
        .kid
        .filter(|kid| !kid.is_empty())
        .ok_or_else(|| invalid("the token names no key"))?;
    Ok(Signing::Key { algorithm, kid })
}

fn is_accepted_type(purpose: &str) -> bool {
    let purpose = purpose.to_ascii_lowercase();
    let purpose = purpose.strip_prefix("application/").unwrap_or(&purpose);
    ACCEPTED_TYPES.contains(&purpose)
}

fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_token_is_let_through_and_the_next_one_is_not() {
        assert_eq!(bound(&"a".repeat(MAX_TOKEN_BYTES)), Ok(()));
        let reason = "the token is too long";
        assert_eq!(
            bound(&"a".repeat(MAX_TOKEN_BYTES + 1)),
            Err(invalid(reason))
        );
    }
}
