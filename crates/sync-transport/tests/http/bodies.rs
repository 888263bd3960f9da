//! Bad input: never a 5xx, never half done.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sync_protocol::Changeset;

use crate::support::{Server, insert, refused};

const TEN_MEGABYTES: usize = 10 * 1024 * 1024;

#[tokio::test]
async fn what_is_no_changeset_is_400() {
    let server = Server::start().await;
    let brackets = "[".repeat(TEN_MEGABYTES);
    let deep = format!(
        r#"{{"changes":[{{"table":"a","id":"b","op":"insert","data":{}"#,
        "[".repeat(TEN_MEGABYTES - 100)
    );
    for body in [
        "",
        "  \n",
        r#"{"changes":["#,
        r#"{"clientId":"a",}"#,
        "{'clientId':'a'}",
        "[]",
        "\"text\"",
        "null",
        r#"{"clientId":5}"#,
        r#"{"changes":{}}"#,
        "\u{feff}{}",
        r#"{} and more"#,
        r#"{"since":"","since":""}"#,
        &brackets,
        &deep,
    ] {
        let response = server.push("a", body.to_owned()).await;
        let shown: String = body.chars().take(60).collect();
        assert_eq!(
            refused(response).await,
            (400, json!("invalid_json")),
            "{shown}"
        );
    }
    let response = server.push("a", b"{\"clientId\":\"\xff\"}".to_vec()).await;
    assert_eq!(refused(response).await, (400, json!("invalid_json")));
}

#[tokio::test]
async fn a_change_that_cannot_be_refuses_the_push_and_nothing_is_stored() {
    let server = Server::start().await;
    let good = r#"{"table":"tasks","id":"good","op":"insert","data":{"a":1}}"#;
    for bad in [
        r#"{"table":"tasks","id":"t","op":"upsert"}"#,
        r#"{"table":"tasks","op":"insert"}"#,
        r#"{"table":"tasks","id":"t","op":"update","fields":{"x":null}}"#,
        r#"{"table":"tasks","id":"t","op":"update","fields":[]}"#,
        r#"{"table":"tasks","id":"t","op":"insert","schemaVersion":2}"#,
        r#"{"table":"tasks","id":"t","op":"insert","schemaVersion":9223372036854775808}"#,
    ] {
        let response = server
            .push("a", format!(r#"{{"changes":[{good},{bad}]}}"#))
            .await;
        let status = response.status();
        let body: Value = response.json().await.unwrap();
        assert_eq!(status, 400, "{bad}: {body}");
        assert!(body["message"].as_str().unwrap().contains('1'), "{body}");
    }
    assert_eq!(server.pull("b", "tasks").await["serverChanges"], json!([]));
}

#[tokio::test]
async fn what_can_never_be_a_row_is_parked_and_the_rest_goes_on() {
    let server = Server::start().await;
    let good = r#"{"table":"tasks","id":"good","op":"insert","data":{"a":1}}"#;
    let odd = [
        r#"{"table":"tasks","id":"a\u0000b","op":"insert","data":{}}"#,
        r#"{"table":"tasks","id":"\ud800","op":"insert","data":{}}"#,
        r#"{"table":"tasks","id":"t","op":"insert","data":{"a":1,"a":2}}"#,
        r#"{"table":"tasks","id":"t","op":"insert","data":{"__proto__":1}}"#,
    ];
    let body = format!(r#"{{"changes":[{},{good}]}}"#, odd.join(","));
    let answer: Value = server.push("a", body).await.json().await.unwrap();
    let warnings = answer["warnings"].as_array().unwrap();
    let codes: Vec<_> = warnings
        .iter()
        .map(|one| (&one["change"], &one["code"]))
        .collect();
    let parked = json!("parked");
    let places = [0, 1, 2, 3].map(|place| json!(place));
    assert_eq!(
        codes,
        places
            .iter()
            .map(|place| (place, &parked))
            .collect::<Vec<_>>()
    );
    let pulled = server.pull("b", "tasks").await;
    assert_eq!(pulled["serverChanges"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn the_content_type_is_not_looked_at() {
    let server = Server::start().await;
    for kind in ["text/plain", "application/xml; charset=x", "\u{e9}"] {
        let request = server
            .as_user("POST", "/sync/todo", "a")
            .header("Content-Type", kind);
        let response = request
            .body(insert("tasks", "t", "{}"))
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 200, "{kind}");
    }
}

/// A changeset of exactly so many bytes.
fn sized(bytes: usize) -> String {
    let empty = insert("big", "b", r#"{"text":""}"#);
    let text = "x".repeat(bytes - empty.len());
    insert("big", "b", &format!(r#"{{"text":"{text}"}}"#))
}

#[tokio::test]
async fn a_body_may_have_ten_megabytes_and_not_a_byte_more() {
    let server = Server::start().await;
    assert_eq!(server.push("a", sized(TEN_MEGABYTES)).await.status(), 200);
    for bytes in [TEN_MEGABYTES + 1, 2 * TEN_MEGABYTES] {
        let response = server.push("a", sized(bytes)).await;
        assert_eq!(refused(response).await, (413, json!("body_too_large")));
    }
}

/// A changeset of almost ten megabytes that takes long to read and turns out to be none in its last change.
fn laborious() -> String {
    let fields: Vec<_> = (0..900)
        .map(|name| format!(r#""f{name}":{name}"#))
        .collect();
    let fields = fields.join(",");
    let change = format!(r#"{{"table":"t","id":"i","op":"insert","data":{{{fields}}}}},"#);
    let changes = change.repeat((TEN_MEGABYTES - 1000) / change.len());
    format!(r#"{{"changes":[{changes}{{"table":"t","id":"i","op":"nonsense"}}]}}"#)
}

/// The whole test is on one thread: who keeps it busy is seen.
#[tokio::test]
async fn others_are_served_while_a_large_body_is_read() {
    let server = Server::start().await;
    let body = laborious();
    let began = Instant::now();
    assert!(Changeset::parse(body.as_bytes()).is_err());
    let parsing = began.elapsed();
    let request = server.as_user("POST", "/sync/todo", "a").body(body);
    let push = tokio::spawn(request.send());
    let mut longest = Duration::ZERO;
    while !push.is_finished() {
        let began = Instant::now();
        assert_eq!(server.get("/health").await.status(), 200);
        longest = longest.max(began.elapsed());
    }
    let refused = refused(push.await.unwrap().unwrap()).await;
    assert_eq!(refused, (400, json!("invalid_changeset")));
    assert!(longest < parsing / 2, "{longest:?}, of {parsing:?}");
}

#[tokio::test]
async fn a_body_of_unknown_length_has_the_same_limit() {
    let server = Server::start().await;
    for (bytes, status) in [(TEN_MEGABYTES, 200), (TEN_MEGABYTES + 1, 413)] {
        let mut socket = server.socket().await;
        let token = server.token("alice");
        let head = format!(
            "POST /sync/todo HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
        socket.say(head).await;
        for chunk in sized(bytes).as_bytes().chunks(1 << 20) {
            socket.say(format!("{:x}\r\n", chunk.len())).await;
            socket.say(chunk).await;
            socket.say("\r\n").await;
        }
        socket.say("0\r\n\r\n").await;
        let answer = socket.until("\r\n\r\n").await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn a_body_that_is_cut_off_stores_nothing() {
    let server = Server::start().await;
    let mut socket = server.socket().await;
    let body = insert("tasks", "t", r#"{"a":1}"#);
    let head = format!(
        "POST /sync/todo HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Length: {}\r\n\r\n{body}",
        server.token("alice"),
        body.len() + 1
    );
    socket.say(head).await;
    tokio::io::AsyncWriteExt::shutdown(&mut socket.0)
        .await
        .unwrap();
    let answer = socket.all().await;
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 400 "),
        "{answer}"
    );
    assert_eq!(server.pull("b", "tasks").await["serverChanges"], json!([]));
}

#[tokio::test]
async fn a_head_that_is_too_large_or_no_http_ends_the_connection_alone() {
    let server = Server::start().await;
    for head in [
        format!("GET /health HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(100_000)),
        "\0\0\0\0\r\n\r\n".to_owned(),
        "GET /health\u{0} HTTP/1.1\r\n\r\n".to_owned(),
    ] {
        let mut socket = server.socket().await;
        // The server may have closed before all of it is sent.
        let _ = tokio::io::AsyncWriteExt::write_all(&mut socket.0, head.as_bytes()).await;
        let answer = socket.all().await;
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4"),
            "{answer}"
        );
    }
    assert_eq!(server.get("/health").await.status(), 200);
}
