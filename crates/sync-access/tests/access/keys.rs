//! Which keys count: withdrawn ones (threat B9), and what a key set may be (threat B10).

use std::sync::Arc;

use josekit::jwk::Jwk;
use josekit::jwk::alg::ec::EcCurve;
use openssl::asn1::Asn1Time;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::rsa::Rsa;
use openssl::sign::Signer;
use openssl::ssl::{SslAcceptor, SslMethod};
use openssl::x509::X509;
use openssl::x509::extension::SubjectAlternativeName;
use serde_json::{Value, json};
use sync_access::{
    FETCH_TIME_LIMIT, IgnoredKey, KeyHosts, KeysFound, MAX_DOCUMENT_BYTES, MAX_KEYS, SourceReport,
    TokenError, Verifier, VerifierSettings,
};

use crate::support::{
    Answer, KeyHost, MINUTE, Pair, SECOND, SteppedClock, UNKNOWN_KEY, WRONG_SIGNATURE, World,
    alice, base64url, key_set,
};

#[tokio::test]
async fn a_withdrawn_key_stops_working_at_the_next_refresh() {
    let (old, new) = (Pair::ed25519("old"), Pair::ed25519("new"));
    let world = World::with(&[&old, &new]).await;
    let token = old.token();
    assert_eq!(world.verify(&token).await, Ok(alice()));
    world.publish(&[&new]);
    world.clock.step(5 * MINUTE);
    assert_eq!(
        world.verify(&token).await,
        Ok(alice()),
        "the last time, before the refresh lands"
    );
    world.fetch_has_landed().await;
    assert_eq!(world.verify(&token).await, Err(UNKNOWN_KEY));
    assert_eq!(world.verify(&new.token()).await, Ok(alice()));
    assert_eq!(world.verifier.figures().tokens_remembered, 1);
}

#[tokio::test]
async fn while_keys_overlap_both_work_and_a_new_one_works_at_once() {
    let (old, new) = (Pair::ed25519("old"), Pair::p256("new"));
    let world = World::with(&[&old]).await;
    assert_eq!(world.verify(&old.token()).await, Ok(alice()));
    world.publish(&[&old, &new]);
    world.clock.step(10 * SECOND);
    assert_eq!(world.verify(&new.token()).await, Ok(alice()));
    assert_eq!(world.verify(&old.token()).await, Ok(alice()));
    assert_eq!(world.host.requests(), 2);
}

#[tokio::test]
async fn a_key_that_takes_over_the_name_of_another_takes_its_tokens_down() {
    let (old, new) = (Pair::ed25519("key-1"), Pair::ed25519("key-1"));
    let world = World::with(&[&old]).await;
    let token = old.token();
    assert_eq!(world.verify(&token).await, Ok(alice()));
    world.publish(&[&new]);
    world.clock.step(10 * MINUTE);
    assert_eq!(world.verify(&token).await, Err(WRONG_SIGNATURE));
    assert_eq!(world.verify(&new.token()).await, Ok(alice()));
}

#[tokio::test]
async fn an_empty_key_set_withdraws_all_keys() {
    let key = Pair::ed25519("key-1");
    let world = World::with(&[&key]).await;
    assert_eq!(world.verify(&key.token()).await, Ok(alice()));
    world.publish(&[]);
    world.clock.step(10 * MINUTE);
    assert_eq!(world.verify(&key.token()).await, Err(UNKNOWN_KEY));
    assert_eq!(world.verifier.figures().keys_held, 0);
}

#[tokio::test]
async fn a_check_says_which_keys_are_usable_and_why_the_others_are_not() {
    let cases = unusable_keys();
    let (ed, ec, rsa) = (
        Pair::ed25519("ed"),
        Pair::p256("ec"),
        Pair::rsa("rsa", 2048),
    );
    let mut keys = vec![ed.public(), ec.public(), rsa.public()];
    keys.extend(cases.iter().map(|(_, key)| key.clone()));
    let world = World::answering(Answer::Document(json!({ "keys": keys }).to_string())).await;
    let ignored = cases.iter().map(|(reason, key)| IgnoredKey {
        kid: key["kid"].as_str().map(str::to_owned),
        reason,
    });
    let report = SourceReport {
        source: world.host.address.clone(),
        outcome: Ok(KeysFound {
            usable: 3,
            ignored: ignored.collect(),
        }),
    };
    assert_eq!(world.verifier.check().await, [report]);
    for pair in [&ed, &ec, &rsa] {
        assert_eq!(
            world.verify(&pair.token()).await,
            Ok(alice()),
            "{}",
            pair.kid
        );
    }
    assert_eq!(world.host.requests(), 1, "the keys of the check count");
}

#[tokio::test]
async fn tokens_of_ignored_keys_are_refused() {
    let weak = Pair::rsa("weak", 1024);
    let mut encrypting = Pair::ed25519("encrypting");
    let public = {
        encrypting.private.set_key_use("enc");
        encrypting.public()
    };
    encrypting.private.set_key_use("sig");
    let document = json!({"keys": [weak.public(), public]}).to_string();
    let world = World::answering(Answer::Document(document)).await;
    assert_eq!(world.verify(&encrypting.token()).await, Err(UNKNOWN_KEY));
    let signed = crate::support::signed_part(&weak.header(), &crate::support::claims());
    let signature = rsa_signature(&weak, &signed);
    assert_eq!(
        world.verify(&format!("{signed}.{signature}")).await,
        Err(UNKNOWN_KEY)
    );
}

#[test]
fn an_ignored_key_is_shown_escaped_and_cut() {
    let kid = Some(format!("a\n\u{1b}[31m\"{}", "x".repeat(1000)));
    let ignored = IgnoredKey {
        kid,
        reason: "it is malformed",
    };
    let expected = format!(r#""a\n\u{{1b}}[31m\"{}": it is malformed"#, "x".repeat(56));
    assert_eq!(ignored.to_string(), expected);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let key = Pair::ed25519("key-1");
    let elsewhere = KeyHost::start(Answer::Document(key_set(&[&key]))).await;
    for status in [
        "301 Moved Permanently",
        "302 Found",
        "307 Temporary Redirect",
    ] {
        let head = format!(
            "HTTP/1.1 {status}\r\nlocation: {}\r\ncontent-length: 0\r\n\r\n",
            elsewhere.address
        );
        let world = World::answering(Answer::Bytes(head.into_bytes())).await;
        assert_eq!(
            world.verify(&key.token()).await,
            Err(TokenError::KeysUnavailable)
        );
        let status = format!("the answer has status {}", &status[..3]);
        assert_eq!(outcome(&world).await, Err(status));
    }
    assert_eq!(elsewhere.requests(), 0);
}

#[tokio::test]
async fn a_key_set_that_is_too_long_is_refused_also_if_it_hides_its_length() {
    let key = Pair::ed25519("key-1");
    let set = key_set(&[&key]);
    let padded = |length: usize| set.clone() + &" ".repeat(length - set.len());
    let world = World::answering(Answer::Document(padded(MAX_DOCUMENT_BYTES))).await;
    assert_eq!(world.verify(&key.token()).await, Ok(alice()));
    let too_long = padded(MAX_DOCUMENT_BYTES + 1);
    let hidden = format!("HTTP/1.1 200 OK\r\n\r\n{too_long}").into_bytes();
    for answer in [Answer::Document(too_long), Answer::Bytes(hidden)] {
        let world = World::answering(answer).await;
        assert_eq!(
            world.verify(&key.token()).await,
            Err(TokenError::KeysUnavailable)
        );
        let expected = format!("the answer is longer than {MAX_DOCUMENT_BYTES} bytes");
        assert_eq!(outcome(&world).await, Err(expected));
    }
}

#[tokio::test]
async fn a_key_set_with_too_many_keys_is_refused() {
    let key = Pair::ed25519("key-1");
    let full = |count: usize| {
        let mut keys = vec![key.public()];
        keys.resize(count, json!({"kty": "oct", "kid": "secret"}));
        Answer::Document(json!({ "keys": keys }).to_string())
    };
    let world = World::answering(full(MAX_KEYS)).await;
    assert_eq!(world.verify(&key.token()).await, Ok(alice()));
    let world = World::answering(full(MAX_KEYS + 1)).await;
    assert_eq!(
        world.verify(&key.token()).await,
        Err(TokenError::KeysUnavailable)
    );
}

#[tokio::test(start_paused = true)]
async fn a_host_that_says_nothing_is_given_up_after_five_seconds() {
    let world = World::answering(Answer::Silence).await;
    let start = tokio::time::Instant::now();
    let answer = world.verify(&Pair::ed25519("key-1").token()).await;
    assert_eq!(answer, Err(TokenError::KeysUnavailable));
    assert!(start.elapsed() >= FETCH_TIME_LIMIT && start.elapsed() < 2 * FETCH_TIME_LIMIT);
    assert_eq!(world.verifier.figures().failed_fetches, 1);
}

#[tokio::test]
async fn a_host_that_cannot_prove_its_name_is_not_believed() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("https://{}/jwks", listener.local_addr().unwrap());
    let host = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        self_signed().accept(stream).is_ok()
    });
    let settings = VerifierSettings {
        key_addresses: vec![address],
        ..VerifierSettings::default()
    };
    let verifier = Verifier::new(settings, SteppedClock::new().as_clock()).unwrap();
    let [report] = verifier.check().await.try_into().unwrap();
    let why = report.outcome.unwrap_err();
    assert!(why.contains("certificate verify failed"), "{why}");
    assert!(!host.join().unwrap(), "not even the handshake came about");
}

#[test]
fn keys_come_from_public_hosts_by_https_and_from_this_machine_unless_more_is_allowed() {
    let made = |address: &str, key_hosts| {
        let settings = VerifierSettings {
            key_addresses: vec![address.to_owned()],
            key_hosts,
            ..VerifierSettings::default()
        };
        let made = Verifier::new(settings, SteppedClock::new().as_clock());
        made.map(|_| ()).map_err(|error| error.to_string())
    };
    let private = "the address of the keys is in a private network (SYNC_JWKS_HOSTS=anywhere \
                   allows it)";
    let plain = "the address of the keys is plain http to another machine: use https \
                 (SYNC_JWKS_HOSTS=anywhere allows it)";
    for (address, guarded) in [
        ("https://keys.example/jwks", Ok(())),
        ("http://localhost:3001/jwks", Ok(())),
        ("http://keys.example/jwks", Err(plain.to_owned())),
        ("https://10.0.0.7:3001/jwks", Err(private.to_owned())),
        ("http://10.0.0.7:3001/jwks", Err(private.to_owned())),
        ("https://169.254.169.254/jwks", Err(private.to_owned())),
        ("https://[::ffff:192.168.0.7]/jwks", Err(private.to_owned())),
    ] {
        assert_eq!(made(address, KeyHosts::default()), guarded, "{address}");
        assert_eq!(made(address, KeyHosts::Anywhere), Ok(()), "{address}");
    }
}

#[tokio::test]
async fn keys_come_from_this_machine_by_its_name() {
    let key = Pair::ed25519("key-1");
    let host = KeyHost::start(Answer::Document(key_set(&[&key]))).await;
    let settings = VerifierSettings {
        key_addresses: vec![host.address.replace("127.0.0.1", "localhost")],
        ..VerifierSettings::default()
    };
    let verifier = Verifier::new(settings, SteppedClock::new().as_clock()).unwrap();
    assert_eq!(verifier.verify(&key.token()).await, Ok(alice()));
}

#[test]
fn fixed_keys_of_which_one_is_ignored_are_a_wrong_setting() {
    let key = Pair::ed25519("key-1");
    let made = |fixed_keys: String| {
        let settings = VerifierSettings {
            fixed_keys: Some(fixed_keys),
            ..VerifierSettings::default()
        };
        let made = Verifier::new(settings, SteppedClock::new().as_clock());
        made.map(|_| ()).map_err(|error| error.to_string())
    };
    assert_eq!(made(key_set(&[&key])), Ok(()));
    let twice = "fixed keys: \"key-1\": an earlier key has the same kid";
    assert_eq!(made(key_set(&[&key, &key])), Err(twice.to_owned()));
    let none = "fixed keys: the document is not a JSON Web Key Set";
    assert_eq!(made("{}".to_owned()), Err(none.to_owned()));
}

#[tokio::test]
async fn of_two_hosts_with_the_same_kid_the_first_counts() {
    let (first, second) = (Pair::ed25519("key-1"), Pair::ed25519("key-1"));
    let other = Pair::ed25519("key-2");
    let hosts = [
        KeyHost::start(Answer::Document(key_set(&[&first]))).await,
        KeyHost::start(Answer::Document(key_set(&[&second, &other]))).await,
    ];
    let settings = VerifierSettings {
        key_addresses: hosts.iter().map(|host| host.address.clone()).collect(),
        ..VerifierSettings::default()
    };
    let verifier = Arc::new(Verifier::new(settings, SteppedClock::new().as_clock()).unwrap());
    assert_eq!(verifier.verify(&first.token()).await, Ok(alice()));
    assert_eq!(verifier.verify(&second.token()).await, Err(WRONG_SIGNATURE));
    assert_eq!(verifier.verify(&other.token()).await, Ok(alice()));
}

async fn outcome(world: &World) -> Result<KeysFound, String> {
    let mut reports = world.verifier.check().await;
    assert_eq!(reports.len(), 1);
    reports.remove(0).outcome
}

/// A key of a set that is to be ignored, and the reason that is to be given.
type Unusable = (&'static str, Value);

fn unusable_keys() -> Vec<Unusable> {
    let mut nameless = Pair::ed25519("x").public();
    nameless.as_object_mut().unwrap().remove("kid");
    let open = Value::Object(Pair::ed25519("open").private.into());
    let oct = json!({"kty": "oct", "kid": "oct", "k": "c2VjcmV0"});
    let mut all = vec![
        (
            "an earlier key has the same kid",
            Pair::ed25519("ed").public(),
        ),
        ("it has no kid", nameless),
        ("it is malformed", json!({"kid": "kindless"})),
        ("its secret part is published", open),
        ("its secret part is published", oct),
    ];
    all.extend(of_unusable_purpose());
    all.extend(of_unusable_type());
    all.extend(of_unusable_value());
    all
}

fn of_unusable_purpose() -> [Unusable; 2] {
    let (reason, all) = ("it is not for verifying signatures", json!(["sign"]));
    [
        (reason, ed25519_with("encrypting", "use", json!("enc"))),
        (reason, ed25519_with("signing", "key_ops", all)),
    ]
}

fn of_unusable_type() -> [Unusable; 4] {
    let reason = "its type is not supported";
    let p384 = Pair::new("p384", Jwk::generate_ec_key(EcCurve::P384));
    let x25519 = json!({"kty": "OKP", "crv": "X25519", "kid": "x", "x": base64url(&[1; 32])});
    let odd = ed25519_with("odd", "alg", json!("ES256"));
    [
        (reason, json!({"kty": "oct", "kid": "empty"})),
        (reason, p384.public()),
        (reason, x25519),
        ("its algorithm is not supported", odd),
    ]
}

fn of_unusable_value() -> [Unusable; 8] {
    let value = "its value is no key of its type";
    let size = "its size is not between 2048 and 8192 bits";
    let one = base64url(&[1; 32]);
    let off_curve = json!({"kty": "EC", "crv": "P-256", "kid": "off", "x": one, "y": one});
    let bits_2047 = [&[0x7f], [0xff; 255].as_slice()].concat();
    let short = json!(base64url(&[1; 31]));
    [
        (
            "it is malformed",
            ed25519_with("padded", "x", json!("AA==")),
        ),
        (value, ed25519_with("short", "x", short)),
        (value, off_curve),
        (size, Pair::rsa("weak", 1024).public()),
        (size, rsa_with("bit", "n", &bits_2047)),
        (size, rsa_with("huge", "n", &[0xff; 1025])),
        ("its exponent is 1", rsa_with("one", "e", &[0, 1])),
        ("its exponent is even", rsa_with("two", "e", &[2])),
    ]
}

fn ed25519_with(kid: &str, name: &str, value: Value) -> Value {
    let mut key = Pair::ed25519(kid).public();
    key[name] = value;
    key
}

fn rsa_with(kid: &str, name: &str, value: &[u8]) -> Value {
    let mut key = Pair::rsa(kid, 2048).public();
    key[name] = json!(base64url(value));
    key
}

/// A TLS server for 127.0.0.1 that nobody vouches for.
fn self_signed() -> SslAcceptor {
    let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
    let mut certificate = X509::builder().unwrap();
    let ip = SubjectAlternativeName::new()
        .ip("127.0.0.1")
        .build(&certificate.x509v3_context(None, None))
        .unwrap();
    certificate.append_extension(ip).unwrap();
    certificate.set_version(2).unwrap();
    certificate.set_pubkey(&key).unwrap();
    let (long_ago, tomorrow) = (
        Asn1Time::from_unix(0).unwrap(),
        Asn1Time::days_from_now(1).unwrap(),
    );
    certificate.set_not_before(&long_ago).unwrap();
    certificate.set_not_after(&tomorrow).unwrap();
    certificate.sign(&key, MessageDigest::sha256()).unwrap();
    let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).unwrap();
    acceptor.set_private_key(&key).unwrap();
    acceptor.set_certificate(&certificate.build()).unwrap();
    acceptor.build()
}

/// Signed by hand: the library makes none with so short a key.
fn rsa_signature(pair: &Pair, signed: &str) -> String {
    let pem = josekit::jwk::alg::rsa::RsaKeyPair::from_jwk(&pair.private).unwrap();
    let der = josekit::jwk::KeyPair::to_der_private_key(&pem);
    let key = PKey::private_key_from_der(&der).unwrap();
    let mut signer = Signer::new(MessageDigest::sha256(), &key).unwrap();
    base64url(&signer.sign_oneshot_to_vec(signed.as_bytes()).unwrap())
}
