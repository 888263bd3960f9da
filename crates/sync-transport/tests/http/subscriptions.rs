//! Who may sync at all: what billing says, and which apps need no subscription.

use serde_json::json;
use sync_transport::Metrics;
use test_services::{Mood, Service, Services};

use crate::live::{Peer, access};
use crate::support::{Make, Server, in_time, refused};

/// A server that asks, and what it is made of. The app `free` needs no subscription.
async fn server() -> (Server, Services, std::sync::Arc<sync_notify::Hub>) {
    let services = Services::start().await.unwrap();
    let make = Make {
        services: Some(services.url()),
        exempt_apps: &["free"],
        metrics: Metrics::new(),
        ..Make::default()
    };
    let hub = make.hub.clone();
    (Server::made(make).await, services, hub)
}

/// For so long an answer counts, in milliseconds.
const FIVE_MINUTES: i64 = 300_000;
const INACTIVE: &str = "the subscription is not active";

const PATHS: [(&str, &str); 3] = [
    ("POST", "/sync/{app}"),
    (
        "GET",
        "/sync/{app}/pull?collection=tasks&since=1970-01-01T00:00:00Z",
    ),
    ("GET", "/sync/{app}/stream"),
];

#[tokio::test]
async fn who_has_no_active_subscription_is_told_so_before_anything_else_is_looked_at() {
    let (server, services, _) = server().await;
    services.set_inactive("alice");
    for (method, path) in PATHS {
        let path = path.replace("{app}", "todo");
        let request = server.as_user(method, &path, "a").body("no JSON");
        let answer = refused(request.send().await.unwrap()).await;
        assert_eq!(answer, (402, json!("sync_inactive")), "{path}");
    }
    assert_eq!(services.count(Service::Billing), 1, "the answer is kept");
    let request = server.request("POST", "/sync/todo").body("no JSON");
    let (status, _) = refused(request.send().await.unwrap()).await;
    assert_eq!(status, 401, "the token comes first");
}

#[tokio::test]
async fn an_exempt_app_needs_no_subscription_and_nobody_is_asked_about_it() {
    let (server, services, _) = server().await;
    services.set_inactive("alice");
    for (method, path) in PATHS {
        let path = path.replace("{app}", "free");
        let request = server.as_user(method, &path, "a");
        let response = request.body(r#"{"changes":[]}"#).send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
    }
    assert_eq!(services.count(Service::Billing), 0);
}

#[tokio::test]
async fn everybody_goes_on_when_billing_does_not_say() {
    let (server, services, _) = server().await;
    services.set_inactive("alice");
    services.mood(Service::Billing, Mood::WrongJson);
    server.pull("a", "tasks").await;
    let metrics = server.get("/metrics").await.text().await.unwrap();
    for line in [
        "sync_billing_failed_open_total 1",
        r#"sync_upstream_calls_total{service="billing",outcome="nonsense"} 1"#,
        r#"sync_upstream_calls_total{service="memberships",outcome="success"} 1"#,
        r#"sync_upstream_left_alone{service="billing"} 0"#,
    ] {
        assert!(metrics.lines().any(|own| own == line), "{line}: {metrics}");
    }
}

/// Billing kept its word for five minutes: then the next look finds another one.
#[tokio::test]
async fn what_is_open_ends_when_it_is_found_out_that_the_subscription_is_not_active() {
    let (server, services, hub) = server().await;
    let mut events = server.events("alice", "a", "").await;
    let mut peer = Peer::member(&server, "/ws/todo", "alice", "b").await;
    let mut free = server
        .request("GET", "/sync/free/stream")
        .bearer_auth(server.token("alice"))
        .send()
        .await
        .unwrap();
    services.set_inactive("alice");
    server.step_by(FIVE_MINUTES);
    access(&hub, "alice");
    assert_eq!(peer.error().await, INACTIVE);
    assert_eq!(peer.closed().await, (1008, INACTIVE.to_owned()));
    assert_eq!(events.news().await, None);
    let request = server.as_user("GET", "/sync/todo/stream", "a");
    let answer = refused(request.send().await.unwrap()).await;
    assert_eq!(answer, (402, json!("sync_inactive")));
    // The stream of an exempt app goes on.
    server
        .push_to(
            "free",
            "alice",
            "x",
            json!({"changes": [
                {"table": "t", "id": "r", "op": "insert", "data": {}}
            ]}),
        )
        .await;
    let mut text = String::new();
    while !text.contains("event: changes") {
        let part = in_time(free.chunk()).await.unwrap().unwrap();
        text.push_str(&String::from_utf8_lossy(&part));
    }
}

#[tokio::test]
async fn a_socket_of_all_apps_hears_of_those_that_need_no_subscription() {
    let (server, services, _) = server().await;
    services.set_inactive("alice");
    let mut peer = Peer::member(&server, "/ws", "alice", "b").await;
    let change = json!({"changes": [{"table": "t", "id": "r", "op": "insert", "data": {}}]});
    server.push_to("free", "alice", "x", change).await;
    peer.is_told("free", &["t"]).await;
    let mut refused = Peer::connect(&server, "/ws/todo").await;
    refused.auth(&server.token("alice"), None).await;
    assert_eq!(refused.error().await, INACTIVE);
    assert_eq!(refused.closed().await, (1008, INACTIVE.to_owned()));
}
