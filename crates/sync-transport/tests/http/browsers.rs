//! Cross-origin requests.

use reqwest::Response;

use crate::support::{Make, Server};

const ALLOWED: &str = "https://app.example";
const OTHERS: [&str; 4] = [
    "https://evil.example",
    "https://app.example.evil.example",
    "http://app.example",
    "null",
];

async fn server() -> Server {
    Server::made(Make {
        origins: "https://app.example,https://other.example",
        ..Make::default()
    })
    .await
}

async fn preflight(server: &Server, path: &str, origin: &str) -> Response {
    let request = server.request("OPTIONS", path).header("Origin", origin);
    let request = request.header("Access-Control-Request-Method", "POST");
    let headers = "authorization,content-type,last-event-id,x-client-id";
    let request = request.header("Access-Control-Request-Headers", headers);
    request.send().await.unwrap()
}

fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    response
        .headers()
        .get(name)
        .map(|value| value.to_str().unwrap())
}

#[tokio::test]
async fn a_preflight_is_answered_before_anybody_asks_for_a_token() {
    let server = server().await;
    for path in ["/sync/todo", "/sync/todo/pull", "/sync/todo/stream"] {
        let answer = preflight(&server, path, ALLOWED).await;
        assert_eq!(answer.status(), 204);
        assert_eq!(
            header(&answer, "access-control-allow-origin"),
            Some(ALLOWED)
        );
        assert_eq!(
            header(&answer, "access-control-allow-credentials"),
            Some("true")
        );
        assert_eq!(
            header(&answer, "access-control-allow-methods"),
            Some("GET, HEAD, POST")
        );
        let headers = Some("authorization, content-type, last-event-id, x-client-id");
        assert_eq!(header(&answer, "access-control-allow-headers"), headers);
        let vary = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers";
        assert_eq!(header(&answer, "vary"), Some(vary));
        assert!(header(&answer, "x-request-id").is_some());
    }
}

#[tokio::test]
async fn other_origins_are_not_told_that_they_may() {
    let server = server().await;
    for origin in OTHERS {
        let health = server.request("GET", "/health").header("Origin", origin);
        for answer in [
            preflight(&server, "/sync/todo", origin).await,
            health.send().await.unwrap(),
        ] {
            assert!(answer.status().is_success());
            assert!(header(&answer, "vary").unwrap().starts_with("Origin"));
            let names = answer.headers().keys();
            assert!(
                names
                    .into_iter()
                    .all(|name| !name.as_str().starts_with("access-control"))
            );
        }
    }
}

#[tokio::test]
async fn errors_can_be_read_by_the_page_too() {
    let server = server().await;
    for (method, path, status) in [
        ("GET", "/sync/todo/pull?collection=tasks", 401),
        ("GET", "/nowhere", 404),
        ("PUT", "/sync/todo", 405),
        ("GET", "/health", 200),
    ] {
        let request = server.request(method, path).header("Origin", ALLOWED);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), status);
        assert_eq!(header(&answer, "vary"), Some("Origin"));
        assert_eq!(
            header(&answer, "access-control-allow-origin"),
            Some(ALLOWED)
        );
        assert_eq!(
            header(&answer, "access-control-allow-credentials"),
            Some("true")
        );
        let exposed = Some("x-request-id, retry-after");
        assert_eq!(header(&answer, "access-control-expose-headers"), exposed);
    }
}
