//! Everything fails once while two users write and listen on every node, and in the end nobody has missed anything.

use std::sync::Arc;
use std::time::Duration;

use test_postgres::{Error, Instance};
use tokio::time::Instant;
use tokio_postgres::NoTls;

use super::load::Load;
use super::verdict::{Outage, every_socket_was_told, every_stream_has_everything};
use super::witness::Witnesses;
use crate::cluster::{Carrier, Cluster};
use crate::node::signal;
use crate::raw::{RawSocket, RawStream};

/// How many pushes each writer does while something is away or has just come back.
const SOME: usize = 25;
/// How long a node may take to stop.
const DRAIN: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_misses_anything_whatever_fails_with_postgresql() {
    nobody_misses_anything(Carrier::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_misses_anything_whatever_fails_with_nats() {
    nobody_misses_anything(Carrier::Nats).await;
}

async fn nobody_misses_anything(carrier: Carrier) {
    let cluster = Cluster::start_behind_gate(carrier).await;
    let witnesses = Witnesses::listen(&cluster).await;
    let load = Load::start(&cluster);
    let mut world = World {
        cluster,
        witnesses: Arc::new(witnesses),
        load,
        outages: Vec::new(),
        began: Instant::now(),
    };
    world.goes_on("all is well").await;
    world.relay_is_lost().await;
    world.relay_is_silent().await;
    world.database_is_killed().await;
    world.node_is_killed(1).await;
    world.node_is_stopped(2).await;
    world.goes_on("all is well again").await;
    let World {
        cluster,
        witnesses,
        load,
        outages,
        began,
    } = world;
    let written = load.end().await;
    println!(
        "{} pushes are still to come on the slow stream",
        witnesses.behind(&written)
    );
    witnesses.have_read(&written).await;
    let pushes: usize = written.iter().map(|one| one.acknowledged.len()).sum();
    let failures: usize = written.iter().map(|one| one.failures).sum();
    let took = began.elapsed();
    println!("{carrier:?}: {pushes} pushes acknowledged, {failures} tries failed, {took:.1?}");
    every_stream_has_everything(&cluster, &witnesses, &written).await;
    every_socket_was_told(&witnesses, &written, &outages).await;
}

struct World {
    cluster: Cluster,
    witnesses: Arc<Witnesses>,
    load: Load,
    outages: Vec<Outage>,
    began: Instant,
}

impl World {
    async fn goes_on(&self, what: &str) {
        let at = self.began.elapsed();
        println!("{at:>8.1?} {what}");
        self.load.goes_on(SOME).await;
    }

    /// What carries notices goes, and comes back.
    async fn relay_is_lost(&mut self) {
        if let Some(nats) = &mut self.cluster.nats {
            nats.kill().unwrap();
            self.goes_on("NATS is killed").await;
            let nats = self.cluster.nats.as_mut().unwrap();
            nats.restart().unwrap();
        } else {
            for _ in 0..3 {
                self.cluster.relays_are_up().await;
                let cut = self.cut_off_listeners().await;
                assert_eq!(cut, 3, "one of each node");
                self.goes_on("the relays are cut off").await;
            }
        }
        self.cluster.relays_are_up().await;
        self.goes_on("the relays are back").await;
    }

    /// What carries notices says nothing more, until looks have found something on every node.
    async fn relay_is_silent(&mut self) {
        const FOUND: &str = "sync_looks_found_total";
        let nats = self.cluster.nats.as_ref();
        match (nats.and_then(|nats| nats.process_id()), &self.cluster.gate) {
            (Some(process), _) => {
                signal("-STOP", process);
                tokio::join!(self.goes_on("NATS is halted"), self.cluster.rises(FOUND, 5));
                signal("-CONT", process);
            }
            (None, Some(gate)) => {
                gate.hold_notices();
                tokio::join!(
                    self.goes_on("notices are held"),
                    self.cluster.rises(FOUND, 5)
                );
                gate.open();
            }
            (None, None) => unreachable!("one of them carries notices"),
        }
        self.cluster.relays_are_up().await;
        self.goes_on("the relays speak again").await;
    }

    async fn database_is_killed(&mut self) {
        let away = Instant::now();
        println!("{:>8.1?} PostgreSQL is killed", self.began.elapsed());
        self.with_postgres(Instance::kill_hard).await;
        let failed = r#"sync_looks_total{outcome="failure"}"#;
        self.cluster.rises(failed, 1).await;
        self.with_postgres(Instance::restart).await;
        self.outages.push((away, Instant::now()));
        self.goes_on("PostgreSQL is back").await;
        self.cluster.relays_are_up().await;
    }

    /// Does what takes a while to PostgreSQL.
    async fn with_postgres<F>(&mut self, work: F)
    where
        F: FnOnce(&mut Instance) -> Result<(), Error> + Send + 'static,
    {
        let mut postgres = self.cluster.postgres.take().unwrap();
        let working = tokio::task::spawn_blocking(move || {
            work(&mut postgres).unwrap();
            postgres
        });
        self.cluster.postgres = Some(working.await.unwrap());
    }

    async fn node_is_killed(&mut self, number: usize) {
        self.cluster.nodes[number].kill();
        self.goes_on("a node is killed").await;
        self.node_is_back(number).await;
    }

    async fn node_is_stopped(&mut self, number: usize) {
        let (node, token) = (&self.cluster.nodes[number], self.cluster.token("ann"));
        let socket = RawSocket::open(node, &token).await;
        let stream = RawStream::open(node, &token).await;
        let (socket, stream) = (
            tokio::spawn(socket.farewell()),
            tokio::spawn(stream.ends_well()),
        );
        let node = &mut self.cluster.nodes[number];
        node.terminate();
        let (status, took) = node.ended().await;
        assert_eq!(status.code(), Some(0));
        assert!(took < DRAIN, "{took:?}");
        assert_eq!(socket.await.unwrap(), Some(1001));
        assert!(stream.await.unwrap(), "the stream broke off");
        self.goes_on("a node has stopped").await;
        self.node_is_back(number).await;
    }

    /// On the same port.
    async fn node_is_back(&mut self, number: usize) {
        let node = &mut self.cluster.nodes[number];
        node.start();
        node.serves().await;
        self.cluster.relays_are_up().await;
        self.witnesses.are_there(&self.cluster).await;
        self.goes_on("it is back").await;
    }

    /// Ends the connections of PostgreSQL on which nodes listen: how many.
    async fn cut_off_listeners(&self) -> u64 {
        const CUT_OFF: &str = "select pg_terminate_backend(pid) from pg_stat_activity
            where query ~ '^-- (listen|tell)'";
        let url = self.cluster.postgres.as_ref().unwrap().url();
        let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
        let connection = tokio::spawn(connection);
        let cut = client.execute(CUT_OFF, &[]).await.unwrap();
        drop(client);
        connection.await.unwrap().unwrap();
        cut
    }
}
