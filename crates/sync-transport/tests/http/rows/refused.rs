//! When the store fails.

use serde_json::json;

use super::{PK, change, changes};
use crate::support::{Fault, Faulty, Server, keep_log, line, refused};

#[tokio::test]
async fn a_store_that_is_away_is_503_and_one_that_is_broken_500() {
    keep_log();
    for (fault, expected) in [
        (Fault::Away, (503, json!("store_unavailable"))),
        (Fault::Broken, (500, json!("internal_error"))),
    ] {
        let server = Server::with_store(Faulty::new(fault)).await;
        let body = changes(&[change("todo", 1, PK)]);
        let upload = server.uploads("phone", body).await;
        let download = server.downloads("phone", "").await;
        for response in [upload, download] {
            let id = &response.headers()["x-request-id"];
            let id = id.to_str().unwrap().to_owned();
            let retry = response.headers().contains_key("retry-after");
            assert_eq!(retry, response.status() == 503);
            assert_eq!(refused(response).await, expected);
            assert_eq!(line(&id).await["fields"]["status"], expected.0);
        }
    }
}

#[tokio::test]
async fn what_is_too_much_for_the_store_is_too_large_a_batch() {
    let server = Server::with_store(Faulty::new(Fault::TooLarge)).await;
    let body = changes(&[change("todo", 1, PK), change("todo", 2, PK)]);
    let response = server.uploads("phone", body).await;
    assert_eq!(response.status(), 200);
    let answer: serde_json::Value = response.json().await.unwrap();
    assert_eq!(answer["accepted"], false);
    for (place, id) in [(0, 1), (1, 2)] {
        let status = &answer["statuses"][place];
        assert_eq!(status["source_change_id"], id);
        assert_eq!(status["invalid"]["reason"], "batch_too_large");
    }
}

#[tokio::test]
async fn what_the_store_took_is_counted() {
    let server = Server::with_store(Faulty::new(Fault::Broken)).await;
    let upload = server.uploads("phone", "{}").await;
    assert_eq!(upload.status(), 500);
    let metrics = server.get("/metrics").await.text().await.unwrap();
    for expected in [
        r#"sync_store_wait_seconds_count{call="upload"} 1"#,
        r#"sync_store_errors_total{call="upload",error="fault"} 1"#,
    ] {
        assert!(
            metrics.lines().any(|line| line == expected),
            "{expected} in\n{metrics}"
        );
    }
}
