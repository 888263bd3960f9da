//! A node that is told to stop lets everybody know, and goes.

use std::time::Duration;

use futures_util::future::join_all;

use crate::cluster::{Carrier, Cluster};
use crate::raw::{RawSocket, RawStream};
use crate::waiting::until;

const EACH: u32 = 50;
/// Well within the ten seconds that it has.
const LIMIT: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stops_closes_its_sockets_with_1001_and_ends_its_streams() {
    let mut cluster = Cluster::start(Carrier::Postgres).await;
    let user = |number: u32| format!("user-{}", number % 10);
    let (mut sockets, mut streams) = (Vec::new(), Vec::new());
    for number in 0..EACH {
        let (node, token) = (&cluster.nodes[0], cluster.token(&user(number)));
        sockets.push(RawSocket::open(node, &token).await);
        streams.push(RawStream::open(node, &token).await);
    }
    until("everybody listens", async || {
        let listeners = cluster.nodes[0].figure("mana_sync_connections_total").await;
        listeners == u64::from(2 * EACH)
    })
    .await;
    let sockets = tokio::spawn(join_all(sockets.into_iter().map(RawSocket::farewell)));
    let streams = tokio::spawn(join_all(streams.into_iter().map(RawStream::ends_well)));
    let node = &mut cluster.nodes[0];
    node.terminate();
    let (status, took) = node.ended().await;
    println!("stopped within {took:?} with {EACH} sockets and {EACH} streams");
    assert_eq!(status.code(), Some(0));
    assert!(took < LIMIT, "{took:?}");
    assert!(node.log().contains("stopped; every request was answered"));
    let codes = sockets.await.unwrap();
    assert!(codes.iter().all(|code| *code == Some(1001)), "{codes:?}");
    let ends = streams.await.unwrap();
    assert!(ends.iter().all(|well| *well), "{ends:?}");
}
