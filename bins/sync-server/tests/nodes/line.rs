//! A line to a node that breaks again and again, wherever an answer may be.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// After how many bytes of answers it breaks the first time. Each time it is twice as many, until a whole page of a stream
/// would pass (1 MiB), which is what a stream needs to go on; then it is as few again.
const FEW: usize = 20_000;
const DOUBLED: u32 = 7;

/// It is there until it is dropped.
pub(crate) struct BrokenLine {
    /// Where to call the node.
    pub(crate) url: String,
    task: JoinHandle<()>,
}

impl BrokenLine {
    /// To a node that listens at this address.
    pub(crate) async fn to(node: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            let mut turn: u32 = 0;
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(pass(client, node.clone(), FEW << turn));
                turn = (turn + 1) % DOUBLED;
            }
        });
        Self { url, task }
    }
}

impl Drop for BrokenLine {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One connection, until either side ends it or there is no room for more of what the node says.
async fn pass(client: TcpStream, node: String, mut room: usize) {
    let Ok(node) = TcpStream::connect(node).await else {
        return;
    };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_node, mut to_node) = node.into_split();
    let asks = tokio::io::copy(&mut from_client, &mut to_node);
    let answers = async {
        let mut buffer = vec![0; 16 * 1024];
        while room > 0 {
            let Ok(count @ 1..) = from_node.read(&mut buffer).await else {
                return;
            };
            let passed = count.min(room);
            room -= passed;
            if to_client.write_all(&buffer[..passed]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        _ = asks => {}
        () = answers => {}
    }
}
