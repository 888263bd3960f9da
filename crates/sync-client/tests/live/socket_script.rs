//! A server of sockets that does as told, and the messages of both ends.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use sync_client::SocketEvent;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::{WebSocketStream, accept_async};

use crate::script::{Notes, head};

/// What the server does with one connection.
pub(crate) enum Turn {
    /// Closes it without an answer.
    HangUp,
    /// Answers this to the handshake, as it stands.
    Say(String),
    /// Shakes hands and does this, then drops the connection.
    Open(Vec<Step>),
    /// The same, and leaves the connection open.
    Keep(Vec<Step>),
    /// Shakes hands and then talks on and on, but says nothing that matters.
    Chatter,
}

pub(crate) enum Step {
    /// Takes note of a message.
    Read,
    /// Sends a message.
    Send(Message),
    /// Does nothing for so long.
    Wait(Duration),
}

pub(crate) fn text(text: &str) -> Step {
    Step::Send(Message::text(text))
}

pub(crate) fn close(code: u16, reason: &str) -> Step {
    Step::Send(Message::Close(Some(CloseFrame {
        code: code.into(),
        reason: reason.into(),
    })))
}

/// The steps of a sign-in that goes well, and these.
pub(crate) fn signed_in(steps: impl IntoIterator<Item = Step>) -> Vec<Step> {
    let mut all = vec![Step::Read, text(r#"{"type":"auth-ok"}"#)];
    all.extend(steps);
    all
}

pub(crate) fn notice(table: &str) -> Step {
    text(&format!(
        r#"{{"type":"sync-available","appId":"todo","tables":["{table}"]}}"#
    ))
}

pub(crate) fn available(table: &str) -> SocketEvent {
    SocketEvent::Available {
        app: "todo".to_owned(),
        tables: vec![table.to_owned()],
    }
}

pub(crate) fn auth(token: &str) -> String {
    format!(r#"{{"type":"auth","token":"{token}","clientId":"phone"}}"#)
}

/// A server that does its turns in order, one a connection, and takes note of what it is told.
pub(crate) async fn server(turns: Vec<Turn>) -> (String, Arc<Notes<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port is free");
    let address = listener.local_addr().expect("it has an address");
    let notes = Notes::new();
    tokio::spawn(play(listener, turns, Arc::clone(&notes)));
    (format!("http://{address}"), notes)
}

async fn play(listener: TcpListener, turns: Vec<Turn>, notes: Arc<Notes<String>>) {
    let mut kept = Vec::new();
    for turn in turns {
        let (mut stream, _) = listener.accept().await.expect("a client comes");
        match turn {
            Turn::HangUp => {}
            Turn::Say(answer) => {
                head(&mut stream).await;
                let sent = stream.write_all(answer.as_bytes()).await;
                sent.expect("the answer is sent");
            }
            Turn::Open(steps) => drop(perform(stream, steps, &notes).await),
            Turn::Keep(steps) => kept.push(perform(stream, steps, &notes).await),
            Turn::Chatter => {
                let mut socket = perform(stream, vec![Step::Read], &notes).await;
                let pong = || Message::text(r#"{"type":"pong"}"#);
                tokio::spawn(async move {
                    while socket.send(pong()).await.is_ok() {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                });
            }
        }
    }
    std::future::pending().await
}

async fn perform(
    stream: TcpStream,
    steps: Vec<Step>,
    notes: &Notes<String>,
) -> WebSocketStream<TcpStream> {
    let mut socket = accept_async(stream).await.expect("a handshake");
    for step in steps {
        match step {
            Step::Read => {
                let message = socket.next().await.expect("open").expect("a message");
                notes.keep(match message {
                    Message::Text(text) => text.to_string(),
                    other => format!("{other:?}"),
                });
            }
            Step::Send(message) => socket.send(message).await.expect("it is sent"),
            Step::Wait(wait) => tokio::time::sleep(wait).await,
        }
    }
    socket
}
