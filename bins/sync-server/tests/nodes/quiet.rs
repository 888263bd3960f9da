//! However much is logged: what users say, and what they prove themselves with, is not.

use crate::cluster::{Carrier, Cluster};

const USER: &str = "quiet-ann-of-the-test";
const PUSH: &str = r#"{"since":"","clientId":"quiet-phone","changes":[
    {"table":"quiet-table","id":"quiet-id","op":"insert","data":{"quiet-field":"quiet-value"}}]}"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_of_everything_holds_no_token_no_value_and_no_user() {
    let cluster = Cluster::start_with(Carrier::Nats, &[("SYNC_LOG", "trace")]).await;
    let token = cluster.token(USER);
    let refused = format!("{token}AAAA");
    let http = reqwest::Client::new();
    for node in &cluster.nodes {
        let app = format!("{}/sync/todo", node.url());
        let pull = format!("{app}/pull?collection=quiet-table&since=0");
        for (token, status) in [(&token, 200), (&refused, 401)] {
            let push = http.post(&app).bearer_auth(token).body(PUSH);
            assert_eq!(push.send().await.unwrap().status(), status);
            let pull = http.get(&pull).bearer_auth(token);
            assert_eq!(pull.send().await.unwrap().status(), status);
        }
    }
    for node in &cluster.nodes {
        let log = node.log();
        assert!(log.contains(" DEBUG sync_access") && log.contains("/sync/{app_id}/pull"));
        for secret in token.split('.').chain(["AAAA", "quiet"]) {
            let line = log.lines().find(|line| line.contains(secret));
            assert_eq!(line, None, "it holds {secret}");
        }
    }
}
