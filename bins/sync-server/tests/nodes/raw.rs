//! A socket and a stream as they are, without a client that connects again.

use futures_util::{SinkExt, StreamExt};
use reqwest::Response;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::node::Node;
use crate::waiting::PATIENCE;

/// A socket that is signed in.
pub(crate) struct RawSocket(WebSocketStream<TcpStream>);

/// A stream that is open.
pub(crate) struct RawStream(Response);

impl RawSocket {
    /// Opens one of all apps on a node, with a token.
    pub(crate) async fn open(node: &Node, token: &str) -> Self {
        let address = node.address();
        let stream = TcpStream::connect(&address).await.unwrap();
        let opened = client_async(format!("ws://{address}/ws"), stream).await;
        let (mut socket, _) = opened.unwrap();
        let auth = serde_json::json!({"type": "auth", "token": token});
        socket.send(Message::text(auth.to_string())).await.unwrap();
        let said = timeout(PATIENCE, socket.next()).await.unwrap();
        assert_eq!(
            said.unwrap().unwrap(),
            Message::text(r#"{"type":"auth-ok"}"#)
        );
        Self(socket)
    }

    /// Until the server closes it: its code.
    pub(crate) async fn farewell(mut self) -> Option<u16> {
        let mut code = None;
        // To its end, as a good client does.
        while let Some(Ok(message)) = timeout(PATIENCE, self.0.next()).await.unwrap() {
            if let Message::Close(frame) = message {
                code = frame.map(|frame| frame.code.into());
            }
        }
        code
    }
}

impl RawStream {
    /// Opens one of all tables on a node, with a token.
    pub(crate) async fn open(node: &Node, token: &str) -> Self {
        let url = format!("{}/sync/todo/stream", node.url());
        let request = reqwest::Client::new().get(url).bearer_auth(token);
        let answer = request.send().await.unwrap();
        assert!(answer.status().is_success());
        Self(answer)
    }

    /// Until it ends: whether it ended as an answer should.
    pub(crate) async fn ends_well(mut self) -> bool {
        loop {
            match timeout(PATIENCE, self.0.chunk()).await.unwrap() {
                Ok(Some(_)) => {}
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
    }
}
