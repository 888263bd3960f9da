//! Health, readiness and metrics.

use serde_json::{Value, json};
use sync_store::Swept;
use sync_transport::Metrics;

use crate::support::{Make, Server, insert, keep_log, line};

#[tokio::test]
async fn health_tells_that_the_process_lives() {
    let server = Server::start().await;
    let health: Value = server.get("/health").await.json().await.unwrap();
    assert_eq!(
        health,
        json!({
            "status": "ok",
            "service": "sync-server",
            "timestamp": "2026-01-01T00:00:00.000Z",
            "connections": 0,
            "users": 0,
        })
    );
    let ready = server.get("/ready").await;
    assert_eq!(
        (ready.status().as_u16(), ready.text().await.unwrap()),
        (200, r#"{"status":"ready"}"#.to_owned())
    );
}

#[tokio::test]
async fn asking_whether_it_is_ready_has_the_first_keys_fetched() {
    let issuer = Server::made(Make {
        development: true,
        ..Make::default()
    })
    .await;
    let server = Server::made(Make {
        keys: false,
        key_host: Some(format!("http://{}/.well-known/jwks.json", issuer.address)),
        ..Make::default()
    })
    .await;
    assert_eq!(server.get("/ready").await.status(), 200);
}

#[tokio::test]
async fn the_two_gauges_of_old_are_still_there_line_by_line() {
    let server = Server::start().await;
    let metrics = server.get("/metrics").await;
    assert_eq!(
        metrics.headers()["content-type"],
        "text/plain; version=0.0.4; charset=utf-8"
    );
    let text = metrics.text().await.unwrap();
    assert!(text.starts_with(
        "# HELP mana_sync_connections_total Streams, and sockets that are signed in\n\
         # TYPE mana_sync_connections_total gauge\n\
         mana_sync_connections_total 0\n\
         # HELP mana_sync_users_connected Users that have one or more of them\n\
         # TYPE mana_sync_users_connected gauge\n\
         mana_sync_users_connected 0\n"
    ));
}

#[tokio::test]
async fn requests_and_what_they_carry_are_counted() {
    keep_log();
    let metrics = Metrics::new();
    let server = Server::made(Make {
        metrics: metrics.clone(),
        ..Make::default()
    })
    .await;
    let odd = r#"{"table":"tasks","id":"\u0000","op":"insert"}"#;
    let body = insert(
        "tasks",
        "t",
        r#"{"a":1,"updatedAt":"2026-01-01T00:00:00Z"}"#,
    );
    let body = body.replacen("[{", &format!("[{odd},{{"), 1);
    let named = |method, path, id| server.as_user(method, path, "b").header("X-Request-Id", id);
    let pushed = named("POST", "/sync/todo", "push")
        .body(body)
        .send()
        .await
        .unwrap();
    assert_eq!(pushed.status(), 200);
    let older = insert(
        "tasks",
        "t",
        r#"{"a":2,"updatedAt":"2025-01-01T00:00:00Z"}"#,
    );
    server.push("c", older).await.error_for_status().unwrap();
    let path = "/sync/todo/pull?collection=tasks&since=0";
    named("GET", path, "pull")
        .send()
        .await
        .unwrap()
        .error_for_status()
        .unwrap();
    for (method, path) in [("GET", "/a"), ("GET", "/b"), ("BREW", "/c")] {
        named(method, path, path.trim_matches('/'))
            .send()
            .await
            .unwrap();
    }
    metrics.swept(&Swept {
        rows: 5,
        records: 2,
        more: false,
    });
    metrics.sweep_failed();
    for id in ["push", "pull", "a", "b", "c"] {
        line(id).await;
    }
    let text = server.metrics_after("push").await;
    for expected in [
        "# TYPE sync_http_requests_total counter",
        r#"sync_http_requests_total{route="/sync/{app_id}/pull",method="GET",status="200"} 1"#,
        r#"sync_http_requests_total{route="unknown",method="GET",status="404"} 2"#,
        r#"sync_http_requests_total{route="unknown",method="other",status="404"} 1"#,
        "# TYPE sync_http_request_seconds histogram",
        r#"sync_http_request_seconds_count{route="/sync/{app_id}/pull",method="GET"} 1"#,
        r#"sync_http_request_seconds_bucket{le="+Inf",route="unknown",method="GET"} 2"#,
        "sync_changes_pushed_total 3",
        "sync_rows_appended_total 1",
        "sync_conflicts_total 2",
        r#"sync_warnings_total{code="parked"} 1"#,
        "sync_pages_total 3",
        r#"sync_store_wait_seconds_count{call="push"} 2"#,
        r#"sync_store_wait_seconds_count{call="pull"} 1"#,
        "sync_store_pool_size 0",
        "sync_store_dead_rows 0",
        "sync_token_keys 1",
        r#"sync_token_key_fetches_total{outcome="failure"} 0"#,
        r#"sync_tokens_total{outcome="remembered"} 2"#,
        r#"sync_tokens_total{outcome="verified"} 1"#,
        "sync_swept_rows_total 5",
        "sync_swept_records_total 2",
        "sync_sweep_failures_total 1",
    ] {
        assert!(
            text.lines().any(|line| line == expected),
            "{expected} in\n{text}"
        );
    }
    for personal in ["alice", "todo\"", "/a\""] {
        assert!(!text.contains(personal), "{personal} in\n{text}");
    }
}
