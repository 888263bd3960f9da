//! `cargo xtask live`: what idle sockets and streams cost a server, and how soon they hear of a push. A program with a
//! table, not a test: nothing fails on time.

use std::error::Error;
use std::fs;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use sync_client::{Client, NewChange, Options, Retry, SignedIn, SocketEvent, StreamEvent};
use sync_protocol::Value;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::Outcome;
use crate::server::{OwnServer, Profile};

/// How long a server is left alone before its memory is read.
const SETTLE: Duration = Duration::from_secs(3);
/// How long a client waits for what it was promised.
const PATIENCE: Duration = Duration::from_secs(30);
/// How many connections are opened at a time.
const OPENING: usize = 64;

/// How many of what.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Idle sockets, one a user.
    #[arg(long, default_value_t = 5000)]
    sockets: usize,
    /// Idle streams, one a user.
    #[arg(long, default_value_t = 1000)]
    streams: usize,
    /// Pushes whose way to the sockets and streams is timed.
    #[arg(long, default_value_t = 1000)]
    pushes: usize,
}

/// Starts a release build of a development server, and measures it.
pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(measure(arguments))?;
    Ok(ExitCode::SUCCESS)
}

/// Something that a client has in hand: whose it is, and since when.
struct Arrival {
    user: usize,
    at: Instant,
}

async fn measure(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let server = OwnServer::development(Profile::Release)?;
    let users = arguments.sockets.max(arguments.streams);
    let clients = sign_in_all(&server.url(), users).await?;
    let mut open = JoinSet::new();
    println!("{:<58}{:>12}", "memory of the server", "KiB");
    let mut before = settled(&server).await?;
    println!("{:<58}{before:>12}", "signed in, nothing open");
    let (notices, mut noticed) = mpsc::unbounded_channel();
    open_all(
        &mut open,
        &clients[..arguments.sockets],
        |client, user, ready| listen(client, user, ready, notices.clone()),
    )
    .await;
    before = report(&server, before, arguments.sockets, "idle socket").await?;
    let (changes, mut changed) = mpsc::unbounded_channel();
    open_all(
        &mut open,
        &clients[..arguments.streams],
        |client, user, ready| follow(client, user, ready, changes.clone()),
    )
    .await;
    report(&server, before, arguments.streams, "idle stream").await?;
    println!(
        "\n{:<58}{:>8}{:>8}{:>8}",
        "milliseconds", "p50", "p99", "most"
    );
    let (mut push, mut answer, mut socket, mut stream) = (vec![], vec![], vec![], vec![]);
    let both = arguments.sockets.min(arguments.streams);
    for place in 0..arguments.pushes.min(both * 1000) {
        let user = place % both;
        let change = NewChange::insert("tasks", &format!("r{place}")).with("n", Value::string("x"));
        let writer = clients[user]
            .client
            .speaking_as("writer", &clients[user].token);
        let began = Instant::now();
        writer.push("2999-01-01T00:00:00Z", &[change]).await?;
        let answered = Instant::now();
        let (notice, change) = (
            arrival(&mut noticed, user).await?,
            arrival(&mut changed, user).await?,
        );
        push.push(answered - began);
        answer.push(notice.saturating_duration_since(answered));
        socket.push(notice - began);
        stream.push(change - began);
    }
    row("push, start to answer", push);
    row(
        "answer of a push to notice in hand (0: before the answer)",
        answer,
    );
    row("start of a push to notice in hand", socket);
    row("start of a push to the change in hand by stream", stream);
    open.shutdown().await;
    Ok(())
}

/// The next arrival, which must be this user's: nobody else is told.
async fn arrival(
    arrivals: &mut mpsc::UnboundedReceiver<Arrival>,
    user: usize,
) -> Result<Instant, Box<dyn Error>> {
    let arrival = tokio::time::timeout(PATIENCE, arrivals.recv()).await?;
    let arrival = arrival.ok_or("all connections are gone")?;
    if arrival.user != user {
        return Err(format!("user {} was told instead of {user}", arrival.user).into());
    }
    Ok(arrival.at)
}

/// Signs in so many users, each with the client that listens for it. They share connections for all that is no stream.
async fn sign_in_all(server: &str, users: usize) -> Result<Vec<Listening>, Box<dyn Error>> {
    let nobody = Client::new(Options {
        server: server.to_owned(),
        app: "todo".to_owned(),
        client_id: String::new(),
        token: None,
        retry: Retry::default(),
    })?;
    let http = reqwest::Client::new();
    let mut clients = Vec::with_capacity(users);
    for user in 0..users {
        let who =
            serde_json::json!({"user": format!("user{user}"), "password": "any", "device": "x"});
        let asked = http.post(format!("{server}/dummy-signin")).json(&who);
        let signed_in: SignedIn = asked.send().await?.error_for_status()?.json().await?;
        clients.push(Listening {
            client: nobody.speaking_as("listener", &signed_in.token),
            token: signed_in.token,
        });
    }
    Ok(clients)
}

/// A user's client.
struct Listening {
    client: Client,
    token: String,
}

/// Opens one connection for each client, some at a time, and waits until all are open.
async fn open_all<F>(
    open: &mut JoinSet<()>,
    clients: &[Listening],
    task: impl Fn(Client, usize, mpsc::Sender<()>) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let (ready, mut opened) = mpsc::channel(OPENING);
    for (user, of) in clients.iter().enumerate() {
        if user >= OPENING {
            opened.recv().await;
        }
        open.spawn(task(of.client.clone(), user, ready.clone()));
    }
    for _ in 0..clients.len().min(OPENING) {
        opened.recv().await;
    }
}

async fn listen(
    client: Client,
    user: usize,
    ready: mpsc::Sender<()>,
    arrivals: mpsc::UnboundedSender<Arrival>,
) {
    let mut socket = client.socket();
    while let Ok(event) = socket.next().await {
        let at = Instant::now();
        match event {
            SocketEvent::Connected => opened(&ready).await,
            SocketEvent::Available { .. } => arrived(&arrivals, user, at),
        }
    }
}

async fn follow(
    client: Client,
    user: usize,
    ready: mpsc::Sender<()>,
    arrivals: mpsc::UnboundedSender<Arrival>,
) {
    let mut stream = client.stream(&["tasks"], "");
    while let Ok(event) = stream.next().await {
        let at = Instant::now();
        match event {
            // The empty one that says that the head is reached.
            StreamEvent::Changes(changes) if changes.changes.is_empty() => {
                opened(&ready).await;
            }
            StreamEvent::Changes(_) => arrived(&arrivals, user, at),
            StreamEvent::SpacesRemoved(_) => {}
        }
    }
}

/// Whoever opens connections may have gone.
async fn opened(ready: &mpsc::Sender<()>) {
    let _ = ready.send(()).await;
}

/// Whoever measures may have gone.
fn arrived(arrivals: &mpsc::UnboundedSender<Arrival>, user: usize, at: Instant) {
    let _ = arrivals.send(Arrival { user, at });
}

/// The memory of the server once it is quiet, in KiB.
async fn settled(server: &OwnServer) -> Result<u64, Box<dyn Error>> {
    tokio::time::sleep(SETTLE).await;
    let status = fs::read_to_string(format!("/proc/{}/status", server.process_id()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number
        .ok_or("no VmRSS in /proc: this measures on Linux")?
        .parse()?)
}

/// Says what so many connections of a kind have cost; gives what the server has now.
async fn report(
    server: &OwnServer,
    before: u64,
    count: usize,
    kind: &str,
) -> Result<u64, Box<dyn Error>> {
    let after = settled(server).await?;
    println!("{:<58}{after:>12}", format!("and {count} of: {kind}"));
    let each = (after as f64 - before as f64) / count.max(1) as f64;
    println!("{:<58}{each:>12.2}", format!("each {kind}"));
    Ok(after)
}

fn row(name: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |share: f64| {
        let place = (times.len() as f64 * share) as usize;
        let time = times.get(place.min(times.len().saturating_sub(1)));
        time.map_or(f64::NAN, |time| time.as_secs_f64() * 1000.0)
    };
    println!(
        "{name:<58}{:>8.2}{:>8.2}{:>8.2}",
        at(0.5),
        at(0.99),
        at(1.0)
    );
}
