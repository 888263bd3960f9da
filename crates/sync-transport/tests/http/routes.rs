//! Paths and methods.

use serde_json::json;

use crate::support::{Make, Server, refused};

#[tokio::test]
async fn an_unknown_path_is_404() {
    let server = Server::start().await;
    for (method, path) in [
        ("GET", "/sync"),
        ("GET", "/sync/todo/pull/"),
        ("GET", "/sync/todo/nope"),
        ("GET", "/sync/todo/pull/more"),
        ("GET", "/api/sync/todo"),
        ("GET", "/HEALTH"),
        ("GET", "/health/"),
        ("GET", "/ws/todo/more"),
        ("POST", "/sync/"),
        ("POST", "/sync/todo/"),
        ("OPTIONS", "/nowhere"),
        ("GET", "/%ff%00"),
    ] {
        let response = server.request(method, path).send().await.unwrap();
        assert_eq!(refused(response).await, (404, json!("not_found")), "{path}");
    }
}

#[tokio::test]
async fn what_comes_later_or_is_reserved_is_no_path() {
    let server = Server::start().await;
    for (method, path) in [
        ("POST", "/sync/%75pload"),
        ("GET", "/sync/upload/pull?collection=a&since=b"),
        ("GET", "/"),
        ("GET", "/openapi.json"),
        ("GET", "/sync/download/stream"),
        ("GET", "/admin"),
        ("POST", "/dummy-signin"),
        ("GET", "/.well-known/jwks.json"),
    ] {
        let response = server.as_user(method, path, "a").body("{}").send().await;
        let refused = refused(response.unwrap()).await;
        assert_eq!(refused, (404, json!("not_found")), "{path}");
    }
}

#[tokio::test]
async fn a_wrong_method_is_405_before_anything_else() {
    let server = Server::start().await;
    for (method, path, allow) in [
        ("GET", "/sync/todo", "POST"),
        ("PUT", "/sync/todo", "POST"),
        ("DELETE", "/sync/todo", "POST"),
        ("PATCH", "/sync/todo", "POST"),
        ("OPTIONS", "/sync/todo", "POST"),
        ("BREW", "/sync/todo", "POST"),
        ("POST", "/sync/todo/pull", "GET,HEAD"),
        ("PUT", "/sync/todo/pull", "GET,HEAD"),
        ("POST", "/health", "GET,HEAD"),
        ("OPTIONS", "/health", "GET,HEAD"),
        ("DELETE", "/ready", "GET,HEAD"),
        ("POST", "/metrics", "GET,HEAD"),
    ] {
        let response = server.request(method, path).send().await.unwrap();
        assert_eq!(response.headers()["allow"], allow, "{method} {path}");
        let refused = refused(response).await;
        assert_eq!(
            refused,
            (405, json!("method_not_allowed")),
            "{method} {path}"
        );
    }
}

#[tokio::test]
async fn a_head_request_is_answered_without_a_body() {
    let server = Server::start().await;
    for path in ["/health", "/metrics", "/ready"] {
        let (head, get) = (
            server.request("HEAD", path).send().await.unwrap(),
            server.get(path).await,
        );
        assert_eq!(head.status(), 200);
        assert_eq!(
            head.headers()["content-type"],
            get.headers()["content-type"]
        );
        assert_eq!(head.text().await.unwrap(), "");
    }
    let head = server.request("HEAD", "/sync/todo").send().await.unwrap();
    assert_eq!(
        (head.status().as_u16(), &head.headers()["allow"]),
        (405, &"POST".parse().unwrap())
    );
}

#[tokio::test]
async fn an_app_id_is_the_decoded_segment_and_an_identifier() {
    let server = Server::start().await;
    for path in [
        "/sync/caf%C3%A9",
        "/sync/a%2Fb",
        "/sync/a%20b",
        "/sync/pull",
        "/sync/..",
    ] {
        // reqwest tidies dots in paths up before it sends them.
        let response = server
            .as_user("POST", path, "a")
            .body("{}")
            .send()
            .await
            .unwrap();
        let expected = if path == "/sync/.." { 404 } else { 200 };
        assert_eq!(response.status(), expected, "{path}");
    }
    let long = format!("/sync/{}", "a".repeat(257));
    for path in [
        "/sync/a%00b",
        "/sync/a%0Ab",
        "/sync/%ff",
        "/sync/__proto__",
        &long,
    ] {
        let response = server
            .as_user("POST", path, "a")
            .body("{}")
            .send()
            .await
            .unwrap();
        assert_eq!(
            refused(response).await,
            (400, json!("invalid_app_id")),
            "{path}"
        );
    }
}

#[tokio::test]
async fn apps_do_not_see_each_other() {
    let server = Server::start().await;
    let body = crate::support::insert("tasks", "t", r#"{"a":1}"#);
    server.push("a", body).await.error_for_status().unwrap();
    let path = "/sync/other/pull?collection=tasks&since=0";
    let other = server.as_user("GET", path, "b").send().await.unwrap();
    let other: serde_json::Value = other.json().await.unwrap();
    assert_eq!(other["serverChanges"], json!([]));
}

#[tokio::test]
async fn a_request_id_is_kept_if_it_is_short_and_safe() {
    let server = Server::start().await;
    let ask = |id: String| {
        server
            .request("GET", "/nowhere")
            .header("X-Request-Id", id)
            .send()
    };
    for id in ["abc-123_x.Y".to_owned(), "a".repeat(64)] {
        assert_eq!(ask(id.clone()).await.unwrap().headers()["x-request-id"], id);
    }
    for id in [
        "".to_owned(),
        "a b".to_owned(),
        "a\"b".to_owned(),
        "a".repeat(65),
    ] {
        let given = ask(id.clone()).await.unwrap();
        let given = given.headers()["x-request-id"].to_str().unwrap().to_owned();
        assert_ne!(given, id);
        assert_eq!(given.len(), 36);
    }
}

#[tokio::test]
async fn in_development_whoever_asks_is_signed_in() {
    let server = Server::made(Make {
        development: true,
        ..Make::default()
    })
    .await;
    let sign_in = |body: &'static str| server.request("POST", "/dummy-signin").body(body).send();
    let signed_in = sign_in(r#"{"user":"alice","password":"x","device":"d"}"#)
        .await
        .unwrap();
    assert_eq!(signed_in.status(), 200);
    let signed_in: serde_json::Value = signed_in.json().await.unwrap();
    assert_eq!(
        signed_in,
        json!({"token": signed_in["token"], "expires_in": 3600, "user": "alice", "device": "d"})
    );
    let pull = server.request("GET", "/sync/todo/pull?collection=a&since=0");
    let pull = pull.bearer_auth(signed_in["token"].as_str().unwrap());
    assert_eq!(pull.send().await.unwrap().status(), 200);

    for body in [r#"{"user":"alice"}"#, r#"{"user":"alice","device":""}"#] {
        let named: serde_json::Value = sign_in(body).await.unwrap().json().await.unwrap();
        assert!(named["device"].as_str().unwrap().starts_with("device-"));
    }
    let not_json: (u16, serde_json::Value) = (400, json!("invalid_request"));
    for body in [
        "",
        "{}",
        r#"{"user":""}"#,
        r#"{"user":5}"#,
        r#"{"user":"a\u0000b"}"#,
        r#"{"user":"alice","device":"a\nb"}"#,
    ] {
        assert_eq!(
            refused(sign_in(body).await.unwrap()).await,
            not_json,
            "{body}"
        );
    }
    let get = server.get("/dummy-signin").await;
    assert_eq!(refused(get).await, (405, json!("method_not_allowed")));

    let keys: serde_json::Value = server
        .get("/.well-known/jwks.json")
        .await
        .json()
        .await
        .unwrap();
    assert_eq!(keys["keys"][0]["crv"], "Ed25519");
    assert_eq!(keys["keys"][0].get("d"), None);
}
