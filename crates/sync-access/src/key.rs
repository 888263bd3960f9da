//! Public keys, and the documents they come in (JWKS, RFC 7517).

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::Arc;

use josekit::jwk::Jwk;
use josekit::jws::{ES256, EdDSA, JwsVerifier, RS256};
use josekit::{Map, Value};
use serde::Deserialize;

use crate::base64url;

/// The most keys in a document; one with more is refused as a whole.
pub const MAX_KEYS: usize = 100;

const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// How much of an id is shown to an operator.
const SHOWN_CHARACTERS: usize = 64;

/// The algorithms that there are; everything else is refused by having no name here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Algorithm {
    EdDsa,
    Es256,
    Rs256,
}

/// A public key, bound to the one algorithm that it verifies.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) kid: String,
    pub(crate) algorithm: Algorithm,
    /// Tells keys apart that bear the same `kid` one after the other.
    fingerprint: [u8; 32],
    verifier: Box<dyn JwsVerifier>,
}

/// The usable keys of a document by their `kid`, and the ones that are not.
#[derive(Debug, Default)]
pub(crate) struct KeySet {
    pub(crate) keys: HashMap<String, Arc<Key>>,
    pub(crate) ignored: Vec<IgnoredKey>,
}

/// A key of a document that verifies nothing here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IgnoredKey {
    /// Its `kid`, if it has one.
    pub kid: Option<String>,
    /// Why it is ignored.
    pub reason: &'static str,
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<Map<String, Value>>,
}

impl Algorithm {
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        match name {
            "EdDSA" => Some(Self::EdDsa),
            "ES256" => Some(Self::Es256),
            "RS256" => Some(Self::Rs256),
            _ => None,
        }
    }
}

impl Key {
    /// Whether `signature` is this key's under `signed`.
    pub(crate) fn has_signed(&self, signed: &str, signature: &[u8]) -> bool {
        self.verifier.verify(signed.as_bytes(), signature).is_ok()
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
    }

    fn from_jwk(map: Map<String, Value>) -> Result<Self, &'static str> {
        let kid = match map.get("kid") {
            Some(Value::String(kid)) if !kid.is_empty() => kid.clone(),
            _ => return Err("it has no kid"),
        };
        if ["d", "p", "q", "k"]
            .iter()
            .any(|secret| map.contains_key(*secret))
        {
            return Err("its secret part is published");
        }
        let jwk = Jwk::from_map(map).map_err(|_| "it is malformed")?;
        if jwk.key_use().is_some_and(|purpose| purpose != "sig")
            || !jwk.is_for_key_operation("verify")
        {
            return Err("it is not for verifying signatures");
        }
        let algorithm = algorithm_of(&jwk)?;
        let verifier = verifier_of(algorithm, &jwk)?;
        Ok(Self {
            kid,
            algorithm,
            fingerprint: fingerprint_of(&jwk),
            verifier,
        })
    }
}

impl KeySet {
    /// Reads a JWKS document.
    ///
    /// A document without usable keys is a document: its issuer has withdrawn them. What is not a
    /// document, or holds more than [`MAX_KEYS`], is an error, in words for the operator.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, &'static str> {
        let document: Document =
            serde_json::from_slice(text).map_err(|_| "the document is not a JSON Web Key Set")?;
        if document.keys.len() > MAX_KEYS {
            return Err("the document holds too many keys");
        }
        let mut set = Self::default();
        for map in document.keys {
            set.add(map);
        }
        Ok(set)
    }

    fn add(&mut self, map: Map<String, Value>) {
        let kid = map.get("kid").and_then(Value::as_str).map(str::to_owned);
        let added = Key::from_jwk(map).and_then(|key| match self.keys.entry(key.kid.clone()) {
            Entry::Vacant(place) => {
                place.insert(Arc::new(key));
                Ok(())
            }
            Entry::Occupied(_) => Err("an earlier key has the same kid"),
        });
        if let Err(reason) = added {
            self.ignored.push(IgnoredKey { kid, reason });
        }
    }
}

impl fmt::Display for IgnoredKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kid {
            Some(kid) => write!(formatter, "{}: {}", shown(kid), self.reason),
            None => write!(formatter, "a key: {}", self.reason),
        }
    }
}

/// An id from outside as it may stand in a log: its beginning, quoted and escaped.
pub(crate) fn shown(id: &str) -> String {
    let beginning: String = id.chars().take(SHOWN_CHARACTERS).collect();
    format!("{beginning:?}")
}

fn algorithm_of(jwk: &Jwk) -> Result<Algorithm, &'static str> {
    let (name, algorithm) = match (jwk.key_type(), jwk.curve()) {
        ("OKP", Some("Ed25519")) => ("EdDSA", Algorithm::EdDsa),
        ("EC", Some("P-256")) => ("ES256", Algorithm::Es256),
        ("RSA", None) => ("RS256", Algorithm::Rs256),
        _ => return Err("its type is not supported"),
    };
    if jwk.algorithm().is_some_and(|given| given != name) {
        return Err("its algorithm is not supported");
    }
    Ok(algorithm)
}

fn verifier_of(algorithm: Algorithm, jwk: &Jwk) -> Result<Box<dyn JwsVerifier>, &'static str> {
    let unusable = "its value is no key of its type";
    let has_length = |name, length| number(jwk, name).is_some_and(|bytes| bytes.len() == length);
    match algorithm {
        Algorithm::EdDsa if has_length("x", 32) => boxed(EdDSA.verifier_from_jwk(jwk)),
        Algorithm::Es256 if has_length("x", 32) && has_length("y", 32) => {
            boxed(ES256.verifier_from_jwk(jwk))
        }
        Algorithm::Rs256 => {
            judge_rsa(jwk)?;
            boxed(RS256.verifier_from_jwk(jwk))
        }
        _ => None,
    }
    .ok_or(unusable)
}

fn boxed<V: JwsVerifier + 'static, E>(made: Result<V, E>) -> Option<Box<dyn JwsVerifier>> {
    made.ok().map(|verifier| Box::new(verifier) as _)
}

/// The size that a modulus really has, which the libraries round up to whole bytes, and an exponent
/// that encrypts at all.
fn judge_rsa(jwk: &Jwk) -> Result<(), &'static str> {
    let modulus = number(jwk, "n").ok_or("it has no modulus")?;
    let exponent = number(jwk, "e").ok_or("it has no exponent")?;
    let leading_zeros: usize = modulus
        .iter()
        .scan(true, |all_zero, byte| {
            let counts = *all_zero;
            *all_zero &= *byte == 0;
            counts.then_some(byte.leading_zeros() as usize)
        })
        .sum();
    if !RSA_BITS.contains(&(modulus.len() * 8 - leading_zeros)) {
        return Err("its size is not between 2048 and 8192 bits");
    }
    let is_one = exponent.iter().rev().skip(1).all(|byte| *byte == 0);
    match exponent.last() {
        Some(1) if is_one => Err("its exponent is 1"),
        Some(last) if last % 2 == 1 => Ok(()),
        _ => Err("its exponent is even"),
    }
}

fn number(jwk: &Jwk, name: &str) -> Option<Vec<u8>> {
    base64url::decode(jwk.parameter(name)?.as_str()?)
}

fn fingerprint_of(jwk: &Jwk) -> [u8; 32] {
    let mut hash = openssl::sha::Sha256::new();
    for name in ["kty", "crv", "x", "y", "n", "e"] {
        let value = jwk.parameter(name).and_then(Value::as_str).unwrap_or("");
        hash.update(value.as_bytes());
        hash.update(b"\0");
    }
    hash.finish()
}
