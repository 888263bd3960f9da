//! Paths, methods and parameters.

use serde_json::json;
use sync_transport::Limits;

use super::{PK, ROUTES, change, changes};
use crate::support::{SCHEMA_VERSION, Server, refused};

#[tokio::test]
async fn a_wrong_method_is_405_before_anything_else_and_head_is_one() {
    let server = Server::start().await;
    for (right, path) in ROUTES {
        for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "BREW"] {
            if method == right {
                continue;
            }
            let response = server.request(method, path).send().await.unwrap();
            assert_eq!(response.headers()["allow"], right, "{method} {path}");
            assert_eq!(response.status(), 405, "{method} {path}");
            if method != "HEAD" {
                let expected = (405, json!("method_not_allowed"));
                assert_eq!(refused(response).await, expected, "{method} {path}");
            }
        }
    }
}

#[tokio::test]
async fn no_app_has_the_name_of_a_route() {
    let server = Server::start().await;
    for (method, path) in [
        ("POST", "/sync/%75pload"),
        ("POST", "/sync/down%6Coad"),
        ("GET", "/sync/upload/pull?collection=a&since=b"),
        ("GET", "/sync/schema-version/stream"),
        ("GET", "/sync/upload/"),
        ("POST", "/admin/materialize-failures/"),
    ] {
        let request = server.of_device(method, path, "alice", "phone");
        let response = request.body("{}").send().await.unwrap();
        assert_eq!(refused(response).await, (404, json!("not_found")), "{path}");
    }
}

#[tokio::test]
async fn the_version_of_the_tables_is_told() {
    let server = Server::start().await;
    let request = server.of_device("GET", "/sync/schema-version", "alice", "phone");
    let text = request.send().await.unwrap().text().await.unwrap();
    assert_eq!(text, format!(r#"{{"schema_version":{SCHEMA_VERSION}}}"#));
}

#[tokio::test]
async fn a_body_that_is_no_upload_is_400_and_stores_nothing() {
    let server = Server::start().await;
    let whole = changes(&[change("todo", 1, PK)]);
    for body in [
        "",
        "[]",
        "nonsense",
        &whole[..whole.len() - 1],
        r#"{"changes":{}}"#,
        r#"{"changes":[{"source_change_id":"1"}]}"#,
        r#"{"changes":[{"source_change_id":1.5}]}"#,
        r#"{"changes":[{"server_version":9223372036854775808}]}"#,
    ] {
        let response = server.uploads("phone", body.to_owned()).await;
        let expected = (400, json!("invalid_request"));
        assert_eq!(refused(response).await, expected, "{body}");
    }
}

#[tokio::test]
async fn a_body_beyond_the_bounds_is_refused_as_that_of_a_push_is() {
    let server = Server::start().await;
    let large = server.uploads("phone", vec![b' '; 11 * 1024 * 1024]).await;
    assert_eq!(refused(large).await, (413, json!("body_too_large")));
    let request = server.of_device("POST", "/sync/upload", "alice", "phone");
    let coded = request.header("Content-Encoding", "br").body("{}");
    let coded = coded.send().await.unwrap();
    assert_eq!(refused(coded).await, (415, json!("unsupported_encoding")));
}

#[tokio::test]
async fn the_first_parameter_of_a_download_that_is_wrong_is_named() {
    let server = Server::start().await;
    for (query, message) in [
        ("?after=x&limit=0", "after must be an integer"),
        ("?after=-1", "after must be >= 0"),
        ("?limit=ten", "limit must be an integer"),
        ("?limit=0", "limit must be between 1 and 1000"),
        ("?limit=1001", "limit must be between 1 and 1000"),
        ("?schema=Todo", "invalid schema name"),
        ("?schema=a%20b", "invalid schema name"),
        ("?until=1.5", "until must be an integer"),
        ("?until=-1", "until must be >= 0"),
        ("?after=9223372036854775808", "after must be an integer"),
        // Of a parameter given twice the first counts.
        ("?limit=0&limit=10", "limit must be between 1 and 1000"),
    ] {
        let response = server.downloads("phone", query).await;
        assert_eq!(response.status(), 400, "{query}");
        let body: serde_json::Value = response.json().await.unwrap();
        let expected = json!({"error": "invalid_request", "message": message});
        assert_eq!(body, expected, "{query}");
    }
}

#[tokio::test]
async fn the_number_of_a_failure_is_in_the_query_or_in_the_body() {
    let server = Server::start().await;
    let ask = async |query: &str, body: &'static str| {
        let path = format!("/admin/materialize-failures/retry{query}");
        let request = server.of_device("POST", &path, "alice", "phone");
        refused(request.body(body).send().await.unwrap()).await
    };
    let (missing, unknown) = ((400, json!("invalid_request")), (404, json!("not_found")));
    for (query, body) in [
        ("", ""),
        ("", "{}"),
        ("", "null"),
        ("", r#"{"id":0}"#),
        ("", r#"{"id":"1"}"#),
        ("", r#"{"id":1.5}"#),
        ("?id=0", "{}"),
        ("?id=one", ""),
        ("?id=", "nonsense"),
    ] {
        assert_eq!(ask(query, body).await, missing, "{query} {body}");
    }
    for (query, body) in [
        ("?id=7", ""),
        ("?id=7", "nonsense"),
        ("?id=-7", ""),
        ("", r#"{"id":7}"#),
        ("?id=0", r#"{"id":7}"#),
        ("?id=one", r#"{"id":7,"more":1}"#),
    ] {
        assert_eq!(ask(query, body).await, unknown, "{query} {body}");
    }
}

#[tokio::test]
async fn without_failures_the_list_is_empty_whatever_is_asked_for() {
    let server = Server::start().await;
    for query in [
        "",
        "?schema=business&table=users&limit=10",
        "?schema=Not%20a%20name&table=%00&limit=-1",
        "?limit=many",
        "?limit=100000",
    ] {
        let path = format!("/admin/materialize-failures{query}");
        let request = server.of_device("GET", &path, "alice", "phone");
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200, "{query}");
        assert_eq!(response.text().await.unwrap(), "[]", "{query}");
    }
}

#[tokio::test]
async fn who_asks_too_often_is_told_so_on_every_route() {
    for (method, path) in ROUTES {
        let server = Server::with_limits(Limits {
            user_rate: std::num::NonZeroU32::new(1),
            ..Limits::default()
        })
        .await;
        let ask = || server.of_device(method, path, "alice", "phone").send();
        let first = ask().await.unwrap().status();
        assert_ne!(first, 429, "{path}");
        let second = ask().await.unwrap();
        assert!(!second.headers()["retry-after"].is_empty());
        assert_eq!(
            refused(second).await,
            (429, json!("rate_limited")),
            "{path}"
        );
    }
}
