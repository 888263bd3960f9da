//! How streams live through a store that fails and through the time limits of requests, and how they end.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use sync_notify::Hub;
use sync_transport::{Drained, Limits};

use crate::live::{Events, said, until};
use crate::stage::{Mood, Stage};
use crate::support::{Fault, Faulty, Make, Server, in_time, refused};

const SHORT: Duration = Duration::from_millis(100);

/// Limits under which a stream says every now and then that it is there.
fn lively() -> Limits {
    Limits {
        heartbeat: SHORT,
        ..Limits::default()
    }
}

mod failing {
    use super::*;

    #[tokio::test]
    async fn a_stream_waits_for_a_store_that_is_away_at_its_start() {
        let stage = Stage::new(Mood::Away);
        let (server, _) = Server::live(stage.clone(), lively()).await;
        let mut events = server.events("alice", "b", "?collections=tasks").await;
        server.write("alice", "a", "tasks", "t").await;
        assert_eq!(events.event().await, said("heartbeat", json!({})));
        stage.set(Mood::Well);
        assert_eq!(events.news().await.unwrap().ids(), ["t"]);
    }

    #[tokio::test]
    async fn a_stream_goes_on_from_its_cursor_when_the_store_is_back() {
        let stage = Stage::new(Mood::Well);
        let (server, _) = Server::live(stage.clone(), lively()).await;
        server.write("alice", "a", "tasks", "t").await;
        let mut events = server.events("alice", "b", "").await;
        assert_eq!(events.news().await.unwrap().ids(), ["t"]);
        stage.set(Mood::Away);
        server.write("alice", "a", "tasks", "u").await;
        for _ in 0..3 {
            assert_eq!(events.event().await, said("heartbeat", json!({})));
        }
        stage.set(Mood::Well);
        assert_eq!(events.news().await.unwrap().ids(), ["u"]);
    }

    #[tokio::test]
    async fn heartbeats_go_on_while_the_store_hangs() {
        let stage = Stage::new(Mood::Silent);
        let (server, _) = Server::live(stage.clone(), lively()).await;
        server.write("alice", "a", "tasks", "t").await;
        let mut events = server.events("alice", "b", "").await;
        stage.was_asked(1).await;
        for _ in 0..3 {
            assert_eq!(events.event().await, said("heartbeat", json!({})));
        }
        stage.set(Mood::Well);
        assert_eq!(events.news().await.unwrap().ids(), ["t"]);
    }

    #[tokio::test]
    async fn a_token_expires_while_the_store_hangs() {
        let stage = Stage::new(Mood::Silent);
        let (server, _) = Server::live(stage.clone(), Limits::default()).await;
        let token = server.token_for("alice", 1);
        let request = server
            .request("GET", "/sync/todo/stream")
            .bearer_auth(token);
        let mut events = Events::of(request).await;
        assert_eq!(events.event().await, said("auth-expired", json!({})));
        assert_eq!(events.block().await, None);
    }

    #[tokio::test]
    async fn a_store_that_is_broken_ends_a_stream_without_a_word_of_it() {
        let stage = Stage::new(Mood::Broken);
        let (server, hub) = Server::live(stage.clone(), Limits::default()).await;
        let mut events = server.events("alice", "b", "?collections=tasks").await;
        assert_eq!(events.block().await, None);
        until(|| hub.figures().connections == 0).await;
    }
}

mod ending {
    use super::*;

    #[tokio::test]
    async fn a_panic_ends_one_stream_and_leaves_nothing_behind() {
        let hub = Hub::new(100);
        let mut server = Server::made(Make {
            store: Arc::new(Faulty::new(Fault::Panics)),
            hub: Arc::clone(&hub),
            ..Make::default()
        })
        .await;
        let mut events = server.events("alice", "b", "").await;
        assert_eq!(events.block().await, None, "it ends as it should");
        until(|| hub.figures().connections == 0).await;
        assert_eq!(server.get("/health").await.status(), 200);
        server.stop();
        assert_eq!(server.ended().await, Drained::Clean);
    }

    #[tokio::test]
    async fn a_stream_ends_when_its_token_does() {
        let server = Server::start().await;
        // The second is over already, and counts for a second of the minute by which clocks may differ.
        for seconds in [1, -59] {
            let token = server.token_for("alice", seconds);
            let request = server.request("GET", "/sync/todo/stream?collections=tasks");
            let mut events = Events::of(request.bearer_auth(token)).await;
            assert_eq!(events.changes("tasks").await, Vec::<String>::new());
            assert_eq!(events.event().await, said("auth-expired", json!({})));
            assert_eq!(events.block().await, None);
        }
    }

    #[tokio::test]
    async fn a_server_that_stops_ends_its_streams_and_waits_for_that() {
        let stage = Stage::new(Mood::Well);
        let (mut server, _) = Server::live(stage.clone(), Limits::default()).await;
        let mut idle = server.events("alice", "b", "?collections=tasks").await;
        idle.changes("tasks").await;
        stage.set(Mood::Silent);
        let mut reading = server.events("alice", "c", "?collections=tasks").await;
        stage.was_asked(3).await;
        server.stop();
        assert_eq!(idle.block().await, None);
        assert_eq!(reading.block().await, None);
        assert_eq!(server.ended().await, Drained::Clean);
    }

    #[tokio::test]
    async fn a_stream_outlives_the_time_limits_of_requests() {
        let limits = Limits {
            heartbeat: SHORT / 2,
            request: 4 * SHORT,
            idle: 4 * SHORT,
            head: 4 * SHORT,
            stall: 4 * SHORT,
            ..Limits::default()
        };
        let server = Server::with_limits(limits).await;
        let mut events = server.events("alice", "b", "").await;
        for _ in 0..20 {
            assert_eq!(events.event().await, said("heartbeat", json!({})));
        }
        server.write("alice", "a", "tasks", "t").await;
        assert_eq!(events.news().await.unwrap().ids(), ["t"]);
    }

    #[tokio::test]
    async fn a_user_has_so_many_connections_and_gets_one_back_when_one_goes() {
        let hub = Hub::new(2);
        let server = Server::made(Make {
            hub: Arc::clone(&hub),
            ..Make::default()
        })
        .await;
        let first = server.events("alice", "a", "").await;
        let _second = server.events("alice", "b", "").await;
        let third = server.stream("alice", "c", "").send().await.unwrap();
        assert_eq!(third.headers()["retry-after"], "5");
        assert_eq!(refused(third).await, (429, json!("too_many_connections")));
        let _another = server.events("bob", "a", "").await;
        drop(first);
        until(|| hub.figures().connections == 2).await;
        server.events("alice", "c", "").await;
    }

    #[tokio::test]
    async fn health_and_the_gauges_count_streams_as_long_as_they_are_there() {
        let server = Server::start().await;
        let health = async || -> Value {
            let mut health: Value = server.get("/health").await.json().await.unwrap();
            json!([health["connections"].take(), health["users"].take()])
        };
        let gauges = async || {
            let metrics = server.get("/metrics").await.text().await.unwrap();
            let gauge = |name: &str| {
                let line = metrics.lines().find_map(|line| line.strip_prefix(name));
                line.unwrap().trim().parse::<u64>().unwrap()
            };
            json!(["mana_sync_connections_total ", "mana_sync_users_connected "].map(gauge))
        };
        assert_eq!(
            (health().await, gauges().await),
            (json!([0, 0]), json!([0, 0]))
        );
        let streams = [
            server.events("alice", "a", "").await,
            server.events("alice", "b", "").await,
            server.events("bob", "a", "").await,
        ];
        assert_eq!(
            (health().await, gauges().await),
            (json!([3, 2]), json!([3, 2]))
        );
        drop(streams);
        in_time(async { while health().await != json!([0, 0]) {} }).await;
        assert_eq!(gauges().await, json!([0, 0]));
    }
}
