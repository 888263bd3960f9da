//! Who hears what while NATS is there.

use std::collections::BTreeSet;

use sync_notify::{News, Notice, Relay};
use sync_notify_nats::Config;
use sync_protocol::{AppId, Audience, TableName};
use tempfile::TempDir;
use test_nats::Server;
use tokio::time::timeout;

use crate::support::{LIMIT, Node, changes, names, send_raw, two_nodes, until, user};

#[tokio::test]
async fn what_one_node_tells_the_other_hears_and_itself_does_not() {
    let server = Server::start(&[]).unwrap();
    let (here, there) = two_nodes(|| Config::new(server.url())).await;
    let before = here.figures();

    here.relay.publish(changes("ann", "notes", 100));
    let mut heard = there.hears().await;
    while !names(&heard).contains("notes") {
        heard = there.hears().await;
    }
    assert_eq!(here.figures().sent, before.sent + 1);

    // The other's answer comes behind whatever this node could have heard of itself.
    there.relay.publish(changes("ann", "answer", 101));
    let mut told = here.hears().await;
    while !names(&told).contains("answer") {
        assert!(!names(&told).contains("notes"), "{told:?}");
        told = here.hears().await;
    }
    assert!(!names(&told).contains("notes"), "{told:?}");
}

#[tokio::test]
async fn a_change_of_access_is_heard_too() {
    let server = Server::start(&[]).unwrap();
    let (here, there) = two_nodes(|| Config::new(server.url())).await;
    here.relay.publish(News::Access(user("ann")));
    while !there.hears().await.access {}
}

#[tokio::test]
async fn nodes_with_other_prefixes_do_not_hear() {
    let server = Server::start(&[]).unwrap();
    let (here, there) = two_nodes(|| Config::new(server.url())).await;
    let mut config = Config::new(server.url());
    config.prefix = "sync.other".to_owned();
    let stranger = Node::new(config);
    stranger.is_up().await;
    stranger.relay.publish(changes("ann", "strange", 100));
    until("it is sent", || stranger.figures().sent == 1).await;
    here.relay.publish(changes("ann", "known", 101));
    let mut heard = there.hears().await;
    while !names(&heard).contains("known") {
        heard = there.hears().await;
    }
    assert!(!names(&heard).contains("strange"));
    assert_eq!(stranger.figures().received, 0);
}

#[tokio::test]
async fn many_pieces_travel_in_few_messages_and_all_arrive() {
    let server = Server::start(&[]).unwrap();
    let (here, there) = two_nodes(|| Config::new(server.url())).await;
    let before = here.figures();
    for number in 0..2_000 {
        let table = format!("table-{}", number % 500);
        here.relay.publish(changes("ann", &table, 1_000 + number));
    }
    let mut heard = BTreeSet::new();
    while heard.len() < 500 {
        let names = names(&there.hears().await);
        heard.extend(names.into_iter().filter(|name| name.starts_with("table-")));
    }
    let messages = here.figures().sent - before.sent;
    assert!(messages < 100, "{messages} messages");
    assert_eq!(here.figures().lost, before.lost);
}

#[tokio::test]
async fn a_message_that_is_no_news_is_counted_and_harms_nothing() {
    let server = Server::start(&[]).unwrap();
    let (here, there) = two_nodes(|| Config::new(server.url())).await;
    let before = there.figures();
    let unknown = br#"[{"x":1},{"u":"ann","new":true}]"#;
    let garbage: [&[u8]; 5] = [b"", b"garbage", b"[{\"u\":", b"\xff\xfe", unknown];
    send_raw(&server, "sync.notices.0", &garbage);
    until("all is received", || {
        there.figures().received == before.received + 5
    })
    .await;
    assert_eq!(there.figures().lost, before.lost + 4);
    assert!(there.hears().await.access);
    here.reaches(&there, "still").await;
}

#[tokio::test]
async fn what_comes_faster_than_it_is_read_is_lost_and_looked_for() {
    let server = Server::start(&[]).unwrap();
    let node = Node::at(&server);
    node.is_up().await;
    timeout(LIMIT, node.hub.look_wanted()).await.unwrap();
    // Blocks the node's only thread until the server has it all.
    let message: &[u8] = br#"[{"u":"ann","a":"app","t":["t"],"p":1}]"#;
    send_raw(&server, "sync.notices.0", &[message; 20_000]);
    timeout(LIMIT, node.hub.look_wanted()).await.unwrap();
    until("a loss is counted", || node.figures().lost > 0).await;
    assert!(node.figures().is_up);
}

/// A server with further settings, and the folder that holds them.
fn server_with(settings: &str) -> (Server, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("nats.conf");
    std::fs::write(&file, settings).unwrap();
    let server = Server::start(&["--config", file.to_str().unwrap()]).unwrap();
    (server, folder)
}

#[tokio::test]
async fn what_is_too_much_for_one_message_of_the_server_comes_in_several() {
    let (server, _folder) = server_with("max_payload: 4096");
    let (here, there) = two_nodes(|| Config::new(server.url())).await;
    let before = here.figures();
    let expected: BTreeSet<_> = (0..500).map(|number| format!("table-{number}")).collect();
    here.relay.publish(News::Changes(Notice {
        audience: Audience::User(user("ann")),
        app: AppId::new("app").unwrap(),
        tables: expected
            .iter()
            .map(|name| TableName::new(name).unwrap())
            .collect(),
        writer: None,
        position: 1_000,
    }));
    let mut heard = BTreeSet::new();
    while !expected.is_subset(&heard) {
        heard.extend(names(&there.hears().await));
    }
    assert!(here.figures().sent >= before.sent + 2);
}

#[tokio::test]
async fn a_server_that_takes_no_message_of_the_size_of_a_notice_is_not_used() {
    let (server, _folder) = server_with("max_payload: 1024");
    let node = Node::at(&server);
    node.has_failed(2).await;
    assert!(!node.figures().is_up);
}

#[tokio::test]
async fn a_user_that_may_not_listen_is_not_up() {
    let rules = r#"authorization { users = [ { user: u, password: p, permissions: { subscribe: "other" } } ] }"#;
    let (server, _folder) = server_with(rules);
    let node = Node::new(Config::new(format!("nats://u:p@{}", server.address())));
    node.has_failed(3).await;
    assert_eq!(node.figures().received, 0);
}
