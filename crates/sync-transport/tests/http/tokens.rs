//! Who is let in.

use reqwest::RequestBuilder;
use serde_json::{Value, json};
use sync_protocol::Millis;

use crate::support::{Make, NOW, Server, insert, refused};

const PULL: &str = "/sync/todo/pull?collection=tasks&since=0";

#[tokio::test]
async fn without_a_good_token_it_is_401() {
    let server = Server::start().await;
    let good = server.token("alice");
    let expired = server.token_from("alice", Millis(NOW.0 - 2 * 3_600_000));
    for (header, code) in [
        (None, "token_missing"),
        (Some("Bearer ".to_owned()), "token_missing"),
        (Some(good.clone()), "token_missing"),
        (Some("Basic YWxpY2U6cHc=".to_owned()), "token_missing"),
        (Some("Bearer not-a-token".to_owned()), "token_invalid"),
        (Some(format!("Bearer {good}x")), "token_invalid"),
        (Some(format!("Bearer {expired}")), "token_expired"),
    ] {
        for (method, path) in [
            ("GET", PULL),
            ("POST", "/sync/todo"),
            ("GET", "/sync/todo/pull"),
        ] {
            let mut request = server.request(method, path).body("not json");
            if let Some(header) = &header {
                request = request.header("Authorization", header);
            }
            let response = request.send().await.unwrap();
            let challenge = response.headers()["www-authenticate"]
                .to_str()
                .unwrap()
                .to_owned();
            assert!(
                challenge.starts_with("Bearer realm=\"sync\""),
                "{challenge}"
            );
            assert_eq!(challenge.contains("invalid_token"), code != "token_missing");
            assert_eq!(refused(response).await, (401, json!(code)), "{header:?}");
        }
    }
}

#[tokio::test]
async fn the_case_of_the_scheme_does_not_matter() {
    let server = Server::start().await;
    let header = format!("bEARER {}", server.token("alice"));
    let response = server
        .request("GET", PULL)
        .header("Authorization", header)
        .send()
        .await;
    assert_eq!(response.unwrap().status(), 200);
}

#[tokio::test]
async fn a_token_in_the_url_or_one_of_two_does_not_count() {
    let server = Server::start().await;
    let token = server.token("alice");
    let in_url = server
        .get(&format!("{PULL}&token={token}&access_token={token}"))
        .await;
    assert_eq!(refused(in_url).await, (401, json!("token_missing")));
    let two = server
        .request("GET", PULL)
        .bearer_auth(&token)
        .bearer_auth(&token);
    let two = two.send().await.unwrap();
    assert_eq!(refused(two).await, (401, json!("token_missing")));
}

#[tokio::test]
async fn without_keys_it_is_503_since_that_says_nothing_about_the_token() {
    let server = Server::made(Make {
        keys: false,
        ..Make::default()
    })
    .await;
    let response = server.as_user("GET", PULL, "a").send().await.unwrap();
    assert_eq!(response.headers()["retry-after"], "5");
    assert_eq!(response.headers().get("www-authenticate"), None);
    assert_eq!(refused(response).await, (503, json!("keys_unavailable")));
    let ready = server.get("/ready").await;
    assert_eq!(refused(ready).await, (503, json!("not_ready")));
}

#[tokio::test]
async fn the_refusal_of_a_large_push_reaches_the_client() {
    let server = Server::start().await;
    let body = vec![b'x'; 9 * 1024 * 1024];
    let response = server
        .request("POST", "/sync/todo")
        .body(body)
        .send()
        .await
        .unwrap();
    assert_eq!(refused(response).await, (401, json!("token_missing")));
}

#[tokio::test]
async fn no_part_of_a_request_but_the_token_names_the_user() {
    let server = Server::start().await;
    let body = insert(
        "tasks",
        "t",
        r#"{"a":1,"user":"ben","user_id":"ben","author":"ben"}"#,
    );
    let body = body.replacen(
        '{',
        r#"{"user":"ben","userId":"ben","user_id":"ben","sub":"ben","author":"ben","scope":"u:ben","#,
        1,
    );
    let body = body.replacen(
        r#"{"table""#,
        r#"{"user":"ben","author":"ben","scope":"u:ben","table""#,
        1,
    );
    let naming = |request: RequestBuilder| {
        let names = [
            "X-User-Id",
            "X-User",
            "X-Forwarded-User",
            "From",
            "Remote-User",
        ];
        names
            .into_iter()
            .fold(request, |request, name| request.header(name, "ben"))
    };
    let path = "/sync/todo?user=ben&user_id=ben&sub=ben";
    let pushed = naming(server.as_user("POST", path, "phone")).body(body);
    assert_eq!(pushed.send().await.unwrap().status(), 200);
    let read = async |user: &str, other: &str| {
        let path = format!("{PULL}&user={other}&user_id={other}&sub={other}");
        let request = server.request("GET", &path).bearer_auth(server.token(user));
        let answer = request.header("X-User-Id", other).send().await.unwrap();
        let answer: Value = answer.json().await.unwrap();
        answer["serverChanges"].as_array().unwrap().len()
    };
    assert_eq!(read("ben", "alice").await, 0);
    assert_eq!(read("alice", "ben").await, 1);
}
