//! A push on one node is told on the others, to those who may see it and did not write it; and how soon.

use std::collections::BTreeSet;
use std::time::Duration;

use sync_client::{Client, NewChange};
use sync_protocol::Value;
use tokio::time::Instant;

use crate::cluster::{Carrier, Cluster};
use crate::listening::{CONNECTED, Listening};
use crate::waiting::{PATIENCE, PROMISED, table};

const PUSHES: usize = 300;
/// What each user has before anybody listens, and what comes last of all.
const FIRST: &str = "first";
const LAST: &str = "last";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_is_told_on_every_node_by_postgresql() {
    a_push_is_told_on_every_node(Carrier::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_is_told_on_every_node_by_nats() {
    a_push_is_told_on_every_node(Carrier::Nats).await;
}

async fn a_push_is_told_on_every_node(carrier: Carrier) {
    let cluster = Cluster::start(carrier).await;
    let tablets = ["ann", "ben"].map(|user| cluster.client(0, user, "tablet"));
    for tablet in &tablets {
        push(tablet, FIRST).await;
    }
    let mut listening = Listening::new();
    let sockets = [1, 2].map(|node| listening.socket(&cluster.client(node, "ann", "socket")));
    let streams = [1, 2].map(|node| listening.stream(&cluster.client(node, "ann", "stream")));
    let mut silent_sockets = Vec::new();
    let mut silent_streams = Vec::new();
    for node in 0..cluster.nodes.len() {
        for (user, client) in [("ann", "phone"), ("ben", "other")] {
            let client = cluster.client(node, user, client);
            silent_sockets.push(listening.socket(&client));
            silent_streams.push(listening.stream(&client));
        }
    }
    let all_sockets = [sockets.as_slice(), &silent_sockets].concat();
    listening.all_hear_at_last(&all_sockets, CONNECTED).await;
    let all_streams = [streams.as_slice(), &silent_streams].concat();
    listening.all_hear_at_last(&all_streams, FIRST).await;

    let phone = cluster.client(0, "ann", "phone");
    let measured = measure(&phone, &mut listening, &sockets, &streams).await;
    let title = format!("{carrier:?}, from the sending of a push on one node until");
    table(
        &title,
        &[
            ("it is answered", measured.answered),
            ("a socket on another node is told", measured.sockets),
            ("a stream on another node has brought it", measured.streams),
        ],
    );

    // Whatever looks at the log had to tell, they have told now.
    cluster
        .rises(r#"sync_looks_total{outcome="success"}"#, 2)
        .await;
    for tablet in &tablets {
        push(tablet, LAST).await;
    }
    let silent = [silent_sockets.as_slice(), &silent_streams].concat();
    listening.all_hear_at_last(&silent, LAST).await;
    for who in silent {
        let mut heard = listening.heard_by(who);
        // Sockets may be told of what was there before them, too, by a look.
        heard.retain(|table| ![CONNECTED, FIRST].contains(table));
        assert_eq!(heard, BTreeSet::from([LAST]));
    }
}

#[derive(Default)]
struct Measured {
    answered: Vec<Duration>,
    sockets: Vec<Duration>,
    streams: Vec<Duration>,
}

/// Pushes one after the other; nobody is told later than promised.
async fn measure(
    client: &Client,
    listening: &mut Listening,
    sockets: &[usize],
    streams: &[usize],
) -> Measured {
    let mut measured = Measured::default();
    for number in 0..PUSHES {
        let name = format!("table-{number}");
        let sent = Instant::now();
        push(client, &name).await;
        let answered = Instant::now();
        measured.answered.push(answered - sent);
        let deadline = answered + PROMISED;
        let since = |at: Vec<Instant>| at.into_iter().map(move |at| at - sent);
        let told = listening.all_hear(sockets, &name, deadline).await;
        measured.sockets.extend(since(told));
        let told = listening.all_hear(streams, &name, deadline).await;
        measured.streams.extend(since(told));
    }
    measured
}

/// Pushes one record into a table.
pub(crate) async fn push(client: &Client, table: &str) {
    let change = NewChange::insert(table, "a").with("title", Value::string("Buy milk"));
    let pushed = tokio::time::timeout(PATIENCE, client.push("", &[change])).await;
    pushed.unwrap().unwrap();
}
