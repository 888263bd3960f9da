//! Push and pull.

use serde_json::{Value, json};

use crate::support::{Server, insert, refused};

#[tokio::test]
async fn what_one_device_pushes_another_pulls_digit_for_digit() {
    let server = Server::start().await;
    let data = r#"{"big":123456789012345678901234567890.1230,"exp":1e400,"edge":9223372036854775808,"z":-0,"a":"\u0000\ud800 é","o":{"b":1,"a":[null]}}"#;
    let pushed = server.push("a", insert("tasks", "t", data)).await;
    assert_eq!(pushed.status(), 200);
    assert_eq!(pushed.headers()["content-type"], "application/json");
    assert_eq!(pushed.headers()["cache-control"], "no-store");
    let pushed: Value = pushed.json().await.unwrap();
    assert_eq!(
        pushed,
        json!({"serverChanges": [], "conflicts": [], "syncedUntil": pushed["syncedUntil"], "hasMore": false})
    );
    let path = "/sync/todo/pull?collection=tasks&since=1970-01-01T00:00:00Z";
    let pulled = server.as_user("GET", path, "b").send().await.unwrap();
    let pulled = pulled.text().await.unwrap();
    assert!(pulled.contains(&format!("\"data\":{data}")), "{pulled}");
}

#[tokio::test]
async fn the_header_says_which_client_it_is_before_the_body_does() {
    let server = Server::start().await;
    let body = insert("tasks", "t", r#"{"a":1}"#).replacen('{', r#"{"clientId":"body","#, 1);
    server
        .push("header", body.clone())
        .await
        .error_for_status()
        .unwrap();
    let from = "2026-01-01T00:00:00.000000000Z";
    let seen = |device: &'static str| {
        let path = format!("/sync/todo/pull?collection=tasks&since={from}");
        let request = server.as_user("GET", &path, device);
        async move { request.send().await.unwrap().json::<Value>().await.unwrap() }
    };
    let count = |answer: Value| answer["serverChanges"].as_array().unwrap().len();
    // The position of the row is the time of the push, and `since` is before it by nothing: both see all.
    assert_eq!(count(seen("body").await), count(seen("other").await));
    let cursor = "2025-12-31T23:59:59.999999999Z";
    for (device, rows) in [("header", 0), ("body", 1), ("", 1)] {
        let path = format!("/sync/todo/pull?collection=tasks&since={cursor}");
        let answer = server.as_user("GET", &path, device).send().await.unwrap();
        assert_eq!(count(answer.json().await.unwrap()), rows, "{device}");
    }
    let no_header = server
        .request("POST", "/sync/todo")
        .bearer_auth(server.token("alice"));
    let again = body
        .replace("\"t\"", "\"u\"")
        .replace("\"since\":\"\"", &format!("\"since\":\"{cursor}\""));
    let answer: Value = no_header
        .body(again)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(
        count(answer),
        1,
        "the client of the body did not write the first"
    );
}

#[tokio::test]
async fn a_client_id_is_an_identifier_in_utf8() {
    let server = Server::start().await;
    let path = "/sync/todo/pull?collection=tasks&since=0";
    for (id, status) in [
        (b"caf\xc3\xa9".to_vec(), 200),
        (vec![b'a'; 256], 200),
        (vec![b'a'; 257], 400),
        (b"caf\xe9".to_vec(), 400),
        (b"a\tb".to_vec(), 400),
        (b"__proto__".to_vec(), 400),
    ] {
        let value = reqwest::header::HeaderValue::from_bytes(&id).unwrap();
        let request = server
            .request("GET", path)
            .bearer_auth(server.token("alice"));
        let response = request.header("X-Client-Id", value).send().await.unwrap();
        assert_eq!(response.status(), status, "{id:?}");
        if status == 400 {
            assert_eq!(refused(response).await, (400, json!("invalid_client_id")));
        }
    }
    let body = r#"{"clientId":"a\u0000b","changes":[]}"#;
    let request = server
        .request("POST", "/sync/todo")
        .bearer_auth(server.token("alice"));
    let response = request.body(body).send().await.unwrap();
    assert_eq!(refused(response).await, (400, json!("invalid_changeset")));
}

#[tokio::test]
async fn a_pull_needs_its_parameters() {
    let server = Server::start().await;
    for query in [
        "",
        "?collection=tasks",
        "?since=0",
        "?collection=&since=0",
        "?collection=tasks&since=",
    ] {
        let path = format!("/sync/todo/pull{query}");
        let response = server.as_user("GET", &path, "b").send().await.unwrap();
        let body: Value = response.json().await.unwrap();
        assert_eq!(
            body,
            json!({"error": "invalid_parameter", "message": "missing collection or since parameter"})
        );
    }
    for limit in ["0", "1001", "x", ""] {
        let path = format!("/sync/todo/pull?collection=tasks&since=0&limit={limit}");
        let response = server.as_user("GET", &path, "b").send().await.unwrap();
        assert_eq!(refused(response).await, (400, json!("invalid_parameter")));
    }
}

#[tokio::test]
async fn a_since_of_nonsense_is_the_beginning_and_a_limit_makes_pages() {
    let server = Server::start().await;
    for id in ["t", "u"] {
        let body = insert("caf\u{e9} & a,b", id, r#"{"a":1}"#);
        server.push("a", body).await.error_for_status().unwrap();
    }
    let path = "/sync/todo/pull?collection=caf%C3%A9+%26%20a%2Cb&since=nonsense%00&limit=1&since=2099-01-01T00:00:00Z";
    let page: Value = server
        .as_user("GET", path, "b")
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(page["serverChanges"].as_array().unwrap().len(), 1);
    assert_eq!(page["hasMore"], json!(true));
    let since = page["syncedUntil"].as_str().unwrap().replace('+', "%2B");
    let path = format!("/sync/todo/pull?collection=caf%C3%A9+%26%20a%2Cb&since={since}");
    let rest: Value = server
        .as_user("GET", &path, "b")
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(rest["serverChanges"][0]["id"], json!("u"));
    assert_eq!(rest["hasMore"], json!(false));
}
