//! Sockets: what a server that breaks is told again, and what the caller gets to see of it.

use std::time::{Duration, Instant};

use sync_client::{ClientError, NoticeSocket, Retry, SocketEvent};
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use crate::script::{LONG, client, client_with, head, say};
use crate::socket_script::Step::{Read, Send};
use crate::socket_script::Turn::{Chatter, HangUp, Keep, Open, Say};
use crate::socket_script::{auth, available, close, notice, server, signed_in, text};

pub(crate) async fn next(socket: &mut NoticeSocket) -> Result<SocketEvent, ClientError> {
    timeout(LONG, socket.next())
        .await
        .expect("it comes in time")
}

pub(crate) async fn take(socket: &mut NoticeSocket, count: usize) -> Vec<SocketEvent> {
    let mut events = Vec::new();
    for _ in 0..count {
        events.push(next(socket).await.expect("an event"));
    }
    events
}

/// A refusal as it stands.
pub(crate) fn refusal(answer: Result<SocketEvent, ClientError>) -> (u16, String, String) {
    match answer {
        Err(ClientError::Refused {
            status,
            error,
            message,
        }) => (status, error, message),
        other => panic!("no refusal: {other:?}"),
    }
}

fn refused(message: &str) -> (u16, String, String) {
    (401, "token_refused".to_owned(), message.to_owned())
}

#[tokio::test]
async fn a_socket_goes_on_after_every_kind_of_break_and_says_so() {
    let busy = say("503 Busy", "retry-after: 0\r\n", "later");
    let turns = vec![
        HangUp,
        Say(busy),
        Say(say("429 Slower", "", "")),
        Say("HTTP/1.1 101 Swit".to_owned()),
        Open(vec![Read]),
        Open(signed_in([notice("tasks")])),
        Open(signed_in([close(1001, "stopping")])),
        Open(signed_in([close(1011, "")])),
        Open(signed_in([close(1012, "")])),
        Open(signed_in([close(1013, "")])),
        Open(signed_in([Send(Message::Close(None))])),
        Open(vec![Read, close(1001, "stopping")]),
        Keep(signed_in([notice("tags")])),
    ];
    let (address, notes) = server(turns).await;
    let mut socket = client(&address).socket();
    let mut expected = vec![SocketEvent::Connected, available("tasks")];
    expected.extend((0..6).map(|_| SocketEvent::Connected));
    expected.push(available("tags"));
    assert_eq!(take(&mut socket, 9).await, expected);
    assert_eq!(notes.all(), vec![auth("secret"); 9]);
}

#[tokio::test]
async fn a_server_that_does_not_come_to_the_point_or_falls_silent_is_left() {
    let turns = vec![
        Keep(vec![Read]),
        Chatter,
        Keep(signed_in([notice("tasks")])),
        Keep(signed_in([])),
    ];
    let (address, notes) = server(turns).await;
    let mut socket = client(&address).socket().silence(Duration::from_secs(2));
    let expected = [
        SocketEvent::Connected,
        available("tasks"),
        SocketEvent::Connected,
    ];
    assert_eq!(take(&mut socket, 3).await, expected);
    assert_eq!(notes.all(), vec![auth("secret"); 4]);
}

#[tokio::test]
async fn a_server_that_is_silent_is_asked_and_its_answer_keeps_the_connection() {
    let pong = || text(r#"{"type":"pong"}"#);
    let steps = [Read, pong(), Read, pong(), Read, notice("tasks")];
    let turns = vec![Keep(signed_in(steps))];
    let (address, notes) = server(turns).await;
    let mut socket = client(&address)
        .socket()
        .silence(Duration::from_millis(2500));
    let expected = [SocketEvent::Connected, available("tasks")];
    assert_eq!(take(&mut socket, 2).await, expected);
    let ping = r#"{"type":"ping"}"#.to_owned();
    assert_eq!(
        notes.all(),
        [auth("secret"), ping.clone(), ping.clone(), ping]
    );
}

#[tokio::test]
async fn a_ping_of_the_server_is_answered() {
    let ping = Send(Message::Ping("are you there".into()));
    let turns = vec![Keep(signed_in([ping, Read, notice("tasks")]))];
    let (address, notes) = server(turns).await;
    let mut socket = client(&address).socket();
    let expected = [SocketEvent::Connected, available("tasks")];
    assert_eq!(take(&mut socket, 2).await, expected);
    let pong = format!("{:?}", Message::Pong("are you there".into()));
    assert_eq!(notes.all(), [auth("secret"), pong]);
}

#[tokio::test]
async fn a_token_that_is_refused_is_replaced_and_the_socket_goes_on() {
    let complaint = || text(r#"{"type":"error","message":"the token has expired"}"#);
    let turns = vec![
        Open(vec![Read, complaint(), close(1008, "invalid token")]),
        Open(vec![Read, complaint(), close(1008, "")]),
        Open(signed_in([close(1008, "token expired")])),
        Keep(signed_in([])),
    ];
    let (address, notes) = server(turns).await;
    let retry = Retry {
        tries: 1,
        first: LONG * 1000,
        longest: LONG * 1000,
    };
    let mut socket = client_with(&address, Some("first"), retry).socket();
    assert_eq!(refusal(next(&mut socket).await), refused("invalid token"));
    socket.set_token("second");
    let complained = refused("the token has expired");
    assert_eq!(refusal(next(&mut socket).await), complained);
    socket.set_token("third");
    assert_eq!(take(&mut socket, 1).await, [SocketEvent::Connected]);
    assert_eq!(refusal(next(&mut socket).await), refused("token expired"));
    socket.set_token("fourth");
    assert_eq!(take(&mut socket, 1).await, [SocketEvent::Connected]);
    let tokens = ["first", "second", "third", "fourth"];
    assert_eq!(notes.all(), tokens.map(auth));
}

#[tokio::test]
async fn a_token_that_is_set_on_an_open_connection_is_said_there() {
    let turns = vec![Keep(signed_in(signed_in([notice("tasks")])))];
    let (address, notes) = server(turns).await;
    let mut socket = client(&address).socket();
    assert_eq!(take(&mut socket, 1).await, [SocketEvent::Connected]);
    socket.set_token("second");
    assert_eq!(take(&mut socket, 1).await, [available("tasks")]);
    assert_eq!(notes.all(), [auth("secret"), auth("second")]);
}

#[tokio::test]
async fn a_token_that_is_set_during_the_sign_in_begins_it_anew() {
    let turns = vec![Keep(vec![Read]), Keep(signed_in([]))];
    let (address, notes) = server(turns).await;
    let mut socket = client(&address).socket();
    tokio::select! {
        early = socket.next() => panic!("nobody said auth-ok: {early:?}"),
        () = notes.reach(1) => {}
    }
    socket.set_token("second");
    assert_eq!(take(&mut socket, 1).await, [SocketEvent::Connected]);
    assert_eq!(notes.all(), [auth("secret"), auth("second")]);
}

#[tokio::test]
async fn a_refusal_of_the_handshake_is_told_and_the_socket_can_be_used_on() {
    let no = say(
        "403 Forbidden",
        "",
        r#"{"error":"origin","message":"not from there"}"#,
    );
    let turns = vec![
        Say(no),
        Say(say("404 Not Found", "", "")),
        Keep(signed_in([])),
    ];
    let (address, _notes) = server(turns).await;
    let mut socket = client(&address).socket();
    let expected = (403, "origin".to_owned(), "not from there".to_owned());
    assert_eq!(refusal(next(&mut socket).await), expected);
    let expected = (404, "unknown".to_owned(), String::new());
    assert_eq!(refusal(next(&mut socket).await), expected);
    assert_eq!(take(&mut socket, 1).await, [SocketEvent::Connected]);
}

#[tokio::test]
async fn what_is_unknown_is_passed_over() {
    let turns = vec![Keep(vec![
        text(r#"{"type":"weather","sunny":true}"#),
        Read,
        text(r#"{"type":"auth-ok","until":5}"#),
        text(r#"{"type":"error","tables":["missing token"]}"#),
        Send(Message::binary("?")),
        Send(Message::Pong("".into())),
        notice("tasks"),
    ])];
    let (address, _notes) = server(turns).await;
    let mut socket = client(&address).socket();
    let expected = [SocketEvent::Connected, available("tasks")];
    assert_eq!(take(&mut socket, 2).await, expected);
}

#[tokio::test]
async fn what_cannot_be_read_is_told_and_the_socket_connects_again() {
    let long = format!(r#"{{"type":"{}"}}"#, "x".repeat(1024 * 1024));
    let turns = vec![
        Open(signed_in([text("not json")])),
        Open(signed_in([text(r#"{"type":"sync-available"}"#)])),
        Keep(signed_in([text(&long)])),
        Keep(signed_in([])),
    ];
    let (address, _notes) = server(turns).await;
    let mut socket = client(&address).socket();
    for _ in 0..3 {
        assert_eq!(take(&mut socket, 1).await, [SocketEvent::Connected]);
        let odd = next(&mut socket).await;
        assert!(matches!(odd, Err(ClientError::Answer(_))), "{odd:?}");
    }
    assert_eq!(take(&mut socket, 1).await, [SocketEvent::Connected]);
}

#[tokio::test]
async fn sockets_have_the_paths_of_the_wire() {
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port is free");
    let address = listener.local_addr().expect("it has an address");
    let client = client(&format!("http://{address}"));
    for (mut socket, path) in [
        (client.socket(), "/ws"),
        (client.socket_of_app(), "/ws/my%20todo"),
    ] {
        let task = tokio::spawn(async move { socket.next().await });
        let (mut stream, _) = listener.accept().await.expect("a client comes");
        let head = head(&mut stream).await;
        assert_eq!(head.lines().next(), Some(&*format!("GET {path} HTTP/1.1")));
        task.abort();
    }
}

#[tokio::test]
async fn a_client_without_a_token_says_none() {
    let turns = vec![Open(vec![Read, close(1008, "missing token")])];
    let (address, notes) = server(turns).await;
    let mut socket = client_with(&address, None, Retry::default()).socket();
    assert_eq!(refusal(next(&mut socket).await), refused("missing token"));
    assert_eq!(notes.all(), [r#"{"type":"auth","clientId":"phone"}"#]);
}

#[tokio::test]
async fn an_address_that_can_have_no_socket_is_told() {
    let mut socket = client("ftp://127.0.0.1").socket();
    let odd = next(&mut socket).await;
    assert!(matches!(odd, Err(ClientError::Address(_))), "{odd:?}");
}

#[tokio::test]
async fn a_call_that_is_cancelled_at_any_time_loses_nothing() {
    let names: Vec<String> = (0..20).map(|n| format!("t{n}")).collect();
    let steps = names.iter().map(|name| notice(name));
    let again = signed_in([notice("last")]);
    let turns = vec![HangUp, Keep(signed_in(steps.chain(again)))];
    let (address, notes) = server(turns).await;
    let mut socket = client(&address).socket();
    let mut events = Vec::new();
    let mut cancelled = 0;
    let mut is_renewed = false;
    let begin = Instant::now();
    while events.len() < 22 && begin.elapsed() < LONG {
        tokio::select! {
            biased;
            event = socket.next() => events.push(event.expect("an event")),
            () = tokio::task::yield_now() => cancelled += 1,
        }
        if events.len() == 21 && !is_renewed {
            is_renewed = true;
            socket.set_token("second");
        }
    }
    let mut expected = vec![SocketEvent::Connected];
    expected.extend(names.iter().map(|name| available(name)));
    expected.push(available("last"));
    assert_eq!(events, expected);
    assert!(cancelled > 0);
    assert_eq!(notes.all(), [auth("secret"), auth("second")]);
}
