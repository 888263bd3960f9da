//! Who is let in: users whose token names a device.

use openssl::base64::encode_block;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Signer;
use reqwest::Response;
use serde_json::{Value, json};

use super::{PK, ROUTES, change, changes};
use crate::live::Peer;
use crate::support::{Make, NOW, Server, refused};

const SECRET: &str = "a secret of more than 32 bytes, for rows";

async fn server() -> Server {
    Server::made(Make {
        rows_secret: Some(SECRET),
        ..Make::default()
    })
    .await
}

fn base64url(bytes: &[u8]) -> String {
    let text = encode_block(bytes).replace('+', "-").replace('/', "_");
    text.trim_end_matches('=').to_owned()
}

/// A token as issuers of rows clients make it.
fn hmac(digest: MessageDigest, algorithm: &str, secret: &str, claims: &Value) -> String {
    let header = json!({"alg": algorithm, "typ": "JWT"}).to_string();
    let (header, claims) = (header.into_bytes(), claims.to_string().into_bytes());
    let signed = format!("{}.{}", base64url(&header), base64url(&claims));
    let key = PKey::hmac(secret.as_bytes()).unwrap();
    let signature = Signer::new(digest, &key)
        .and_then(|mut signer| signer.sign_oneshot_to_vec(signed.as_bytes()));
    format!("{signed}.{}", base64url(&signature.unwrap()))
}

fn hs256(claims: &Value) -> String {
    hmac(MessageDigest::sha256(), "HS256", SECRET, claims)
}

/// What a good token says.
fn alice() -> Value {
    let now = NOW.0 / 1000;
    json!({"sub": "alice", "did": "phone", "iss": "go-oversync", "iat": now, "nbf": now, "exp": now + 300})
}

fn without(name: &str) -> Value {
    let mut claims = alice();
    claims.as_object_mut().unwrap().remove(name);
    claims
}

async fn ask(server: &Server, method: &str, path: &str, token: &str) -> Response {
    let request = server.request(method, path).bearer_auth(token);
    request.body("{}").send().await.unwrap()
}

async fn is_refused(server: &Server, token: &str, code: &str) {
    for (method, path) in ROUTES {
        let response = ask(server, method, path, token).await;
        let challenge = &response.headers()["www-authenticate"];
        let challenge = challenge.to_str().unwrap().to_owned();
        assert!(challenge.starts_with("Bearer realm"), "{challenge}");
        assert_eq!(refused(response).await, (401, json!(code)), "{path}");
    }
}

#[tokio::test]
async fn without_a_token_every_route_is_401() {
    let server = server().await;
    for (method, path) in ROUTES {
        let request = server.request(method, path).body("not json");
        let response = request.send().await.unwrap();
        assert_eq!(
            refused(response).await,
            (401, json!("token_missing")),
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_token_without_a_device_is_401_and_is_told_what_is_missing() {
    let server = server().await;
    let token = server.token("alice");
    is_refused(&server, &token, "token_invalid").await;
    is_refused(&server, &hs256(&without("did")), "token_invalid").await;
    let response = ask(&server, "GET", "/sync/download", &token).await;
    let body: Value = response.json().await.unwrap();
    assert_eq!(
        body["message"],
        "the token names no device: rows clients need one with the claim did"
    );
    // For the other dialect it is as good as ever.
    let pull = "/sync/todo/pull?collection=a&since=0";
    assert_eq!(ask(&server, "GET", pull, &token).await.status(), 200);
}

#[tokio::test]
async fn a_token_of_the_secret_lets_in_who_it_names() {
    let server = server().await;
    let mut by_source = without("did");
    by_source["source_id"] = json!("phone");
    for claims in [alice(), by_source] {
        let token = hs256(&claims);
        let response = ask(&server, "GET", "/sync/schema-version", &token).await;
        assert_eq!(response.status(), 200, "{claims}");
    }
}

#[tokio::test]
async fn a_token_of_the_secret_that_is_bad_is_401() {
    let server = server().await;
    let mut expired = alice();
    expired["exp"] = json!(NOW.0 / 1000 - 3600);
    is_refused(&server, &hs256(&expired), "token_expired").await;
    let mut ahead = alice();
    ahead["nbf"] = json!(NOW.0 / 1000 + 3600);
    is_refused(&server, &hs256(&ahead), "token_not_yet_valid").await;
    for name in ["sub", "exp"] {
        is_refused(&server, &hs256(&without(name)), "token_invalid").await;
    }
    let (sha384, sha512) = (MessageDigest::sha384(), MessageDigest::sha512());
    let other = "another secret of more than 32 bytes";
    for token in [
        hmac(MessageDigest::sha256(), "HS256", other, &alice()),
        hmac(sha384, "HS384", SECRET, &alice()),
        hmac(sha512, "HS512", SECRET, &alice()),
        hmac(sha512, "HS256", SECRET, &alice()),
        hmac(MessageDigest::sha256(), "none", SECRET, &alice()),
        format!("{}x", hs256(&alice())),
    ] {
        is_refused(&server, &token, "token_invalid").await;
    }
    let without_secret = Server::start().await;
    is_refused(&without_secret, &hs256(&alice()), "token_invalid").await;
}

#[tokio::test]
async fn a_token_of_the_secret_lets_nobody_into_the_other_dialect() {
    let server = server().await;
    let token = hs256(&alice());
    let response = ask(&server, "GET", "/sync/schema-version", &token).await;
    assert_eq!(response.status(), 200);
    for (method, path) in [
        ("POST", "/sync/todo"),
        ("GET", "/sync/todo/pull?collection=a&since=0"),
        ("GET", "/sync/todo/stream"),
    ] {
        let response = ask(&server, method, path, &token).await;
        assert_eq!(
            refused(response).await,
            (401, json!("token_invalid")),
            "{path}"
        );
    }
    let mut peer = Peer::connect(&server, "/ws").await;
    peer.auth(&token, None).await;
    assert_eq!(peer.error().await, "the token's algorithm is not accepted");
    assert_eq!(peer.closed().await.0, 1008);
}

#[tokio::test]
async fn a_token_of_the_key_set_with_a_device_is_good_for_both_dialects() {
    let server = server().await;
    let token = server.device_token("alice", "phone");
    for (method, path) in [
        ("GET", "/sync/schema-version"),
        ("POST", "/sync/todo"),
        ("GET", "/sync/schema-version"),
    ] {
        let response = ask(&server, method, path, &token).await;
        assert_eq!(response.status(), 200, "{path}");
    }
}

#[tokio::test]
async fn the_refusal_of_a_large_upload_reaches_the_client() {
    let server = server().await;
    let request = server.request("POST", "/sync/upload");
    let response = request.body(vec![b'x'; 9 * 1024 * 1024]).send().await;
    let refusal = refused(response.unwrap()).await;
    assert_eq!(refusal, (401, json!("token_missing")));
}

#[tokio::test]
async fn who_signs_in_at_a_development_server_has_a_token_for_rows() {
    let server = Server::made(Make {
        development: true,
        ..Make::default()
    })
    .await;
    let sign_in = server.request("POST", "/dummy-signin");
    let signed_in = sign_in.body(r#"{"user":"alice","password":"any"}"#);
    let signed_in: Value = signed_in.send().await.unwrap().json().await.unwrap();
    let token = signed_in["token"].as_str().unwrap();
    let device = signed_in["device"].as_str().unwrap();
    let digits = device.strip_prefix("device-").unwrap();
    let is_base36 = |byte: u8| byte.is_ascii_digit() || byte.is_ascii_lowercase();
    assert!(
        !digits.is_empty() && digits.bytes().all(is_base36),
        "{device}"
    );

    let upload = server.request("POST", "/sync/upload").bearer_auth(token);
    let upload = upload.body(changes(&[change("todo", 1, PK)])).send().await;
    assert_eq!(upload.unwrap().status(), 200);
    let download = server.request("GET", "/sync/download?include_self=true");
    let page = download.bearer_auth(token).send().await.unwrap();
    let page: Value = page.json().await.unwrap();
    assert_eq!(page["changes"][0]["source_id"], device);
}
