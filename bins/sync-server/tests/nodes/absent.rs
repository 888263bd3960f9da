//! Nodes whose relay never comes: looks at the log tell what nobody else does, and `check` says what is missing.

use std::process::Output;
use std::time::Duration;

use tokio::time::Instant;

use crate::cluster::{Carrier, Cluster};
use crate::listening::{CONNECTED, Listening};
use crate::told::push;
use crate::waiting::{PROMISED, table};

const PUSHES: usize = 5;
/// What a busy machine adds.
const MARGIN: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_relay_a_push_is_told_by_the_next_look_and_check_says_that_there_is_none() {
    let cluster = Cluster::start(Carrier::Nobody).await;
    let phone = cluster.client(0, "ann", "phone");
    push(&phone, "first").await;
    let mut listening = Listening::new();
    let sockets = [1, 2].map(|node| listening.socket(&cluster.client(node, "ann", "socket")));
    let streams = [1, 2].map(|node| listening.stream(&cluster.client(node, "ann", "stream")));
    listening.all_hear_at_last(&sockets, CONNECTED).await;
    listening.all_hear_at_last(&streams, "first").await;
    let before = cluster.figures("sync_looks_found_total").await;

    let all = [sockets, streams].concat();
    let mut waits = Vec::new();
    for number in 0..PUSHES {
        let name = format!("table-{number}");
        push(&phone, &name).await;
        let answered = Instant::now();
        let deadline = answered + PROMISED + MARGIN;
        let told = listening.all_hear(&all, &name, deadline).await;
        waits.extend(told.into_iter().map(|at| at.duration_since(answered)));
    }
    table(
        "No relay, from the answer to a push on one node until",
        &[("a socket or a stream on another node is told", waits)],
    );

    assert_eq!(cluster.figures("sync_relay_up").await, [0, 0, 0]);
    let found = cluster.figures("sync_looks_found_total").await;
    let pushes = u64::try_from(PUSHES).unwrap();
    for node in [1, 2] {
        let rise = found[node] - before[node];
        assert!(rise >= pushes, "node {node} has found {rise}");
    }

    let node = &cluster.nodes[0];
    assert_eq!(
        notices(&node.check(None)),
        "FAILED  notices: NATS does not carry notices: it cannot be reached, or does not let us tell and hear"
    );
    assert_eq!(
        notices(&node.check(Some("NATS_URL"))),
        "ok      notices: PostgreSQL carries notices between nodes"
    );
}

/// What `check` says of notices.
fn notices(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stdout);
    let mut lines = said.lines().filter(|line| line.contains("  notices: "));
    lines.next().unwrap_or(&said).to_owned()
}
