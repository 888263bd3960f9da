//! Who may sync at all: what billing says of uploads and downloads.

use serde_json::{Value, json};
use test_services::{Service, Services};

use super::{PK, change, changes, read};
use crate::support::{Make, Server, refused};

const OTHER_PK: &str = "1b7c1a2e-30f4-4c55-8d66-77e8f9a0b1c2";

/// A server that asks, where alice has no active subscription and these apps need none.
async fn server(exempt_apps: &'static [&'static str]) -> (Server, Services) {
    let services = Services::start().await.unwrap();
    services.set_inactive("alice");
    let make = Make {
        services: Some(services.url()),
        exempt_apps,
        ..Make::default()
    };
    (Server::made(make).await, services)
}

fn inactive() -> (u16, Value) {
    (402, json!("sync_inactive"))
}

#[tokio::test]
async fn an_upload_for_any_app_that_needs_a_subscription_is_402_and_stores_nothing() {
    let (server, services) = server(&["free"]).await;
    let both = [change("free", 1, PK), change("todo", 2, OTHER_PK)];
    let bad = json!({"schema": "todo", "table": "tasks", "op": "NONE", "pk": PK});
    for changes in [
        changes(&both),
        changes(&both[1..]),
        changes(&[both[0].clone(), bad]),
        // Of no app by name, so of `public`.
        changes(&[json!({"table": "tasks", "op": "DELETE", "pk": PK})]),
    ] {
        let response = server.uploads("phone", changes).await;
        assert_eq!(refused(response).await, inactive());
    }
    assert_eq!(services.count(Service::Billing), 1, "the answer is kept");
}

#[tokio::test]
async fn what_was_refused_for_the_subscription_is_not_stored() {
    let (server, _services) = server(&["free"]).await;
    let both = [change("free", 1, PK), change("todo", 2, OTHER_PK)];
    let response = server.uploads("phone", changes(&both)).await;
    assert_eq!(refused(response).await, inactive());
    let page = server.downloaded("tablet", "?schema=free").await;
    assert_eq!(page["changes"], json!([]));
}

#[tokio::test]
async fn an_upload_for_exempt_apps_alone_needs_no_subscription() {
    let (server, services) = server(&["free"]).await;
    let answer = server.uploaded("phone", &[change("free", 1, PK)]).await;
    assert_eq!(answer["statuses"][0]["status"], "applied");
    let page = server.downloaded("tablet", "?schema=free").await;
    assert_eq!(page["changes"].as_array().unwrap().len(), 1);
    assert_eq!(services.count(Service::Billing), 0);
}

#[tokio::test]
async fn an_upload_that_names_no_app_is_let_in_where_any_is_exempt() {
    let (exempt, _services) = server(&["free"]).await;
    let response = exempt.uploads("phone", "{}").await;
    assert_eq!(response.status(), 200);
    let (none, _services) = server(&[]).await;
    assert_eq!(refused(none.uploads("phone", "{}").await).await, inactive());
}

#[tokio::test]
async fn a_download_needs_a_subscription_unless_its_schema_does_not() {
    let (server, _services) = server(&["free"]).await;
    for query in ["", "?schema=todo", "?schema="] {
        let response = server.downloads("phone", query).await;
        assert_eq!(refused(response).await, inactive(), "{query}");
    }
    // What was asked is looked at before.
    let response = server.downloads("phone", "?limit=0").await;
    assert_eq!(refused(response).await, (400, json!("invalid_request")));
}

#[tokio::test]
async fn what_is_no_sync_needs_no_subscription() {
    let (server, services) = server(&[]).await;
    for path in ["/sync/schema-version", "/admin/materialize-failures"] {
        let request = server.of_device("GET", path, "alice", "phone");
        read(request.send().await.unwrap()).await;
    }
    assert_eq!(services.count(Service::Billing), 0);
}
