//! The issuer for development, and a verifier that is given its keys as text.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use serde_json::{Value, json};
use sync_access::{DevelopmentIssuer, Identity, Verifier, VerifierSettings};
use sync_protocol::{ClientId, Millis, UserId};

use crate::support::{SECOND, START, SteppedClock, WRONG_SIGNATURE};

const FIVE_MINUTES: Duration = Duration::from_secs(300);

#[tokio::test]
async fn its_tokens_are_good_for_a_verifier_that_is_given_its_keys() {
    let issuer = DevelopmentIssuer::generate().unwrap();
    let issuer = issuer
        .with_issuer("dev".to_owned())
        .with_audience("sync".to_owned());
    let settings = VerifierSettings {
        fixed_keys: Some(issuer.key_set()),
        issuer: Some("dev".to_owned()),
        audience: Some("sync".to_owned()),
        ..VerifierSettings::default()
    };
    let verifier = Verifier::new(settings, SteppedClock::new().as_clock()).unwrap();
    let now = Millis(START * SECOND + 999);
    let token = issuer
        .issue("alice", Some("phone"), now, FIVE_MINUTES)
        .unwrap();
    let identity = Identity {
        user: UserId::new("alice").unwrap(),
        device: Some(ClientId::new("phone").unwrap()),
        expires: Millis((START + 300) * SECOND),
    };
    assert_eq!(verifier.verify(&token).await, Ok(identity));
}

#[test]
fn a_token_says_nothing_that_was_not_asked_for() {
    let issuer = DevelopmentIssuer::generate().unwrap();
    let token = issuer
        .issue("alice", None, Millis(START * SECOND), FIVE_MINUTES)
        .unwrap();
    let parts: Vec<Value> = token.split('.').take(2).map(decoded).collect();
    let key_set: Value = serde_json::from_str(&issuer.key_set()).unwrap();
    let kid = &key_set["keys"][0]["kid"];
    assert_eq!(parts[0], json!({"alg": "EdDSA", "kid": kid, "typ": "JWT"}));
    assert_eq!(
        parts[1],
        json!({"sub": "alice", "iat": START, "exp": START + 300})
    );
}

#[test]
fn its_key_set_holds_the_public_part_alone() {
    let issuer = DevelopmentIssuer::generate().unwrap();
    let mut key_set: Value = serde_json::from_str(&issuer.key_set()).unwrap();
    let key = key_set["keys"][0].as_object_mut().unwrap();
    let texts = ["x", "kid"].map(|name| key.remove(name).unwrap().as_str().unwrap().len());
    assert_eq!(texts, [43, 43]);
    let rest = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA"}]});
    assert_eq!(key_set, rest);
}

#[tokio::test]
async fn two_issuers_do_not_know_each_other() {
    let [one, other] = [(); 2].map(|()| DevelopmentIssuer::generate().unwrap());
    let kid_of = |issuer: &DevelopmentIssuer| -> Value {
        let set: Value = serde_json::from_str(&issuer.key_set()).unwrap();
        set["keys"][0]["kid"].clone()
    };
    let renamed = one.key_set().replace(
        kid_of(&one).as_str().unwrap(),
        kid_of(&other).as_str().unwrap(),
    );
    let settings = VerifierSettings {
        fixed_keys: Some(renamed),
        ..VerifierSettings::default()
    };
    let verifier = Verifier::new(settings, SteppedClock::new().as_clock()).unwrap();
    let token = other
        .issue("alice", None, Millis(START * SECOND), FIVE_MINUTES)
        .unwrap();
    assert_eq!(verifier.verify(&token).await, Err(WRONG_SIGNATURE));
}

#[test]
fn a_key_file_is_made_for_its_owner_alone_and_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key.pem");
    let made = DevelopmentIssuer::from_file(&path).unwrap();
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let found = DevelopmentIssuer::from_file(&path).unwrap();
    assert_eq!(made.key_set(), found.key_set());
}

#[test]
fn a_key_file_that_others_can_read_or_that_holds_no_such_key_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let shared = folder.path().join("shared.pem");
    drop(DevelopmentIssuer::from_file(&shared).unwrap());
    std::fs::set_permissions(&shared, PermissionsExt::from_mode(0o640)).unwrap();
    let rsa = josekit::jwk::alg::rsa::RsaKeyPair::generate(2048).unwrap();
    let ed448 =
        josekit::jwk::alg::ed::EdKeyPair::generate(josekit::jwk::alg::ed::EdCurve::Ed448).unwrap();
    let pems = [Vec::new(), b"no key".to_vec(), pem(&rsa), pem(&ed448)];
    let mut paths = vec![
        shared,
        folder.path().join("no/such/folder/key.pem"),
        folder.path().to_owned(),
    ];
    for (index, pem) in pems.iter().enumerate() {
        let path = folder.path().join(index.to_string());
        std::fs::write(&path, pem).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        paths.push(path);
    }
    for path in paths {
        assert!(
            DevelopmentIssuer::from_file(&path).is_err(),
            "{}",
            path.display()
        );
    }
}

fn pem(pair: &dyn josekit::jwk::KeyPair) -> Vec<u8> {
    pair.to_pem_private_key()
}

fn decoded(part: &str) -> Value {
    let mut standard = part.replace('-', "+").replace('_', "/");
    while !standard.len().is_multiple_of(4) {
        standard.push('=');
    }
    serde_json::from_slice(&openssl::base64::decode_block(&standard).unwrap()).unwrap()
}
