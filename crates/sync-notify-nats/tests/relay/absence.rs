//! NATS away, killed and back, and the relay's end.

use std::time::Duration;

use sync_notify::Relay;
use sync_notify_nats::Config;
use test_nats::Server;
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout};

use crate::support::{LIMIT, Node, changes, names, two_nodes, until};

#[tokio::test]
async fn a_killed_server_is_noticed_and_what_is_told_meanwhile_is_lost_and_never_late() {
    let mut server = Server::start(&[]).unwrap();
    let (here, there) = two_nodes(|| Config::new(server.url())).await;
    for node in [&here, &there] {
        timeout(LIMIT, node.hub.look_wanted()).await.unwrap();
    }

    server.kill().unwrap();
    here.is_down().await;
    there.is_down().await;
    let before = here.figures();
    for number in 0..3 {
        here.relay
            .publish(changes("ann", &format!("late-{number}"), 100));
        until("it is lost", || here.figures().lost > before.lost + number).await;
    }
    assert_eq!(here.figures().lost, before.lost + 3);
    assert_eq!(here.figures().sent, before.sent);

    server.restart().unwrap();
    for node in [&here, &there] {
        node.is_up().await;
        timeout(LIMIT, node.hub.look_wanted()).await.unwrap();
    }
    here.relay.publish(changes("ann", "after", 200));
    here.reaches(&there, "last").await;
    there.reaches(&here, "last").await;
    here.relay.publish(changes("ann", "end", 300));
    let mut heard = names(&there.hears().await);
    while !heard.contains("end") {
        heard.extend(names(&there.hears().await));
    }
    assert!(
        !heard.iter().any(|name| name.starts_with("late")),
        "{heard:?}"
    );
}

#[tokio::test]
async fn a_node_starts_before_nats_does() {
    let mut server = Server::reserve(&[]).unwrap();
    let (here, there) = (Node::at(&server), Node::at(&server));
    here.has_failed(3).await;
    assert!(!here.figures().is_up);
    here.relay.publish(changes("ann", "early", 1));
    until("it is lost", || here.figures().lost == 1).await;

    server.restart().unwrap();
    here.is_up().await;
    timeout(LIMIT, here.hub.look_wanted()).await.unwrap();
    here.reaches(&there, "hello").await;
}

#[tokio::test]
async fn a_server_that_comes_and_goes_is_found_again_each_time_within_seconds() {
    let mut server = Server::start(&[]).unwrap();
    let node = Node::at(&server);
    for round in 1..=5 {
        node.is_up().await;
        timeout(LIMIT, node.hub.look_wanted()).await.unwrap();
        server.kill().unwrap();
        node.is_down().await;
        assert!(node.figures().failures >= round);
        server.restart().unwrap();
        let started = Instant::now();
        node.is_up().await;
        assert!(started.elapsed() < Duration::from_secs(5));
        timeout(LIMIT, node.hub.look_wanted()).await.unwrap();
        node.hub.may_have_missed();
    }
}

#[tokio::test]
async fn the_next_server_of_the_list_is_taken_when_one_is_away() {
    let (mut away, server) = (Server::reserve(&[]).unwrap(), Server::start(&[]).unwrap());
    let list = format!("{},{}", away.url(), server.url());
    let (here, there) = two_nodes(|| Config::new(list.as_str())).await;
    away.restart().unwrap();
    drop(server);
    here.is_down().await;
    there.is_down().await;
    here.reaches(&there, "moved").await;
}

#[tokio::test]
async fn nothing_grows_while_nats_is_away() {
    let server = Server::reserve(&[]).unwrap();
    let node = Node::at(&server);
    for number in 0..50_000 {
        node.relay.publish(changes("ann", &format!("t{number}"), 1));
    }
    until("all is lost", || node.figures().lost > 0).await;
    assert_eq!(node.figures().sent, 0);
}

#[tokio::test]
async fn a_relay_let_go_leaves_no_task_whether_nats_is_there_away_or_just_lost() {
    let alone = || Handle::current().metrics().num_alive_tasks() == 0;
    let mut server = Server::reserve(&[]).unwrap();
    let node = Node::at(&server);
    node.has_failed(2).await;
    drop(node);
    until("nothing runs: away", alone).await;

    server.restart().unwrap();
    let node = Node::at(&server);
    node.is_up().await;
    assert!(!alone());
    drop(node);
    until("nothing runs: there", alone).await;

    let node = Node::at(&server);
    node.is_up().await;
    server.kill().unwrap();
    node.is_down().await;
    drop(node);
    until("nothing runs: lost", alone).await;
}
