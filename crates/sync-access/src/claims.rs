//! The claims of a token whose signature is right: is it for us, now, and for whom?

use serde::Deserialize;

use crate::error::{TokenError, invalid};

/// The longest user or device id, in bytes.
pub const MAX_IDENTIFIER_BYTES: usize = 256;

/// Who calls, as a verified token says. The ids are the exact bytes of the claims; they are bounded and hold no control
/// characters, but may hold any other character, so they belong in no path and no log unescaped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The user: the claim `sub`.
    pub user: String,
    /// The device: the claim `did`, or `source_id` where that is missing or empty.
    pub device: Option<String>,
    /// When the token expires, by its claim `exp`: milliseconds since 1970. The leeway for clocks that differ comes on top, so
    /// that this may lie in the past by as much.
    pub expires: i64,
}

/// What a token must say.
#[derive(Debug, Clone)]
pub(crate) struct Demands {
    pub(crate) issuer: Option<String>,
    pub(crate) audience: Option<String>,
    /// By how much clocks may differ, in milliseconds.
    pub(crate) leeway: i64,
}

#[derive(Deserialize)]
struct Claims {
    sub: Option<String>,
    exp: Option<f64>,
    nbf: Option<f64>,
    iss: Option<String>,
    aud: Option<Audience>,
    did: Option<String>,
    source_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Demands {
    /// The caller that `payload` names, if it is good at `now`.
    pub(crate) fn judge(&self, payload: &[u8], now: i64) -> Result<Identity, TokenError> {
        let claims: Claims = serde_json::from_slice(payload)
            .map_err(|_| invalid("the token's claims are malformed"))?;
        let expires = claims
            .exp
            .map(to_milliseconds)
            .ok_or_else(|| invalid("the token has no expiry"))?;
        if self.is_over(expires, now) {
            return Err(TokenError::Expired);
        }
        let begins = claims.nbf.map(to_milliseconds);
        if begins.is_some_and(|begins| begins > now.saturating_add(self.leeway)) {
            return Err(TokenError::NotYetValid);
        }
        self.judge_parties(&claims)?;
        Ok(Identity {
            user: user_of(claims.sub)?,
            device: device_of(claims.did, claims.source_id)?,
            expires,
        })
    }

    /// Whether a token that expires at `expires` has done so, leeway included.
    pub(crate) fn is_over(&self, expires: i64, now: i64) -> bool {
        now >= expires.saturating_add(self.leeway)
    }

    fn judge_parties(&self, claims: &Claims) -> Result<(), TokenError> {
        if self.issuer.is_some() && self.issuer != claims.iss {
            return Err(invalid("the token is from another issuer"));
        }
        let for_us = match (&self.audience, &claims.aud) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(wanted), Some(Audience::One(named))) => named == wanted,
            (Some(wanted), Some(Audience::Several(named))) => named.contains(wanted),
        };
        if for_us {
            Ok(())
        } else {
            Err(invalid("the token is for another audience"))
        }
    }
}

fn user_of(sub: Option<String>) -> Result<String, TokenError> {
    let user = sub
        .filter(|sub| !sub.is_empty())
        .ok_or_else(|| invalid("the token names no user"))?;
    if is_identifier(&user) {
        Ok(user)
    } else {
        Err(invalid(
            "the token's user is too long or has control characters",
        ))
    }
}

fn device_of(did: Option<String>, source_id: Option<String>) -> Result<Option<String>, TokenError> {
    let device = [did, source_id]
        .into_iter()
        .flatten()
        .find(|id| !id.is_empty());
    if device.as_deref().is_none_or(is_identifier) {
        Ok(device)
    } else {
        Err(invalid(
            "the token's device is too long or has control characters",
        ))
    }
}

fn is_identifier(text: &str) -> bool {
    text.len() <= MAX_IDENTIFIER_BYTES && !text.chars().any(char::is_control)
}

/// Seconds, with or without a fraction, as milliseconds. The cast saturates, which is what is wanted of absurd times.
fn to_milliseconds(seconds: f64) -> i64 {
    (seconds * 1000.0) as i64
}
