//! When the store, or a handler, fails.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use sync_protocol::MAX_BODY_BYTES;
use sync_transport::Limits;
use tokio::sync::{Semaphore, watch};

use crate::support::{
    Fault, Faulty, Make, PATIENCE, Server, in_time, insert, keep_log, line, refused, whole_log,
};

const PULL: &str = "/sync/todo/pull?collection=tasks&since=0";

#[tokio::test]
async fn a_store_that_is_away_is_503_and_says_when_to_try_again() {
    keep_log();
    let server = Server::with_store(Faulty::new(Fault::Away)).await;
    let push = server.push("a", insert("tasks", "t", "{}")).await;
    let pull = server.as_user("GET", PULL, "a").send().await.unwrap();
    for response in [push, pull] {
        assert_eq!(response.headers()["retry-after"], "5");
        let id = response.headers()["x-request-id"]
            .to_str()
            .unwrap()
            .to_owned();
        assert_eq!(refused(response).await, (503, json!("store_unavailable")));
        let line = line(&id).await;
        assert_eq!(line["level"], "ERROR");
        let detail = "the store is unavailable: connection to 10.0.0.7 refused";
        assert_eq!(line["fields"]["detail"], detail);
    }
    let ready = server.get("/ready").await;
    assert_eq!(ready.headers()["retry-after"], "5");
    let text = ready.text().await.unwrap();
    assert_eq!(
        text,
        r#"{"error":"not_ready","message":"not ready: the store does not serve"}"#
    );
    assert_eq!(server.get("/health").await.status(), 200);
    assert_eq!(server.get("/metrics").await.status(), 200);
}

#[tokio::test]
async fn a_store_that_is_broken_is_500_and_says_nothing_of_it_to_the_client() {
    let server = Server::with_store(Faulty::new(Fault::Broken)).await;
    let response = server.push("a", insert("tasks", "t", "{}")).await;
    let body = response.text().await.unwrap();
    assert_eq!(
        body,
        r#"{"error":"internal_error","message":"something is broken here; the request id helps to find it"}"#
    );
}

#[tokio::test]
async fn a_push_that_touches_too_much_is_413_and_says_what_to_do() {
    let server = Server::with_store(Faulty::new(Fault::TooLarge)).await;
    let response = server.push("a", insert("tasks", "t", "{}")).await;
    assert_eq!(response.status(), 413);
    let body = response.text().await.unwrap();
    assert_eq!(
        body,
        r#"{"error":"too_large","message":"push fewer changes at once"}"#
    );
}

/// A changeset of about so many bytes.
fn sized(id: &str, bytes: usize) -> String {
    let data = format!(r#"{{"text":"{}"}}"#, "x".repeat(bytes));
    insert("tasks", id, &data)
}

/// Room for one large body.
const ONE_SLOT: usize = MAX_BODY_BYTES;

#[tokio::test]
async fn bodies_beyond_the_budget_are_503_until_others_are_answered() {
    let (store, gate, mut seen) = held();
    let server = Server::made(Make {
        store: Arc::new(store),
        limits: Limits {
            bodies: ONE_SLOT,
            body: Duration::from_secs(2),
            ..Limits::default()
        },
        ..Make::default()
    })
    .await;
    let first = server.as_user("POST", "/sync/todo", "a");
    let first = tokio::spawn(first.body(sized("first", 120 * 1024)).send());
    seen.wait_for(|calls| *calls == 1).await.unwrap();
    let second = server.push("b", sized("second", 70 * 1024)).await;
    assert_eq!(second.headers()["retry-after"], "5");
    assert_eq!(refused(second).await, (503, json!("server_busy")));
    gate.add_permits(2);
    assert_eq!(first.await.unwrap().unwrap().status(), 200);
    let third = server.push("b", sized("third", 70 * 1024)).await;
    assert_eq!(third.status(), 200);
}

/// Eight arrive part by part in turn, with room for two: none has a part of the room and waits for another's.
#[tokio::test]
async fn large_bodies_that_arrive_together_are_all_taken() {
    let server = Server::with_limits(Limits {
        bodies: 2 * ONE_SLOT,
        ..Limits::default()
    })
    .await;
    let bodies: Vec<_> = (0..8).map(|_| sized("t", MAX_BODY_BYTES - 200)).collect();
    let mut sockets = Vec::new();
    for body in &bodies {
        let mut socket = server.socket().await;
        socket.say(head(&server, body.len())).await;
        sockets.push(socket);
    }
    let clients = sockets.iter_mut().zip(&bodies).map(|(socket, body)| async {
        for part in body.as_bytes().chunks(256 * 1024) {
            socket.say(part).await;
            tokio::task::yield_now().await;
        }
        socket.until("\r\n").await
    });
    for answer in in_time(futures_util::future::join_all(clients)).await {
        assert_eq!(answer, "HTTP/1.1 200 OK\r\n");
    }
}

/// The head of a push of so many bytes.
fn head(server: &Server, bytes: usize) -> String {
    let token = server.token("alice");
    format!(
        "POST /sync/todo HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nX-Client-Id: a\r\nContent-Length: {bytes}\r\n\r\n"
    )
}

#[tokio::test]
async fn small_pushes_do_not_wait_behind_large_ones() {
    let (store, gate, mut seen) = held();
    let server = Server::made(Make {
        store: Arc::new(store),
        limits: Limits {
            bodies: ONE_SLOT,
            // What waits for a slot waits for longer than the test.
            body: 2 * PATIENCE,
            ..Limits::default()
        },
        ..Make::default()
    })
    .await;
    let first = server.as_user("POST", "/sync/todo", "a");
    let first = tokio::spawn(first.body(sized("first", MAX_BODY_BYTES - 200)).send());
    seen.wait_for(|calls| *calls == 1).await.unwrap();
    let second = server.as_user("POST", "/sync/todo", "b");
    let second = tokio::spawn(second.body(sized("second", 120 * 1024)).send());
    let small = server.as_user("POST", "/sync/todo", "c");
    let small = tokio::spawn(small.body(sized("small", 60 * 1024)).send());
    in_time(seen.wait_for(|calls| *calls == 2)).await.unwrap();
    gate.add_permits(3);
    for push in [first, second, small] {
        assert_eq!(push.await.unwrap().unwrap().status(), 200);
    }
}

#[tokio::test]
async fn a_push_whose_client_goes_keeps_its_slot_until_the_store_has_answered() {
    keep_log();
    let (store, gate, mut seen) = held();
    let server = Server::made(Make {
        store: Arc::new(store),
        limits: Limits {
            bodies: ONE_SLOT,
            body: Duration::from_secs(2),
            ..Limits::default()
        },
        ..Make::default()
    })
    .await;
    let first = server
        .as_user("POST", "/sync/todo", "a")
        .header("X-Request-Id", "left");
    let first = tokio::spawn(first.body(sized("first", 120 * 1024)).send());
    seen.wait_for(|calls| *calls == 1).await.unwrap();
    first.abort();
    assert_eq!(line("left").await["fields"]["status"], 499);
    let second = server.push("b", sized("second", 70 * 1024)).await;
    assert_eq!(refused(second).await, (503, json!("server_busy")));
    gate.add_permits(3);
    let third = server.push("b", sized("third", 70 * 1024)).await;
    assert_eq!(third.status(), 200);
    let pulled = server.pull("c", "tasks").await;
    assert_eq!(pulled["serverChanges"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_panic_is_the_500_of_one_request() {
    keep_log();
    let server = Server::with_store(Faulty::new(Fault::Panics)).await;
    for _ in 0..3 {
        let pull = server.as_user("GET", PULL, "a").send().await.unwrap();
        let push = server.push("a", insert("tasks", "t", "{}")).await;
        for response in [pull, push] {
            assert_eq!(refused(response).await, (500, json!("internal_error")));
        }
    }
    assert_eq!(server.get("/health").await.status(), 200);
    assert!(!whole_log().contains("lost its mind"));
}

/// A store whose calls wait, how to let them go, and how to see that they have come.
fn held() -> (Faulty, Arc<Semaphore>, watch::Receiver<usize>) {
    let (gate, (calls, seen)) = (Arc::new(Semaphore::new(0)), watch::channel(0));
    (
        Faulty::new(Fault::Held(Arc::clone(&gate), calls)),
        gate,
        seen,
    )
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_503() {
    let (store, _gate, _seen) = held();
    let server = Server::made(Make {
        store: Arc::new(store),
        limits: Limits {
            request: Duration::from_millis(100),
            ..Limits::default()
        },
        ..Make::default()
    })
    .await;
    let response = server.as_user("GET", PULL, "a").send().await.unwrap();
    assert_eq!(response.headers()["retry-after"], "5");
    assert_eq!(refused(response).await, (503, json!("time_limit")));
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_a_line_and_nothing_else() {
    keep_log();
    let (store, _gate, mut seen) = held();
    let server = Server::with_store(store).await;
    let request = server
        .as_user("GET", PULL, "a")
        .header("X-Request-Id", "gone");
    let request = tokio::spawn(request.send());
    seen.wait_for(|calls| *calls == 1).await.unwrap();
    request.abort();
    assert!(request.await.unwrap_err().is_cancelled());
    assert_eq!(line("gone").await["fields"]["status"], 499);
    let metrics = server.metrics_after("gone").await;
    assert!(
        metrics.contains("sync_http_requests_in_flight 1\n"),
        "this one itself"
    );
}

mod draining {
    use sync_transport::Drained;
    use tokio::net::TcpStream;

    use super::*;

    /// Until nobody is taken in any more.
    async fn closed(server: &Server) {
        in_time(async { while TcpStream::connect(server.address).await.is_ok() {} }).await;
    }

    #[tokio::test]
    async fn requests_under_way_finish_and_nobody_new_is_taken_in() {
        let (store, gate, mut seen) = held();
        let mut server = Server::with_store(store).await;
        let mut idle = server.socket().await;
        idle.ask().await;
        let push = server.as_user("POST", "/sync/todo", "a");
        let push = tokio::spawn(push.body(insert("tasks", "t", "{}")).send());
        seen.wait_for(|calls| *calls == 1).await.unwrap();
        server.stop();
        closed(&server).await;
        assert_eq!(idle.all().await, "", "an idle connection is closed at once");
        gate.add_permits(1);
        assert_eq!(push.await.unwrap().unwrap().status(), 200);
        assert_eq!(server.ended().await, Drained::Clean);
    }

    #[tokio::test]
    async fn what_does_not_finish_in_time_is_cut_off() {
        let (store, _gate, mut seen) = held();
        let mut server = Server::made(Make {
            store: Arc::new(store),
            limits: Limits {
                drain: Duration::from_millis(100),
                ..Limits::default()
            },
            ..Make::default()
        })
        .await;
        let pull = tokio::spawn(server.as_user("GET", PULL, "a").send());
        seen.wait_for(|calls| *calls == 1).await.unwrap();
        server.stop();
        assert_eq!(server.ended().await, Drained::CutOff(1));
        assert!(pull.await.unwrap().is_err());
    }

    #[tokio::test]
    async fn a_server_without_requests_ends_at_once() {
        let mut server = Server::start().await;
        server.stop();
        assert_eq!(server.ended().await, Drained::Clean);
    }
}
