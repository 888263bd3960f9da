//! A server of streams that does as told, and the events of both ends.

use std::sync::Arc;
use std::time::Duration;

use sync_client::{ServerChange, StreamEvent, TableChanges};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use crate::script::{Notes, head};

/// What the server does with one request.
pub(crate) enum Turn {
    /// Closes the connection without an answer.
    HangUp,
    /// Answers nothing, and leaves the connection open.
    Mute,
    /// Answers this, as it stands.
    Say(String),
    /// Begins a stream of these pieces, and ends it so.
    Stream(Vec<String>, Ending),
}

pub(crate) enum Ending {
    /// As HTTP has it.
    Clean,
    /// The same, after so long.
    Late(Duration),
    /// Within a chunk.
    Break,
    /// Nothing more, and the connection stays open.
    Silent,
}

/// What the server was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    line: String,
    pub(crate) token: Option<String>,
    client: Option<String>,
    last_event_id: Option<String>,
}

impl Asked {
    fn read(head: &str) -> Self {
        let header = |name: &str| {
            head.lines().find_map(|line| {
                let (found, value) = line.split_once(": ")?;
                found.eq_ignore_ascii_case(name).then(|| value.to_owned())
            })
        };
        Self {
            line: head.lines().next().unwrap_or_default().to_owned(),
            token: header("authorization"),
            client: header("x-client-id"),
            last_event_id: header("last-event-id"),
        }
    }
}

/// A request for tasks and tags.
pub(crate) fn asked(since: &str, last_event_id: Option<&str>) -> Asked {
    asked_with("secret", "collections=tasks%2Ctags&", since, last_event_id)
}

pub(crate) fn asked_with(
    token: &str,
    tables: &str,
    since: &str,
    last_event_id: Option<&str>,
) -> Asked {
    Asked {
        line: format!("GET /sync/my%20todo/stream?{tables}since={since} HTTP/1.1"),
        token: Some(format!("Bearer {token}")),
        client: Some("phone".to_owned()),
        last_event_id: last_event_id.map(str::to_owned),
    }
}

/// A server that does its turns in order, one a connection.
pub(crate) async fn server(turns: Vec<Turn>) -> (String, Arc<Notes<Asked>>) {
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port is free");
    let address = listener.local_addr().expect("it has an address");
    let notes = Notes::new();
    tokio::spawn(play(listener, turns, Arc::clone(&notes)));
    (format!("http://{address}"), notes)
}

pub(crate) async fn play(listener: TcpListener, turns: Vec<Turn>, notes: Arc<Notes<Asked>>) {
    let mut open = Vec::new();
    for turn in turns {
        let (mut stream, _) = listener.accept().await.expect("a client comes");
        notes.keep(Asked::read(&head(&mut stream).await));
        match turn {
            Turn::HangUp => {}
            Turn::Mute => open.push(stream),
            Turn::Say(answer) => send(&mut stream, &answer).await,
            Turn::Stream(pieces, ending) => {
                send(
                    &mut stream,
                    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
                )
                .await;
                for piece in pieces {
                    let length = piece.len();
                    send(&mut stream, &format!("{length:x}\r\n{piece}\r\n")).await;
                }
                match ending {
                    Ending::Clean => send(&mut stream, "0\r\n\r\n").await,
                    Ending::Late(wait) => {
                        sleep(wait).await;
                        send(&mut stream, "0\r\n\r\n").await;
                    }
                    Ending::Break => send(&mut stream, "400\r\n: ").await,
                    Ending::Silent => open.push(stream),
                }
            }
        }
    }
    std::future::pending().await
}

async fn send(stream: &mut TcpStream, text: &str) {
    // A client that was told enough may be gone.
    let _ = stream.write_all(text.as_bytes()).await;
}

fn change(table: &str, id: &str) -> serde_json::Value {
    serde_json::json!({"eventId": "0194c0ff-ee00-7abc-8def-0123456789ab", "schemaVersion": 1,
        "table": table, "id": id, "op": "insert", "data": {"n": 1}})
}

/// An event of changes as a server writes it; `id` if the server sends ids and it is the last of a page.
pub(crate) fn changes(table: &str, records: &[&str], until: &str, id: Option<&str>) -> String {
    let changes: Vec<_> = records.iter().map(|id| change(table, id)).collect();
    let data = serde_json::json!({"table": table, "changes": changes, "syncedUntil": until, "hasMore": false});
    let id = id.map_or_else(String::new, |id| format!("id: {id}\n"));
    format!("event: changes\ndata: {data}\n{id}\n")
}

/// The same as the caller gets it.
pub(crate) fn page(table: &str, records: &[&str], until: &str) -> StreamEvent {
    StreamEvent::Changes(TableChanges {
        table: table.to_owned(),
        changes: records
            .iter()
            .map(|id| serde_json::from_value::<ServerChange>(change(table, id)).expect("a change"))
            .collect(),
        synced_until: until.to_owned(),
        has_more: false,
    })
}
