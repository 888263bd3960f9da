//! One line per request, with nothing in it that is not for the log.

use serde_json::json;

use crate::support::{Server, insert, keep_log, line, whole_log};

#[tokio::test]
async fn a_request_leaves_one_line_without_payload_token_or_user() {
    keep_log();
    let server = Server::start().await;
    let token = server.token("alice-the-user");
    let body = insert("tasks", "t", r#"{"secret":"payload-of-alice"}"#);
    let request = server
        .request("POST", "/sync/to%0Cdo%22x")
        .bearer_auth(&token);
    let request = request
        .header("X-Request-Id", "refused-one")
        .body(body.clone());
    assert_eq!(request.send().await.unwrap().status(), 400);
    let request = server
        .request("POST", "/sync/todo%22x?q=query-of-alice")
        .bearer_auth(&token);
    let request = request
        .header("X-Request-Id", "good-one")
        .header("X-Client-Id", "device");
    let answer = request.body(body.clone()).send().await.unwrap();
    let sent = answer.text().await.unwrap().len();

    let refused = line("refused-one").await;
    assert_eq!(refused["level"], "INFO");
    assert_eq!(refused["fields"]["status"], 400);
    assert_eq!(refused["fields"]["error"], "invalid_app_id");

    let good = line("good-one").await;
    assert_eq!(
        good["fields"],
        json!({
            "message": "request",
            "method": "POST",
            "route": "/sync/{app_id}",
            "status": 200,
            "ms": good["fields"]["ms"],
            "bytes_in": body.len(),
            "bytes_out": sent,
            "request_id": "good-one",
            "user": good["fields"]["user"],
            "app": "todo\\\"x",
        })
    );
    let user = good["fields"]["user"].as_str().unwrap();
    assert!(
        user.len() == 12 && user.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "{user}"
    );

    let log = whole_log();
    for secret in [&token[..], "alice", "payload", "query-of", "device"] {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
}

#[tokio::test]
async fn a_refused_token_is_not_in_the_log_either() {
    keep_log();
    let server = Server::start().await;
    let token = format!("{}AAAA", server.token("mallory"));
    let request = server.request("POST", "/sync/todo").bearer_auth(&token);
    let request = request.header("X-Request-Id", "bad-token").body("x");
    assert_eq!(request.send().await.unwrap().status(), 401);
    assert_eq!(line("bad-token").await["fields"]["error"], "token_invalid");
    let log = whole_log();
    for part in token.split('.') {
        assert!(!log.contains(part), "{log}");
    }
}
