//! What stands between nodes and PostgreSQL: connections that carry notices can be held up, all others pass.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// What is said on each connection that carries notices, and on no other.
const MARK: &[u8] = b"-- listen";

/// It stands open until it is dropped.
pub(crate) struct Gate {
    /// Where nodes find PostgreSQL.
    pub(crate) port: u16,
    is_open: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Gate {
    /// Before a server at this port of 127.0.0.1.
    pub(crate) async fn before(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (is_open, watched) = watch::channel(true);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(pass(client, server, watched.clone()));
            }
        });
        Self {
            port,
            is_open,
            task,
        }
    }

    /// From now on no notice passes, and nobody is told that it does not.
    pub(crate) fn hold_notices(&self) {
        self.is_open.send_replace(false);
    }

    /// All that was held goes on.
    pub(crate) fn open(&self) {
        self.is_open.send_replace(true);
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One connection, until either side ends it.
async fn pass(client: TcpStream, server: u16, is_open: watch::Receiver<bool>) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await else {
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let is_marked = AtomicBool::new(false);
    // Whichever way ends, and however it does, both connections are over.
    let _ = tokio::select! {
        ended = copy(from_client, to_server, is_open.clone(), &is_marked) => ended,
        ended = copy(from_server, to_client, is_open, &is_marked) => ended,
    };
}

async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut is_open: watch::Receiver<bool>,
    is_marked: &AtomicBool,
) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let count @ 1.. = from.read(&mut buffer).await? else {
            return Ok(());
        };
        let bytes = &buffer[..count];
        if bytes.windows(MARK.len()).any(|part| part == MARK) {
            is_marked.store(true, Ordering::Relaxed);
        }
        if is_marked.load(Ordering::Relaxed) && is_open.wait_for(|open| *open).await.is_err() {
            return Ok(());
        }
        to.write_all(bytes).await?;
    }
}
