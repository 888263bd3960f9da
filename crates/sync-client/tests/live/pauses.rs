//! Pauses: how long a server is left alone that ends its connections. Time is paused, so that waiting takes none.

use std::time::Duration;

use sync_client::{Client, Retry};
use tokio::time::Instant;

use crate::script::client_with;
use crate::socket_script::{self, Step, notice, signed_in};
use crate::stream_script::{self, Ending, changes};

const SECOND: Duration = Duration::from_secs(1);

/// How many connections end at once.
const SHORT: usize = 12;

/// How many stand for a while before they end.
const LONG: u32 = 8;

const RETRY: Retry = Retry {
    tries: 1,
    first: SECOND,
    longest: Duration::from_secs(1000),
};

/// What is long enough for a connection to have worked.
const WHILE: Duration = Duration::from_secs(1001);

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(1_000_000);

fn client(address: &str) -> Client {
    client_with(address, Some("secret"), RETRY)
}

/// What passes while connections come one after the other: `SHORT` that end at once, and then, from the first of them on,
/// `LONG` that stand for a while.
async fn times(mut connection: impl AsyncFnMut()) -> [Duration; 2] {
    let begin = Instant::now();
    for _ in 0..SHORT {
        connection().await;
    }
    let short = begin.elapsed();
    connection().await;
    let begin = Instant::now();
    for _ in 0..LONG {
        connection().await;
    }
    [short, begin.elapsed()]
}

/// First pauses, all of them, would be shorter; these are longer but once in 10^10 times.
fn assert_pauses_grew_until_connections_stood([short, long]: [Duration; 2]) {
    assert!(short > 12 * SECOND, "{short:?}");
    let first_pauses = LONG * WHILE..=LONG * (WHILE + SECOND + SECOND / 100);
    assert!(first_pauses.contains(&long), "{long:?}");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_ends_after_its_first_event_is_left_alone_longer_each_time() {
    let turn = |ending| stream_script::Turn::Stream(vec![changes("tags", &[], "1", None)], ending);
    let mut turns: Vec<_> = (0..SHORT).map(|_| turn(Ending::Clean)).collect();
    turns.extend((0..=LONG).map(|_| turn(Ending::Late(WHILE))));
    let (address, _notes) = stream_script::server(turns).await;
    let mut stream = client(&address).stream(&[], "0").silence(PATIENCE);
    let times = times(async || drop(stream.next().await.expect("an event"))).await;
    assert_pauses_grew_until_connections_stood(times);
}

#[tokio::test(start_paused = true)]
async fn a_socket_that_ends_after_its_first_notice_is_left_alone_longer_each_time() {
    let turn = |steps: Vec<Step>| socket_script::Turn::Open(signed_in(steps));
    let mut turns: Vec<_> = (0..SHORT).map(|_| turn(vec![notice("tags")])).collect();
    turns.extend((0..=LONG).map(|_| turn(vec![notice("tags"), Step::Wait(WHILE)])));
    let (address, _notes) = socket_script::server(turns).await;
    let mut socket = client(&address).socket().silence(PATIENCE);
    let times = times(async || {
        for _ in ["connected", "available"] {
            socket.next().await.expect("an event");
        }
    });
    assert_pauses_grew_until_connections_stood(times.await);
}
