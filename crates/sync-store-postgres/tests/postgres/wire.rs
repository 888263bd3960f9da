//! A wire between the store and the database that counts how often the one waits for the other, and what it hears.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// How long the wire holds an answer back: all that is sent without waiting for it is on its way by then.
const LATENCY: Duration = Duration::from_millis(25);

/// A port that leads to the database.
pub(crate) struct Wire {
    address: String,
    waits: Arc<AtomicUsize>,
    heard: Arc<AtomicUsize>,
}

impl Wire {
    /// A wire to the server of this URL.
    pub(crate) async fn to(url: &str) -> Self {
        let (_, server) = url.rsplit_once('@').unwrap();
        let (server, _) = server.split_once('/').unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (waits, heard) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let counts = (waits.clone(), heard.clone());
        tokio::spawn(serve(listener, server.to_owned(), counts));
        Self {
            address,
            waits,
            heard,
        }
    }

    /// The URL with the wire in place of the server.
    pub(crate) fn url(&self, url: &str) -> String {
        let (before, server) = url.rsplit_once('@').unwrap();
        let (_, database) = server.split_once('/').unwrap();
        format!("{before}@{}/{database}", self.address)
    }

    /// How often somebody has spoken who had waited for the database before, since this was last asked.
    pub(crate) fn waits(&self) -> usize {
        self.waits.swap(0, Ordering::SeqCst)
    }

    /// How many bytes the database has said so far.
    pub(crate) fn heard(&self) -> usize {
        self.heard.load(Ordering::SeqCst)
    }
}

async fn serve(
    listener: TcpListener,
    server: String,
    (waits, heard): (Arc<AtomicUsize>, Arc<AtomicUsize>),
) {
    while let Ok((client, _)) = listener.accept().await {
        let database = TcpStream::connect(&server).await.unwrap();
        client.set_nodelay(true).unwrap();
        database.set_nodelay(true).unwrap();
        let is_waiting = Arc::new(AtomicBool::new(false));
        let ((from_client, to_client), (from_database, to_database)) =
            (client.into_split(), database.into_split());
        tokio::spawn(ask(
            from_client,
            to_database,
            is_waiting.clone(),
            waits.clone(),
        ));
        tokio::spawn(answer(from_database, to_client, is_waiting, heard.clone()));
    }
}

/// Passes on what the client says. A wait begins with the first of it after an answer.
async fn ask(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    is_waiting: Arc<AtomicBool>,
    waits: Arc<AtomicUsize>,
) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        if !is_waiting.swap(true, Ordering::SeqCst) {
            waits.fetch_add(1, Ordering::SeqCst);
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            break;
        }
    }
}

/// Passes on what the database says, later.
async fn answer(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    is_waiting: Arc<AtomicBool>,
    heard: Arc<AtomicUsize>,
) {
    let mut buffer = vec![0; 1024 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        heard.fetch_add(read, Ordering::SeqCst);
        tokio::time::sleep(LATENCY).await;
        is_waiting.store(false, Ordering::SeqCst);
        if to.write_all(&buffer[..read]).await.is_err() {
            break;
        }
    }
}
