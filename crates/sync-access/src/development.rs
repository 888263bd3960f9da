//! An issuer for development: its own key, and tokens for whoever asks.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::Duration;

use josekit::jwk::Jwk;
use josekit::jwk::alg::ed::{EdCurve, EdKeyPair};
use josekit::jws::{EdDSA, JwsSigner};
use serde::Serialize;
use serde_json::json;
use sync_protocol::Millis;

use crate::base64url;
use crate::error::SetupError;
use crate::milliseconds;

/// Makes tokens without asking for a password. Whoever trusts its keys trusts everybody who can
/// reach it: never in production.
pub struct DevelopmentIssuer {
    signer: Box<dyn JwsSigner>,
    public: Jwk,
    kid: String,
    issuer: Option<String>,
    audience: Option<String>,
}

#[derive(Serialize)]
struct Claims<'a> {
    sub: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    did: Option<&'a str>,
    iat: i64,
    exp: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<&'a str>,
}

impl DevelopmentIssuer {
    /// An issuer with a new key that nothing else knows; tokens end with the process.
    ///
    /// # Errors
    ///
    /// [`SetupError`] if the system can make no key.
    pub fn generate() -> Result<Self, SetupError> {
        Self::with_pair(
            EdKeyPair::generate(EdCurve::Ed25519).map_err(|_| no_key("cannot be made"))?,
        )
    }

    /// An issuer with the Ed25519 key in this file (PKCS #8, PEM), which is made, for its owner
    /// alone, if it is not there. Waits for the disk, so it is for the start of a program.
    ///
    /// # Errors
    ///
    /// [`SetupError`] if the file cannot be read or made, holds no such key, or can be read by
    /// others than its owner.
    pub fn from_file(path: &Path) -> Result<Self, SetupError> {
        let pem = read_private(path).or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => make_private(path),
            _ => Err(error),
        });
        let pem = pem.map_err(|error| no_key(&format!("in {}: {error}", path.display())))?;
        let pair = EdKeyPair::from_pem(&pem)
            .ok()
            .filter(|pair| pair.curve() == EdCurve::Ed25519);
        Self::with_pair(
            pair.ok_or_else(|| no_key(&format!("in {} is not Ed25519 in PEM", path.display())))?,
        )
    }

    /// Tokens say that they are from this issuer (`iss`).
    #[must_use]
    pub fn with_issuer(mut self, issuer: String) -> Self {
        self.issuer = Some(issuer);
        self
    }

    /// Tokens say that they are for this audience (`aud`).
    #[must_use]
    pub fn with_audience(mut self, audience: String) -> Self {
        self.audience = Some(audience);
        self
    }

    /// The public key, as the text of a JWKS document.
    pub fn key_set(&self) -> String {
        json!({"keys": [self.public.as_ref()]}).to_string()
    }

    /// A token for `user`, and for `device` if given, that is good for `lifetime` from `now`
    /// (milliseconds since 1970; tokens count in whole seconds).
    ///
    /// # Errors
    ///
    /// [`SetupError`] if the key does not sign.
    pub fn issue(
        &self,
        user: &str,
        device: Option<&str>,
        now: Millis,
        lifetime: Duration,
    ) -> Result<String, SetupError> {
        let claims = Claims {
            sub: user,
            did: device,
            iat: now.0.div_euclid(1000),
            exp: now
                .0
                .saturating_add(milliseconds(lifetime))
                .div_euclid(1000),
            iss: self.issuer.as_deref(),
            aud: self.audience.as_deref(),
        };
        let header = json!({"alg": "EdDSA", "kid": self.kid, "typ": "JWT"}).to_string();
        let payload = serde_json::to_vec(&claims).map_err(|_| no_key("signs no such claims"))?;
        let signed = format!(
            "{}.{}",
            base64url::encode(header.as_bytes()),
            base64url::encode(&payload)
        );
        let signature = self
            .signer
            .sign(signed.as_bytes())
            .map_err(|_| no_key("does not sign"))?;
        Ok(format!("{signed}.{}", base64url::encode(&signature)))
    }

    fn with_pair(mut pair: EdKeyPair) -> Result<Self, SetupError> {
        let kid = thumbprint(&pair.to_jwk_public_key());
        pair.set_algorithm(Some("EdDSA"));
        pair.set_key_id(Some(kid.as_str()));
        let signer = EdDSA
            .signer_from_der(pair.to_der_private_key())
            .map_err(|_| no_key("does not sign"))?;
        Ok(Self {
            signer: Box::new(signer),
            public: pair.to_jwk_public_key(),
            kid,
            issuer: None,
            audience: None,
        })
    }
}

/// The name that a key has by itself (RFC 7638), so that it is the same after each start.
fn thumbprint(public: &Jwk) -> String {
    let x = public.parameter("x").and_then(|x| x.as_str()).unwrap_or("");
    let canonical = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
    base64url::encode(&openssl::sha::sha256(canonical.as_bytes()))
}

fn read_private(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    refuse_if_shared(&file)?;
    let mut pem = Vec::new();
    file.read_to_end(&mut pem)?;
    Ok(pem)
}

fn make_private(path: &Path) -> io::Result<Vec<u8>> {
    let pair = EdKeyPair::generate(EdCurve::Ed25519).map_err(io::Error::other)?;
    let pem = pair.to_pem_private_key();
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(&pem)?;
    file.sync_all()?;
    Ok(pem)
}

#[cfg(unix)]
fn refuse_if_shared(file: &File) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt;
    if file.metadata()?.mode() & 0o077 == 0 {
        Ok(())
    } else {
        Err(io::Error::other(
            "others than its owner can read it: chmod 600",
        ))
    }
}

#[cfg(not(unix))]
fn refuse_if_shared(_file: &File) -> io::Result<()> {
    Ok(())
}

fn no_key(what: &str) -> SetupError {
    SetupError(format!("the development key {what}"))
}
