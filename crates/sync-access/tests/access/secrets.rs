//! Tokens that are signed with a secret: good for rows clients, and for nobody else.

use josekit::jws::{self, JwsSigner};
use serde_json::{Value, json};
use sync_access::{Identity, MIN_SECRET_BYTES, TokenError, Verifier, VerifierSettings};
use sync_protocol::ClientId;

use crate::support::{
    Answer, MINUTE, Pair, START, SteppedClock, WRONG_SIGNATURE, World, alice, claims, key_set,
    refused, sign, signed_part,
};

const SECRET: &str = "a secret of more than 32 bytes, for rows";
const NOT_ACCEPTED: &str = "the token's algorithm is not accepted";

fn settings(pairs: &[&Pair], secret: &str) -> VerifierSettings {
    VerifierSettings {
        fixed_keys: Some(key_set(pairs)),
        rows_secret: Some(secret.to_owned()),
        ..VerifierSettings::default()
    }
}

/// Knows these keys and the secret.
fn knowing(pairs: &[&Pair]) -> (Verifier, SteppedClock) {
    let clock = SteppedClock::new();
    let verifier = Verifier::new(settings(pairs, SECRET), clock.as_clock());
    (verifier.unwrap(), clock)
}

fn hs256(secret: &[u8]) -> impl JwsSigner {
    jws::HS256.signer_from_bytes(secret).unwrap()
}

fn signed(header: &Value, claims: &Value) -> String {
    sign(header, claims, &hs256(SECRET.as_bytes()))
}

fn of_phone() -> Value {
    json!({"sub": "alice", "did": "phone", "exp": START + 86_400})
}

fn phone() -> Identity {
    Identity {
        device: Some(ClientId::new("phone").unwrap()),
        ..alice()
    }
}

#[tokio::test]
async fn a_token_of_the_secret_counts_for_rows_whatever_key_it_names() {
    let key = Pair::ed25519("key-1");
    let (verifier, _) = knowing(&[&key]);
    for header in [
        json!({"alg": "HS256"}),
        json!({"alg": "HS256", "typ": "JWT"}),
        json!({"alg": "HS256", "kid": ""}),
        json!({"alg": "HS256", "kid": "key-1"}),
        json!({"alg": "HS256", "kid": "unknown"}),
    ] {
        let token = signed(&header, &of_phone());
        assert_eq!(verifier.verify_rows(&token).await, Ok(phone()), "{header}");
    }
    let crit = json!({"alg": "HS256", "crit": ["b64"]});
    let refusal = refused("the token needs extensions that are not supported");
    assert_eq!(
        verifier.verify_rows(&signed(&crit, &of_phone())).await,
        refusal
    );
}

#[tokio::test]
async fn a_token_of_the_secret_counts_nowhere_else_though_it_counted_for_rows_before() {
    let key = Pair::ed25519("key-1");
    let (verifier, _) = knowing(&[&key]);
    let token = signed(&json!({"alg": "HS256"}), &of_phone());
    for _ in 0..2 {
        assert_eq!(verifier.verify_rows(&token).await, Ok(phone()));
        assert_eq!(verifier.verify(&token).await, refused(NOT_ACCEPTED));
    }
    // One of the key counts for both, in either order.
    let token = key.sign(&of_phone());
    assert_eq!(verifier.verify_rows(&token).await, Ok(phone()));
    assert_eq!(verifier.verify(&token).await, Ok(phone()));
    assert_eq!(verifier.verify_rows(&token).await, Ok(phone()));
}

#[tokio::test]
async fn without_a_secret_no_such_token_counts() {
    let verifier = crate::support::fixed(&[&Pair::ed25519("key-1")]);
    for secret in [SECRET.as_bytes(), &[0; 32]] {
        let token = sign(&json!({"alg": "HS256"}), &of_phone(), &hs256(secret));
        assert_eq!(verifier.verify_rows(&token).await, refused(NOT_ACCEPTED));
    }
}

/// What each key publishes is no secret, and the secret signs nothing by another algorithm.
#[tokio::test]
async fn the_secret_checks_hs256_alone_and_no_public_key_checks_it() {
    let pairs = [
        Pair::ed25519("ed"),
        Pair::p256("ec"),
        Pair::rsa("rsa", 2048),
    ];
    let (verifier, _) = knowing(&pairs.iter().collect::<Vec<_>>());
    for pair in &pairs {
        let mut baits = vec![pair.public().to_string().into_bytes()];
        let public = pair.private.to_public_key().unwrap();
        baits.extend(["x", "n"].into_iter().filter_map(|name| {
            let value = public.parameter(name)?.as_str()?;
            Some(value.as_bytes().to_vec()).filter(|bytes| bytes.len() >= 32)
        }));
        for bait in baits {
            let header = json!({"alg": "HS256", "kid": pair.kid});
            let token = sign(&header, &of_phone(), &hs256(&bait));
            let verified = verifier.verify_rows(&token).await;
            assert_eq!(verified, Err(WRONG_SIGNATURE), "{}", pair.kid);
        }
        // Signed with the secret, and said to be of the key.
        let token = signed(&pair.header(), &of_phone());
        let verified = verifier.verify_rows(&token).await;
        assert_eq!(verified, Err(WRONG_SIGNATURE), "{}", pair.kid);
        // Signed by the key, and said to be of the secret.
        let header = json!({"alg": "HS256", "kid": pair.kid});
        let token = sign(&header, &of_phone(), &*pair.signer());
        let verified = verifier.verify_rows(&token).await;
        assert_eq!(verified, Err(WRONG_SIGNATURE), "{}", pair.kid);
    }
    let long = SECRET.repeat(2);
    let verifier = Verifier::new(settings(&[], &long), SteppedClock::new().as_clock()).unwrap();
    let others: [Box<dyn JwsSigner>; 2] = [
        Box::new(jws::HS384.signer_from_bytes(&long).unwrap()),
        Box::new(jws::HS512.signer_from_bytes(&long).unwrap()),
    ];
    for signer in others {
        let name = signer.algorithm().name().to_owned();
        let token = sign(&json!({ "alg": name }), &of_phone(), &*signer);
        assert_eq!(verifier.verify_rows(&token).await, refused(NOT_ACCEPTED));
        let token = sign(&json!({"alg": "HS256"}), &of_phone(), &*signer);
        assert_eq!(verifier.verify_rows(&token).await, Err(WRONG_SIGNATURE));
    }
    for name in ["none", "None", "hs256", "HS256 ", ""] {
        let token = signed_part(&json!({ "alg": name }), &of_phone()) + ".";
        assert_eq!(verifier.verify_rows(&token).await, refused(NOT_ACCEPTED));
    }
}

#[tokio::test]
async fn a_signature_that_is_cut_off_or_changed_anywhere_is_wrong() {
    let (verifier, _) = knowing(&[]);
    let header = json!({"alg": "HS256"});
    let part = signed_part(&header, &of_phone());
    let right = hs256(SECRET.as_bytes()).sign(part.as_bytes()).unwrap();
    let with = |signature: &[u8]| format!("{part}.{}", crate::support::base64url(signature));
    assert_eq!(verifier.verify_rows(&with(&right)).await, Ok(phone()));
    for place in 0..right.len() {
        let mut wrong = right.clone();
        wrong[place] ^= 1;
        let verified = verifier.verify_rows(&with(&wrong)).await;
        assert_eq!(verified, Err(WRONG_SIGNATURE), "{place}");
        let verified = verifier.verify_rows(&with(&right[..place])).await;
        assert_eq!(verified, Err(WRONG_SIGNATURE), "{place}");
    }
    let longer = [right, vec![0]].concat();
    assert_eq!(
        verifier.verify_rows(&with(&longer)).await,
        Err(WRONG_SIGNATURE)
    );
}

#[tokio::test]
async fn a_token_of_the_secret_must_say_what_every_token_must() {
    let (verifier, clock) = knowing(&[]);
    let header = json!({"alg": "HS256"});
    let verify = async |claims: Value| verifier.verify_rows(&signed(&header, &claims)).await;
    let no_exp = json!({"sub": "alice", "did": "phone"});
    assert_eq!(verify(no_exp).await, refused("the token has no expiry"));
    let no_sub = json!({"did": "phone", "exp": START + 60});
    assert_eq!(verify(no_sub).await, refused("the token names no user"));
    let ahead = json!({"sub": "alice", "exp": START + 7200, "nbf": START + 3600});
    assert_eq!(verify(ahead).await, Err(TokenError::NotYetValid));
    assert_eq!(verify(claims()).await, Ok(alice()));
    assert_eq!(verify(of_phone()).await, Ok(phone()));
    clock.step(24 * 60 * MINUTE + 2 * MINUTE);
    assert_eq!(verify(of_phone()).await, Err(TokenError::Expired));
}

#[tokio::test]
async fn no_key_host_is_asked_about_a_token_of_the_secret() {
    let world = World::answering(Answer::Silence).await;
    let settings = VerifierSettings {
        key_addresses: vec![world.host.address.clone()],
        rows_secret: Some(SECRET.to_owned()),
        ..VerifierSettings::default()
    };
    let verifier = Verifier::new(settings, world.clock.as_clock()).unwrap();
    let token = signed(&json!({"alg": "HS256"}), &of_phone());
    assert_eq!(verifier.verify_rows(&token).await, Ok(phone()));
    assert_eq!(world.host.requests(), 0);
}

#[test]
fn a_secret_that_is_too_short_is_refused_and_no_secret_is_shown() {
    let make = |secret: &str| {
        let settings = settings(&[], secret);
        assert!(!format!("{settings:?}").contains(secret));
        Verifier::new(settings, SteppedClock::new().as_clock())
    };
    assert!(make(&"x".repeat(MIN_SECRET_BYTES)).is_ok());
    let short = "y".repeat(MIN_SECRET_BYTES - 1);
    let fault = make(&short).err().expect("it is refused").to_string();
    assert!(fault.contains("32 bytes") && !fault.contains(&short));
}
