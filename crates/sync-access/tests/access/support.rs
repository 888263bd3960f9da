//! What the tests share: keys with their secret part, a clock that is stepped, and a host that
//! publishes keys.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use josekit::jwk::Jwk;
use josekit::jws::JwsSigner;
use serde_json::{Value, json};
use sync_access::{Clock, Identity, TokenError, Verifier, VerifierSettings};
use sync_protocol::{Millis, UserId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// 2026-01-01T00:00:00Z in seconds.
pub(crate) const START: i64 = 1_767_225_600;

pub(crate) const SECOND: i64 = 1000;
pub(crate) const MINUTE: i64 = 60 * SECOND;

pub(crate) const UNKNOWN_KEY: TokenError = TokenError::Invalid {
    reason: "the token's key is unknown",
};
pub(crate) const WRONG_SIGNATURE: TokenError = TokenError::Invalid {
    reason: "the token's signature is wrong",
};

/// A key pair as an issuer has it.
pub(crate) struct Pair {
    pub(crate) kid: String,
    pub(crate) private: Jwk,
}

impl Pair {
    pub(crate) fn ed25519(kid: &str) -> Self {
        Self::new(
            kid,
            Jwk::generate_ed_key(josekit::jwk::alg::ed::EdCurve::Ed25519),
        )
    }

    pub(crate) fn p256(kid: &str) -> Self {
        Self::new(
            kid,
            Jwk::generate_ec_key(josekit::jwk::alg::ec::EcCurve::P256),
        )
    }

    pub(crate) fn rsa(kid: &str, bits: u32) -> Self {
        Self::new(kid, Jwk::generate_rsa_key(bits))
    }

    pub(crate) fn new(kid: &str, made: Result<Jwk, josekit::JoseError>) -> Self {
        let mut private = made.expect("a key can be made");
        private.set_key_id(kid);
        Self {
            kid: kid.to_owned(),
            private,
        }
    }

    /// The public part as it stands in a key set.
    pub(crate) fn public(&self) -> Value {
        let mut public = self.private.to_public_key().expect("it has a public part");
        public.set_key_id(&self.kid);
        Value::Object(public.into())
    }

    pub(crate) fn algorithm(&self) -> &'static str {
        match self.private.key_type() {
            "OKP" => "EdDSA",
            "EC" => "ES256",
            _ => "RS256",
        }
    }

    pub(crate) fn header(&self) -> Value {
        json!({"alg": self.algorithm(), "kid": self.kid, "typ": "JWT"})
    }

    pub(crate) fn signer(&self) -> Box<dyn JwsSigner> {
        match self.algorithm() {
            "EdDSA" => Box::new(josekit::jws::EdDSA.signer_from_jwk(&self.private).unwrap()),
            "ES256" => Box::new(josekit::jws::ES256.signer_from_jwk(&self.private).unwrap()),
            _ => Box::new(josekit::jws::RS256.signer_from_jwk(&self.private).unwrap()),
        }
    }

    /// A token with this payload, signed as this key does.
    pub(crate) fn sign(&self, claims: &Value) -> String {
        sign(&self.header(), claims, &*self.signer())
    }

    /// A good token for alice, for a day.
    pub(crate) fn token(&self) -> String {
        self.sign(&claims())
    }
}

pub(crate) fn claims() -> Value {
    json!({"sub": "alice", "iat": START, "exp": START + 86_400})
}

/// What a good token says.
pub(crate) fn alice() -> Identity {
    Identity {
        user: UserId::new("alice").unwrap(),
        device: None,
        expires: Millis((START + 86_400) * SECOND),
    }
}

pub(crate) fn sign(header: &Value, claims: &Value, signer: &dyn JwsSigner) -> String {
    let signed = signed_part(header, claims);
    let signature = signer.sign(signed.as_bytes()).expect("it signs");
    format!("{signed}.{}", base64url(&signature))
}

pub(crate) fn signed_part(header: &Value, claims: &Value) -> String {
    let (header, claims) = (header.to_string(), claims.to_string());
    format!(
        "{}.{}",
        base64url(header.as_bytes()),
        base64url(claims.as_bytes())
    )
}

pub(crate) fn base64url(bytes: &[u8]) -> String {
    let standard = openssl::base64::encode_block(bytes);
    standard
        .trim_end_matches('=')
        .replace('+', "-")
        .replace('/', "_")
}

pub(crate) fn key_set(pairs: &[&Pair]) -> String {
    let keys: Vec<Value> = pairs.iter().map(|pair| pair.public()).collect();
    json!({ "keys": keys }).to_string()
}

pub(crate) fn refused(reason: &'static str) -> Result<Identity, TokenError> {
    Err(TokenError::Invalid { reason })
}

/// A clock that stands still at [`START`] until it is stepped.
#[derive(Clone)]
pub(crate) struct SteppedClock(Arc<AtomicI64>);

impl SteppedClock {
    pub(crate) fn new() -> Self {
        Self(Arc::new(AtomicI64::new(START * SECOND)))
    }

    pub(crate) fn step(&self, milliseconds: i64) {
        self.0.fetch_add(milliseconds, Ordering::SeqCst);
    }

    pub(crate) fn as_clock(&self) -> Clock {
        let clock = self.clone();
        Arc::new(move || Millis(clock.0.load(Ordering::SeqCst)))
    }
}

/// What the host says to the next request.
#[derive(Clone)]
pub(crate) enum Answer {
    /// 200 with this body.
    Document(String),
    /// These bytes, and the end of the connection.
    Bytes(Vec<u8>),
    /// Nothing, and the connection stays.
    Silence,
}

/// The end of the connection without a word: as good as a host that is down.
pub(crate) const DOWN: Answer = Answer::Bytes(Vec::new());

/// Somebody else's service: it publishes keys on a port of this machine, and counts who asks.
pub(crate) struct KeyHost {
    pub(crate) address: String,
    answer: Arc<Mutex<Answer>>,
    requests: watch::Receiver<usize>,
    open: watch::Sender<bool>,
}

impl KeyHost {
    pub(crate) async fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let answer = Arc::new(Mutex::new(answer));
        let (count, requests) = watch::channel(0);
        let (open, gate) = watch::channel(true);
        let next = Arc::clone(&answer);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(reply(
                    stream,
                    Arc::clone(&next),
                    count.clone(),
                    gate.clone(),
                ));
            }
        });
        Self {
            address: format!("http://{address}/jwks"),
            answer,
            requests,
            open,
        }
    }

    pub(crate) fn answer(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    /// How many have asked.
    pub(crate) fn requests(&self) -> usize {
        *self.requests.borrow()
    }

    /// Returns when so many have asked; that nobody does is a failure after a while.
    pub(crate) async fn asked(&self, times: usize) {
        let mut requests = self.requests.clone();
        let enough = requests.wait_for(|count| *count >= times);
        let in_time = tokio::time::timeout(Duration::from_secs(20), enough).await;
        in_time.expect("the host is asked").expect("the host runs");
    }

    /// From now on requests are taken, but answered only after [`KeyHost::open`].
    pub(crate) fn close(&self) {
        self.open.send_replace(false);
    }

    pub(crate) fn open(&self) {
        self.open.send_replace(true);
    }
}

async fn reply(
    mut stream: TcpStream,
    next: Arc<Mutex<Answer>>,
    count: watch::Sender<usize>,
    mut gate: watch::Receiver<bool>,
) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => request.push(byte),
            Err(_) => return,
        }
    }
    count.send_modify(|count| *count += 1);
    if gate.wait_for(|open| *open).await.is_err() {
        return;
    }
    let answer = next.lock().unwrap().clone();
    match answer {
        Answer::Document(body) => {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
            let _ = stream.write_all((head + &body).as_bytes()).await;
        }
        Answer::Bytes(bytes) => {
            let _ = stream.write_all(&bytes).await;
        }
        Answer::Silence => std::future::pending().await,
    }
}

/// A verifier, its clock, and the host that it asks.
pub(crate) struct World {
    pub(crate) host: KeyHost,
    pub(crate) clock: SteppedClock,
    pub(crate) verifier: Arc<Verifier>,
}

impl World {
    /// The host publishes the public parts of `pairs`. Nobody has asked it yet.
    pub(crate) async fn with(pairs: &[&Pair]) -> Self {
        Self::answering(Answer::Document(key_set(pairs))).await
    }

    pub(crate) async fn answering(answer: Answer) -> Self {
        let host = KeyHost::start(answer).await;
        let clock = SteppedClock::new();
        let settings = VerifierSettings {
            key_addresses: vec![host.address.clone()],
            ..VerifierSettings::default()
        };
        let verifier = Verifier::new(settings, clock.as_clock()).expect("the settings are good");
        Self {
            host,
            clock,
            verifier: Arc::new(verifier),
        }
    }

    pub(crate) fn publish(&self, pairs: &[&Pair]) {
        self.host.answer(Answer::Document(key_set(pairs)));
    }

    pub(crate) async fn verify(&self, token: &str) -> Result<Identity, TokenError> {
        self.verifier.verify(token).await
    }

    /// Returns when no fetch is on its way: a token with an unknown key waits for the one that is,
    /// and causes none so soon after.
    pub(crate) async fn fetch_has_landed(&self) {
        let before = self.host.requests();
        let stranger = Pair::ed25519("stranger").token();
        let _ = self.verify(&stranger).await;
        assert!(
            self.host.requests() <= before + 1,
            "it was to cause no fetch"
        );
    }
}

/// A verifier whose only keys are those of `pairs`.
pub(crate) fn fixed(pairs: &[&Pair]) -> Verifier {
    let settings = VerifierSettings {
        fixed_keys: Some(key_set(pairs)),
        ..VerifierSettings::default()
    };
    Verifier::new(settings, SteppedClock::new().as_clock()).expect("the settings are good")
}
