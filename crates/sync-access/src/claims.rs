//! The claims of a token whose signature is right: is it for us, now, and for whom?

use serde::Deserialize;
use sync_protocol::{ClientId, Millis, UserId};

use crate::error::{TokenError, invalid};

/// Who calls, as a verified token says. The ids are the exact bytes of the claims; they are bounded
/// and hold no control characters, but may hold any other character, so they belong in no path and
/// no log unescaped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The user: the claim `sub`.
    pub user: UserId,
    /// The device: the claim `did`, or `source_id` where that is missing or empty. Never empty.
    pub device: Option<ClientId>,
    /// When the token expires, by its claim `exp`. The leeway for clocks that differ comes on top,
    /// so that this may lie in the past by as much.
    pub expires: Millis,
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
    pub(crate) fn judge(&self, payload: &[u8], now: Millis) -> Result<Identity, TokenError> {
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
        if begins.is_some_and(|begins| begins.0 > now.0.saturating_add(self.leeway)) {
            return Err(TokenError::NotYetValid);
        }
        self.judge_parties(&claims)?;
        Ok(Identity {
            user: user_of(claims.sub.as_deref())?,
            device: device_of(&claims)?,
            expires,
        })
    }

    /// Whether a token that expires at `expires` has done so, leeway included.
    pub(crate) fn is_over(&self, expires: Millis, now: Millis) -> bool {
        now.0 >= expires.0.saturating_add(self.leeway)
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

fn user_of(sub: Option<&str>) -> Result<UserId, TokenError> {
    let user = sub
        .filter(|sub| !sub.is_empty())
        .ok_or_else(|| invalid("the token names no user"))?;
    UserId::new(user).map_err(|_| invalid("the token's user cannot be an id"))
}

fn device_of(claims: &Claims) -> Result<Option<ClientId>, TokenError> {
    let mut ids = [&claims.did, &claims.source_id].into_iter().flatten();
    ids.find(|id| !id.is_empty())
        .map(|id| ClientId::new(id))
        .transpose()
        .map_err(|_| invalid("the token's device cannot be an id"))
}

/// Seconds, with or without a fraction, as milliseconds. The cast saturates, which is what is
/// wanted of absurd times.
fn to_milliseconds(seconds: f64) -> Millis {
    Millis((seconds * 1000.0) as i64)
}
