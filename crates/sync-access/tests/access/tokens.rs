//! Which tokens are good, whatever the time (threats A1, A2, A4, A5).

use josekit::jwk::Jwk;
use josekit::jwk::alg::{ec::EcCurve, ed::EdCurve};
use josekit::jws;
use serde_json::{Value, json};
use sync_access::{Identity, MAX_TOKEN_BYTES, TokenError, Verifier, VerifierSettings};
use sync_protocol::{ClientId, UserId};

use crate::support::{
    Answer, KeyHost, Pair, START, SteppedClock, UNKNOWN_KEY, WRONG_SIGNATURE, World, alice,
    base64url, claims, fixed, key_set, refused, sign, signed_part,
};

#[tokio::test]
async fn each_of_the_recorded_tokens_is_judged_as_the_contract_says() {
    let key = Pair::ed25519("key-1");
    let world = World::with(&[&key]).await;
    for (kind, token, expected) in recorded_by_claims(&key)
        .into_iter()
        .chain(recorded_by_form(&key))
    {
        assert_eq!(world.verify(&token).await, expected, "{kind}");
    }
}

/// Every algorithm that a token can name, signed for real and, where the types allow, with the very
/// key of the set, under the name of every key of the set.
#[tokio::test]
async fn the_same_claims_under_every_other_algorithm_are_refused() {
    let pairs = [
        Pair::ed25519("ed"),
        Pair::p256("ec"),
        Pair::rsa("rsa", 2048),
    ];
    let [ed, ec, rsa] = &pairs;
    let verifier = fixed(&[ed, ec, rsa]);
    let mut accepted = Vec::new();
    for pair in &pairs {
        for signer in every_signer(ed, ec, rsa, pair) {
            let algorithm = signer.algorithm().name().to_owned();
            let header = json!({"alg": algorithm, "kid": pair.kid});
            match verifier.verify(&sign(&header, &claims(), &*signer)).await {
                Ok(identity) => {
                    assert_eq!(identity, alice());
                    accepted.push((pair.kid.clone(), algorithm));
                }
                Err(error) => assert!(matches!(error, TokenError::Invalid { .. }), "{error:?}"),
            }
        }
        for name in [
            "none", "None", "nOnE", "NONE", "", "eddsa", "EdDSA ", "Ed25519", "es256",
        ] {
            let header = json!({"alg": name, "kid": pair.kid});
            let signed = signed_part(&header, &claims());
            let refusal = refused("the token's algorithm is not accepted");
            assert_eq!(
                verifier.verify(&format!("{signed}.")).await,
                refusal,
                "{name}"
            );
        }
    }
    let own = |pair: &Pair| (pair.kid.clone(), pair.algorithm().to_owned());
    assert_eq!(accepted, [own(ed), own(ec), own(rsa)]);
}

/// One that is signed right, but whose header names another accepted algorithm than its key's.
#[tokio::test]
async fn the_algorithm_of_the_header_must_be_that_of_the_key() {
    let pairs = [
        Pair::ed25519("ed"),
        Pair::p256("ec"),
        Pair::rsa("rsa", 2048),
    ];
    let verifier = fixed(&pairs.iter().collect::<Vec<_>>());
    for pair in &pairs {
        for name in ["EdDSA", "ES256", "RS256"] {
            let header = json!({"alg": name, "kid": pair.kid});
            let token = sign(&header, &claims(), &*pair.signer());
            let expected = if name == pair.algorithm() {
                Ok(alice())
            } else {
                refused("the token's algorithm is not that of its key")
            };
            assert_eq!(
                verifier.verify(&token).await,
                expected,
                "{} {name}",
                pair.kid
            );
        }
    }
}

#[tokio::test]
async fn keys_that_a_token_brings_along_are_never_used() {
    let (key, thief) = (Pair::ed25519("key-1"), Pair::ed25519("key-1"));
    let trap = KeyHost::start(Answer::Document(key_set(&[&thief]))).await;
    let verifier = fixed(&[&key]);
    let known = json!({"alg": "EdDSA", "kid": "key-1"});
    let unknown = json!({"alg": "EdDSA", "kid": "key-2"});
    for (name, value) in [
        ("jwk", thief.public()),
        ("jku", json!(trap.address)),
        ("x5u", json!(trap.address)),
        (
            "x5c",
            json!([openssl::base64::encode_block(&public_bytes(&thief))]),
        ),
    ] {
        for (header, expected) in [(&known, WRONG_SIGNATURE), (&unknown, UNKNOWN_KEY)] {
            let mut header = header.clone();
            header[name] = value.clone();
            let stolen = sign(&header, &claims(), &*thief.signer());
            assert_eq!(verifier.verify(&stolen).await, Err(expected), "{name}");
        }
        let mut header = known.clone();
        header[name] = value;
        let honest = sign(&header, &claims(), &*key.signer());
        assert_eq!(verifier.verify(&honest).await, Ok(alice()), "{name}");
    }
    assert_eq!(trap.requests(), 0);
}

#[tokio::test]
async fn critical_extensions_are_refused() {
    let key = Pair::ed25519("key-1");
    let verifier = fixed(&[&key]);
    for value in [
        json!(["b64"]),
        json!(["exp"]),
        json!([]),
        json!("x"),
        Value::Null,
    ] {
        let mut header = key.header();
        header["crit"] = value.clone();
        let token = sign(&header, &claims(), &*key.signer());
        let expected = refused("the token needs extensions that are not supported");
        assert_eq!(verifier.verify(&token).await, expected, "{value}");
    }
}

#[tokio::test]
async fn tokens_for_another_purpose_are_refused() {
    let key = Pair::ed25519("key-1");
    let verifier = fixed(&[&key]);
    let with_type = |purpose: &str| {
        let mut header = key.header();
        header["typ"] = json!(purpose);
        sign(&header, &claims(), &*key.signer())
    };
    let without = sign(
        &json!({"alg": "EdDSA", "kid": "key-1"}),
        &claims(),
        &*key.signer(),
    );
    assert_eq!(verifier.verify(&without).await, Ok(alice()));
    for purpose in ["JWT", "jwt", "at+jwt", "AT+JWT", "application/at+jwt"] {
        assert_eq!(
            verifier.verify(&with_type(purpose)).await,
            Ok(alice()),
            "{purpose}"
        );
    }
    let expected = refused("the token is for another purpose");
    for purpose in [
        "id+jwt",
        "dpop+jwt",
        "logout+jwt",
        "secevent+jwt",
        "JOSE",
        "",
        "JWT ",
        "jwt+at",
    ] {
        assert_eq!(
            verifier.verify(&with_type(purpose)).await,
            expected,
            "{purpose}"
        );
    }
}

#[tokio::test]
async fn issuer_and_audience_are_compared_when_they_are_configured() {
    let key = Pair::ed25519("key-1");
    let settings = VerifierSettings {
        fixed_keys: Some(key_set(&[&key])),
        issuer: Some("https://issuer.example".to_owned()),
        audience: Some("sync".to_owned()),
        ..VerifierSettings::default()
    };
    let clock = SteppedClock::new();
    let verifier = Verifier::new(settings, clock.as_clock()).unwrap();
    let (right, lax) = (json!("https://issuer.example"), fixed(&[&key]));
    let (issuer, audience) = (
        "the token is from another issuer",
        "the token is for another audience",
    );
    for (iss, aud, expected) in [
        (right.clone(), json!("sync"), Ok(alice())),
        (right.clone(), json!(["mail", "sync"]), Ok(alice())),
        (right.clone(), json!(["mail"]), refused(audience)),
        (right.clone(), json!([]), refused(audience)),
        (right.clone(), json!("syncing"), refused(audience)),
        (right.clone(), Value::Null, refused(audience)),
        (
            json!("https://issuer.example/"),
            json!("sync"),
            refused(issuer),
        ),
        (Value::Null, json!("sync"), refused(issuer)),
    ] {
        let mut said = claims();
        (said["iss"], said["aud"]) = (iss, aud);
        let token = key.sign(&said);
        assert_eq!(verifier.verify(&token).await, expected, "{said}");
        assert_eq!(lax.verify(&token).await, Ok(alice()), "{said}");
    }
}

#[tokio::test]
async fn the_user_is_bounded_and_kept_byte_for_byte() {
    let key = Pair::ed25519("key-1");
    let verifier = fixed(&[&key]);
    let longest = "é".repeat(128);
    for user in [
        "A",
        " a ",
        "../../b?c#d",
        "a/b:c",
        "é",
        "e\u{301}",
        "'; --",
        longest.as_str(),
    ] {
        let identity = Identity {
            user: UserId::new(user).unwrap(),
            ..alice()
        };
        assert_eq!(
            verify_with(&verifier, &key, "sub", &json!(user)).await,
            Ok(identity)
        );
    }
    let unfit = refused("the token's user cannot be an id");
    let too_long = format!("{longest}a");
    for user in ["a\nb", "\u{0}", "a\u{7f}", "\u{85}", too_long.as_str()] {
        assert_eq!(
            verify_with(&verifier, &key, "sub", &json!(user)).await,
            unfit,
            "{user:?}"
        );
    }
    for user in [json!(7), json!(["alice"]), json!({})] {
        let expected = refused("the token's claims are malformed");
        assert_eq!(
            verify_with(&verifier, &key, "sub", &user).await,
            expected,
            "{user}"
        );
    }
}

#[tokio::test]
async fn the_device_is_did_or_else_source_id() {
    let key = Pair::ed25519("key-1");
    let verifier = fixed(&[&key]);
    let unfit = "the token's device cannot be an id";
    for (did, source_id, expected) in [
        (json!("phone"), json!("old"), Ok(Some("phone"))),
        (json!(""), json!("old"), Ok(Some("old"))),
        (Value::Null, json!("old"), Ok(Some("old"))),
        (Value::Null, json!(""), Ok(None)),
        (json!("a\nb"), json!("old"), Err(unfit)),
        (json!("d".repeat(257)), Value::Null, Err(unfit)),
        (
            json!(7),
            Value::Null,
            Err("the token's claims are malformed"),
        ),
    ] {
        let mut said = claims();
        (said["did"], said["source_id"]) = (did, source_id);
        let device = verifier
            .verify(&key.sign(&said))
            .await
            .map(|identity| identity.device);
        let expected = expected.map(|id| id.map(|id| ClientId::new(id).unwrap()));
        assert_eq!(
            device,
            expected.map_err(|reason| TokenError::Invalid { reason }),
            "{said}"
        );
    }
}

#[tokio::test]
async fn a_token_with_any_one_character_changed_is_refused() {
    for key in [
        Pair::ed25519("key-1"),
        Pair::p256("key-1"),
        Pair::rsa("key-1", 2048),
    ] {
        let verifier = fixed(&[&key]);
        let token = key.token();
        for index in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[index] = if changed[index] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(
                verifier.verify(&changed).await.is_err(),
                "{index}: {changed}"
            );
        }
        assert_eq!(verifier.verify(&token).await, Ok(alice()));
    }
}

#[tokio::test]
async fn what_has_not_exactly_the_form_of_a_token_is_refused() {
    let key = Pair::ed25519("key-1");
    let verifier = fixed(&[&key]);
    let token = key.token();
    let parts: Vec<&str> = token.split('.').collect();
    let twice = r#"{"alg":"none","alg":"EdDSA","kid":"key-1"}"#;
    let signed = format!("{}.{}", base64url(twice.as_bytes()), parts[1]);
    let signature = base64url(&key.signer().sign(signed.as_bytes()).unwrap());
    for text in [
        format!("{token}."),
        format!("{token}.e30"),
        format!(".{token}"),
        format!("{}.{}", parts[0], parts[1]),
        format!("{}..{}", parts[0], parts[2]),
        format!("{token}="),
        format!("{token} "),
        format!("e30.{}.{}", parts[1], parts[2]),
        format!("W10.{}.{}", parts[1], parts[2]),
        format!("{signed}.{signature}"),
    ] {
        let answer = verifier.verify(&text).await;
        assert!(
            matches!(answer, Err(TokenError::Invalid { .. })),
            "{text}: {answer:?}"
        );
    }
    let mut long = claims();
    long["note"] = json!("x".repeat(MAX_TOKEN_BYTES));
    assert_eq!(
        verifier.verify(&key.sign(&long)).await,
        refused("the token is too long")
    );
}

#[tokio::test]
async fn a_claim_that_is_there_twice_is_refused() {
    let key = Pair::ed25519("key-1");
    let verifier = fixed(&[&key]);
    let payload = format!(r#"{{"sub":"bob","sub":"alice","exp":{}}}"#, START + 60);
    let header = base64url(key.header().to_string().as_bytes());
    let signed = format!("{header}.{}", base64url(payload.as_bytes()));
    let signature = base64url(&key.signer().sign(signed.as_bytes()).unwrap());
    let answer = verifier.verify(&format!("{signed}.{signature}")).await;
    assert_eq!(answer, refused("the token's claims are malformed"));
}

type Case = (&'static str, String, Result<Identity, TokenError>);

/// Story 28: what is signed right.
fn recorded_by_claims(key: &Pair) -> Vec<Case> {
    let (hour_ago, hour_ahead, half) = (START - 3600, START + 3600, START + 1800);
    let expired = json!({"sub": "alice", "exp": hour_ago});
    let not_yet = json!({"sub": "alice", "exp": hour_ahead, "nbf": half});
    let no_expiry = refused("the token has no expiry");
    let no_user = refused("the token names no user");
    vec![
        ("good", key.token(), Ok(alice())),
        ("expired", key.sign(&expired), Err(TokenError::Expired)),
        ("not-yet", key.sign(&not_yet), Err(TokenError::NotYetValid)),
        ("no-exp", key.sign(&json!({"sub": "alice"})), no_expiry),
        (
            "no-sub",
            key.sign(&json!({"exp": hour_ahead})),
            no_user.clone(),
        ),
        (
            "empty-sub",
            key.sign(&json!({"sub": "", "exp": hour_ahead})),
            no_user,
        ),
    ]
}

/// Story 28: what is not, or has the wrong form.
fn recorded_by_form(key: &Pair) -> Vec<Case> {
    let other = Pair::ed25519(&key.kid);
    let hmac = jws::HS256.signer_from_bytes(public_bytes(key)).unwrap();
    let signed = |header: Value| sign(&header, &claims(), &*key.signer());
    let no_kid = signed(json!({"alg": "EdDSA", "typ": "JWT"}));
    let empty_kid = signed(json!({"alg": "EdDSA", "kid": ""}));
    let unknown_kid = signed(json!({"alg": "EdDSA", "kid": "no-such-key"}));
    let hs256 = sign(&json!({"alg": "HS256", "kid": key.kid}), &claims(), &hmac);
    let none = signed_part(&json!({"alg": "none", "kid": key.kid}), &claims()) + ".";
    let not_accepted = refused("the token's algorithm is not accepted");
    let malformed = refused("the token is malformed");
    vec![
        ("other-key", other.token(), Err(WRONG_SIGNATURE)),
        ("no-kid", no_kid, refused("the token names no key")),
        ("empty-kid", empty_kid, refused("the token names no key")),
        ("unknown-kid", unknown_kid, Err(UNKNOWN_KEY)),
        ("hs256", hs256, not_accepted.clone()),
        ("none", none, not_accepted),
        ("not-a-token", "not-a-token".to_owned(), malformed.clone()),
        ("empty", String::new(), malformed),
    ]
}

async fn verify_with(
    verifier: &Verifier,
    key: &Pair,
    name: &str,
    value: &Value,
) -> Result<Identity, TokenError> {
    let mut said = claims();
    said[name] = value.clone();
    verifier.verify(&key.sign(&said)).await
}

/// The public part in the form that most libraries are given it: the bait of the HMAC confusion.
fn public_bytes(pair: &Pair) -> Vec<u8> {
    pair.public().to_string().into_bytes()
}

fn every_signer(ed: &Pair, ec: &Pair, rsa: &Pair, pair: &Pair) -> Vec<Box<dyn jws::JwsSigner>> {
    let secret = public_bytes(pair);
    let on = |curve| Jwk::generate_ec_key(curve).unwrap();
    let ed448 = Jwk::generate_ed_key(EdCurve::Ed448).unwrap();
    vec![
        ed.signer(),
        ec.signer(),
        rsa.signer(),
        Box::new(jws::EdDSA.signer_from_jwk(&ed448).unwrap()),
        Box::new(jws::ES384.signer_from_jwk(&on(EcCurve::P384)).unwrap()),
        Box::new(jws::ES512.signer_from_jwk(&on(EcCurve::P521)).unwrap()),
        Box::new(
            jws::ES256K
                .signer_from_jwk(&on(EcCurve::Secp256k1))
                .unwrap(),
        ),
        Box::new(jws::RS384.signer_from_jwk(&rsa.private).unwrap()),
        Box::new(jws::RS512.signer_from_jwk(&rsa.private).unwrap()),
        Box::new(jws::PS256.signer_from_jwk(&rsa.private).unwrap()),
        Box::new(jws::PS384.signer_from_jwk(&rsa.private).unwrap()),
        Box::new(jws::PS512.signer_from_jwk(&rsa.private).unwrap()),
        Box::new(jws::HS256.signer_from_bytes(&secret).unwrap()),
        Box::new(jws::HS384.signer_from_bytes(&secret).unwrap()),
        Box::new(jws::HS512.signer_from_bytes(&secret).unwrap()),
    ]
}
