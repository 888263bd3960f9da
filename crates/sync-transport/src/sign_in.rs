//! `POST /dummy-signin`: a token for whoever asks; only there in development.
//!
//! - In: `{"user","password","device"}`. The password is not looked at; a device that is missing or empty gets a name.
//! - Out: 200 `{"token","expires_in","user","device"}`. 400 without a user, and for ids that are none.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use sync_protocol::{ClientId, EventIds, UserId};

use crate::error::Refusal;
use crate::service::{Service, Shared};
use crate::{body, random, reply};

/// How long a token is good.
const LIFETIME: Duration = Duration::from_secs(3600);

#[derive(Deserialize)]
struct Asked {
    user: Option<String>,
    device: Option<String>,
}

#[derive(Serialize)]
struct SignedIn {
    token: String,
    expires_in: u64,
    user: UserId,
    device: String,
}

pub(crate) async fn sign_in(
    State(service): State<Shared>,
    request: Request,
) -> Result<Response, Refusal> {
    let (parts, packed) = request.into_parts();
    let (asked, _slot) = body::read(&service, &parts.headers, packed, parse).await?;
    let user = asked.user.unwrap_or_default();
    if user.is_empty() {
        return Err(Refusal::Request("user required".to_owned()));
    }
    let user = UserId::new(&user).map_err(|error| Refusal::Request(format!("user {error}")))?;
    let device = device(&service, asked.device)?;
    Ok(reply::ok(&signed_in(&service, user, device)?))
}

fn parse(bytes: &[u8]) -> Result<Asked, Refusal> {
    serde_json::from_slice(bytes)
        .map_err(|error| Refusal::Request(format!("invalid JSON: {error}")))
}

fn device(service: &Service, asked: Option<String>) -> Result<String, Refusal> {
    let asked = asked.unwrap_or_default();
    ClientId::new(&asked).map_err(|error| Refusal::Request(format!("device {error}")))?;
    if !asked.is_empty() {
        return Ok(asked);
    }
    let seed = random::bits().map_err(|error| Refusal::Broken(error.to_string()))?;
    // It begins with the time and ends with chance, so that no two devices have one name.
    let id = EventIds::new(service.now(), seed).fresh();
    Ok(format!("device-{}", base36(id.bits())))
}

fn base36(mut number: u128) -> String {
    let mut digits = Vec::new();
    loop {
        digits.extend(char::from_digit((number % 36) as u32, 36));
        number /= 36;
        if number == 0 {
            return digits.into_iter().rev().collect();
        }
    }
}

fn signed_in(service: &Service, user: UserId, device: String) -> Result<SignedIn, Refusal> {
    let issuer = service.development_issuer.as_ref();
    let issuer = issuer.ok_or(Refusal::UnknownPath)?;
    let token = issuer
        .issue(user.as_str(), Some(&device), service.now(), LIFETIME)
        .map_err(|error| Refusal::Broken(error.to_string()))?;
    Ok(SignedIn {
        token,
        expires_in: LIFETIME.as_secs(),
        user,
        device,
    })
}
