//! Streams: what is asked again after which break, and what the caller gets to see of it.

use std::time::{Duration, Instant};

use sync_client::{ChangeStream, ClientError, Retry, StreamEvent};
use tokio::net::TcpSocket;
use tokio::time::timeout;

use crate::script::{LONG, Notes, client, client_with, say};
use crate::stream_script::Ending::{Break, Clean, Silent};
use crate::stream_script::{Turn, asked, asked_with, changes, page, play, server};

pub(crate) async fn next(stream: &mut ChangeStream) -> Result<StreamEvent, ClientError> {
    timeout(LONG, stream.next())
        .await
        .expect("it comes in time")
}

pub(crate) async fn take(stream: &mut ChangeStream, count: usize) -> Vec<StreamEvent> {
    let mut events = Vec::new();
    for _ in 0..count {
        events.push(next(stream).await.expect("an event"));
    }
    events
}

fn refused(status: u16, error: &str) -> Turn {
    let body = format!(r#"{{"error":"{error}","message":"because"}}"#);
    Turn::Say(say(&format!("{status} No"), "", &body))
}

fn heartbeat() -> String {
    "event: heartbeat\ndata: {}\n\n".to_owned()
}

/// The status and the code of a refusal.
pub(crate) fn refusal(answer: Result<StreamEvent, ClientError>) -> (u16, String) {
    match answer {
        Err(ClientError::Refused { status, error, .. }) => (status, error),
        other => panic!("no refusal: {other:?}"),
    }
}

#[tokio::test]
async fn a_stream_goes_on_from_the_last_id_after_every_kind_of_break() {
    let turns = vec![
        Turn::HangUp,
        Turn::Stream(
            vec![
                ": hello\n\n".to_owned(),
                changes("tasks", &["a", "b"], "1", None),
                changes("tags", &["x"], "1", Some("1")),
                changes("tasks", &["lost"], "2", Some("2"))[..60].to_owned(),
            ],
            Break,
        ),
        Turn::Say(say("503 Busy", "retry-after: 0\r\n", "later")),
        Turn::Say(say("429 Slower", "", "")),
        Turn::Say(say("408 Late", "", "")),
        Turn::Say(say("500 Broken", "", "")),
        Turn::Say("HTTP/1.1 200 OK\r\ncontent-ty".to_owned()),
        Turn::Stream(vec![changes("tasks", &["c"], "2", None)], Break),
        Turn::Stream(
            vec![
                changes("tasks", &["c"], "2", None),
                changes("tags", &["y"], "2", Some("2")),
            ],
            Clean,
        ),
        Turn::Stream(
            vec![heartbeat(), changes("tags", &["z"], "3", Some("3"))],
            Silent,
        ),
    ];
    let (address, notes) = server(turns).await;
    let mut stream = client(&address).stream(&["tasks", "tags"], "0");
    let expected = [
        page("tasks", &["a", "b"], "1"),
        page("tags", &["x"], "1"),
        page("tasks", &["c"], "2"),
        page("tasks", &["c"], "2"),
        page("tags", &["y"], "2"),
        page("tags", &["z"], "3"),
    ];
    assert_eq!(take(&mut stream, 6).await, expected);
    assert_eq!(stream.cursor(), "3");
    let first = || asked("0", None);
    let second = || asked("1", Some("1"));
    let mut expected = vec![first(), first()];
    expected.extend((0..7).map(|_| second()));
    expected.push(asked("2", Some("2")));
    assert_eq!(notes.all(), expected);
}

#[tokio::test]
async fn a_server_that_falls_silent_is_left() {
    let turns = vec![
        Turn::Mute,
        Turn::Stream(vec![changes("tags", &["x"], "1", Some("1"))], Silent),
        Turn::Stream(vec![changes("tags", &["y"], "2", Some("2"))], Silent),
    ];
    let (address, notes) = server(turns).await;
    let mut stream = client(&address)
        .stream(&["tasks", "tags"], "0")
        .silence(Duration::from_secs(2));
    let expected = [page("tags", &["x"], "1"), page("tags", &["y"], "2")];
    assert_eq!(take(&mut stream, 2).await, expected);
    let expected = [asked("0", None), asked("0", None), asked("1", Some("1"))];
    assert_eq!(notes.all(), expected);
}

#[tokio::test]
async fn a_server_that_refuses_connections_is_waited_for() {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket
        .bind("127.0.0.1:0".parse().expect("an address"))
        .expect("a port is free");
    let address = socket.local_addr().expect("it has an address");
    let mut stream = client(&format!("http://{address}")).stream(&["tasks", "tags"], "0");
    let nobody = timeout(Duration::from_millis(50), stream.next()).await;
    assert!(nobody.is_err(), "{nobody:?}");
    let listener = socket.listen(8).expect("it listens");
    let turns = vec![Turn::Stream(
        vec![changes("tags", &["x"], "1", None)],
        Silent,
    )];
    tokio::spawn(play(listener, turns, Notes::new()));
    assert_eq!(take(&mut stream, 1).await, [page("tags", &["x"], "1")]);
}

#[tokio::test]
async fn a_server_that_asks_for_time_gets_it() {
    let turns = vec![
        Turn::Say(say("503 Busy", "retry-after: 1\r\n", "")),
        Turn::Stream(vec![changes("tags", &["x"], "1", None)], Silent),
    ];
    let (address, _notes) = server(turns).await;
    let retry = Retry {
        tries: 1,
        first: Duration::from_millis(1),
        longest: Duration::from_secs(10),
    };
    let mut stream = client_with(&address, Some("secret"), retry).stream(&[], "");
    let begin = Instant::now();
    assert_eq!(take(&mut stream, 1).await, [page("tags", &["x"], "1")]);
    assert!(begin.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn without_ids_a_stream_goes_on_from_the_slowest_of_its_tables() {
    let turns = vec![
        Turn::Stream(vec![changes("tasks", &["a"], "4", None)], Clean),
        Turn::Stream(
            vec![
                changes("tasks", &["a"], "4", None),
                changes("tags", &[], "5", None),
            ],
            Clean,
        ),
        Turn::Stream(vec![changes("tasks", &["b"], "6", None)], Clean),
        Turn::Stream(vec![changes("tags", &["x"], "7", None)], Silent),
    ];
    let (address, notes) = server(turns).await;
    let mut stream = client(&address).stream(&["tasks", "tags"], "2");
    let mut cursors = Vec::new();
    for _ in 0..5 {
        take(&mut stream, 1).await;
        cursors.push(stream.cursor().to_owned());
    }
    assert_eq!(cursors, ["2", "2", "4", "5", "6"]);
    let expected = [
        asked("2", None),
        asked("2", None),
        asked("4", None),
        asked("5", None),
    ];
    assert_eq!(notes.all(), expected);
}

#[tokio::test]
async fn all_tables_from_the_beginning_are_asked_for_in_full_and_without_ids_once_more() {
    let turns = vec![
        Turn::Stream(vec![changes("tasks", &["a"], "4", None)], Clean),
        Turn::Stream(vec![changes("tasks", &["a"], "4", Some("4"))], Clean),
        Turn::Stream(vec![changes("tasks", &["b"], "5", None)], Silent),
    ];
    let (address, notes) = server(turns).await;
    let mut stream = client(&address).stream(&[], "");
    assert_eq!(stream.cursor(), "");
    take(&mut stream, 3).await;
    let beginning = asked_with("secret", "", "1970-01-01T00%3A00%3A00.000Z", None);
    let expected = [
        beginning.clone(),
        beginning,
        asked_with("secret", "", "4", Some("4")),
    ];
    assert_eq!(notes.all(), expected);
}

#[tokio::test]
async fn a_token_that_is_refused_or_expires_is_replaced_and_the_stream_goes_on() {
    let expired = "event: auth-expired\ndata: {}\n\n".to_owned();
    let turns = vec![
        refused(401, "unauthorized"),
        Turn::Stream(
            vec![changes("tags", &["x"], "1", Some("1")), expired],
            Clean,
        ),
        Turn::Stream(vec![changes("tags", &["y"], "2", Some("2"))], Silent),
    ];
    let (address, notes) = server(turns).await;
    let retry = Retry {
        tries: 1,
        first: LONG * 1000,
        longest: LONG * 1000,
    };
    let mut stream = client_with(&address, Some("secret"), retry).stream(&["tasks", "tags"], "0");
    let code = |error: &str| (401, error.to_owned());
    assert_eq!(refusal(next(&mut stream).await), code("unauthorized"));
    stream.set_token("second");
    assert_eq!(take(&mut stream, 1).await, [page("tags", &["x"], "1")]);
    assert_eq!(refusal(next(&mut stream).await), code("token_expired"));
    stream.set_token("third");
    assert_eq!(take(&mut stream, 1).await, [page("tags", &["y"], "2")]);
    let of_both = |token, since, id| asked_with(token, "collections=tasks%2Ctags&", since, id);
    let expected = [
        of_both("secret", "0", None),
        of_both("second", "0", None),
        of_both("third", "1", Some("1")),
    ];
    assert_eq!(notes.all(), expected);
}

#[tokio::test]
async fn a_token_that_is_set_while_the_server_thinks_is_the_one_that_is_used() {
    let turns = vec![
        Turn::Mute,
        Turn::Stream(vec![changes("tags", &["x"], "1", None)], Silent),
    ];
    let (address, notes) = server(turns).await;
    let mut stream = client(&address).stream(&["tasks", "tags"], "0");
    tokio::select! {
        early = stream.next() => panic!("nothing was sent: {early:?}"),
        () = notes.reach(1) => {}
    }
    stream.set_token("second");
    assert_eq!(take(&mut stream, 1).await, [page("tags", &["x"], "1")]);
    let tokens: Vec<_> = notes
        .all()
        .into_iter()
        .filter_map(|asked| asked.token)
        .collect();
    assert_eq!(tokens, ["Bearer secret", "Bearer second"]);
}

#[tokio::test]
async fn a_refusal_is_told_and_the_stream_can_be_used_on() {
    let codes = [
        (400, "bad_request"),
        (402, "sync_inactive"),
        (403, "forbidden"),
        (404, "not_found"),
    ];
    let mut turns: Vec<Turn> = codes
        .iter()
        .map(|(status, error)| refused(*status, error))
        .collect();
    turns.push(Turn::Stream(
        vec![changes("tags", &["x"], "1", None)],
        Silent,
    ));
    let (address, notes) = server(turns).await;
    let mut stream = client(&address).stream(&["tasks", "tags"], "0");
    for (status, error) in codes {
        let refusal = refusal(next(&mut stream).await);
        assert_eq!(refusal, (status, error.to_owned()));
    }
    assert_eq!(take(&mut stream, 1).await, [page("tags", &["x"], "1")]);
    assert_eq!(notes.all(), vec![asked("0", None); 5]);
}

#[tokio::test]
async fn an_event_that_cannot_be_read_is_told_and_read_again() {
    let odd = "event: changes\ndata: {\"table\": 5}\nid: 2\n\n".to_owned();
    let turns = vec![
        Turn::Stream(vec![changes("tags", &["x"], "1", Some("1")), odd], Silent),
        Turn::Stream(
            vec!["event: spaces\ndata: []\nid: 2\n\n".to_owned()],
            Silent,
        ),
        Turn::Stream(
            vec![
                "data: \u{1}\n\n".to_owned(),
                changes("tags", &["y"], "2", Some("2")),
            ],
            Silent,
        ),
    ];
    let (address, notes) = server(turns).await;
    let mut stream = client(&address).stream(&["tasks", "tags"], "0");
    assert_eq!(take(&mut stream, 1).await, [page("tags", &["x"], "1")]);
    for _ in 0..2 {
        let odd = next(&mut stream).await;
        assert!(matches!(odd, Err(ClientError::Answer(_))), "{odd:?}");
    }
    assert_eq!(take(&mut stream, 1).await, [page("tags", &["y"], "2")]);
    let expected = [
        asked("0", None),
        asked("1", Some("1")),
        asked("1", Some("1")),
    ];
    assert_eq!(notes.all(), expected);
}

#[tokio::test]
async fn an_answer_that_is_no_stream_of_events_is_told() {
    let turns = vec![
        Turn::Say(say(
            "200 OK",
            "content-type: text/html\r\n",
            "<p>Sign in</p>",
        )),
        Turn::Stream(vec![changes("tags", &["x"], "1", None)], Silent),
    ];
    let (address, _notes) = server(turns).await;
    let mut stream = client(&address).stream(&[], "0");
    let odd = next(&mut stream).await;
    assert!(matches!(odd, Err(ClientError::Answer(_))), "{odd:?}");
    assert_eq!(take(&mut stream, 1).await, [page("tags", &["x"], "1")]);
}

#[tokio::test]
async fn removed_spaces_are_told_and_what_is_unknown_is_passed_over() {
    let turns = vec![Turn::Stream(
        vec![
            heartbeat(),
            "event: weather\ndata: sunny\nid: 7\n\nevent: changes\nid: 8\n\nevent: auth-expired\nid: 9\n\n"
                .to_owned(),
            "event: spaces\r\ndata: {\"removed\":[\"team\"],\"more\":1}\r\n\r\n".to_owned(),
        ],
        Silent,
    )];
    let (address, _notes) = server(turns).await;
    let mut stream = client(&address).stream(&[], "0");
    let removed = StreamEvent::SpacesRemoved(vec!["team".to_owned()]);
    assert_eq!(take(&mut stream, 1).await, [removed]);
    assert_eq!(stream.cursor(), "9");
}

#[tokio::test]
async fn a_call_that_is_cancelled_at_any_time_loses_nothing() {
    let text: String = (0..20)
        .map(|n| changes("tasks", &[&format!("r{n}")], &n.to_string(), None))
        .collect();
    let pieces = text.as_bytes().chunks(7);
    let pieces = pieces.map(|piece| String::from_utf8_lossy(piece).into_owned());
    let turns = vec![Turn::HangUp, Turn::Stream(pieces.collect(), Silent)];
    let (address, notes) = server(turns).await;
    let mut stream = client(&address).stream(&["tasks", "tags"], "0");
    let mut events = Vec::new();
    let mut cancelled = 0;
    let begin = Instant::now();
    while events.len() < 20 && begin.elapsed() < LONG {
        tokio::select! {
            biased;
            event = stream.next() => events.push(event.expect("an event")),
            () = tokio::task::yield_now() => cancelled += 1,
        }
    }
    let expected: Vec<_> = (0..20)
        .map(|n| page("tasks", &[&format!("r{n}")], &n.to_string()))
        .collect();
    assert_eq!(events, expected);
    assert!(cancelled > 0);
    assert_eq!(notes.all(), [asked("0", None), asked("0", None)]);
}

#[tokio::test]
async fn a_stream_can_be_read_by_a_task_of_its_own() {
    let turns = vec![Turn::Stream(
        vec![changes("tags", &["x"], "1", None)],
        Silent,
    )];
    let (address, _notes) = server(turns).await;
    let mut stream = client(&address).stream(&[], "0");
    let task = tokio::spawn(async move { take(&mut stream, 1).await });
    assert_eq!(task.await.expect("it ends"), [page("tags", &["x"], "1")]);
}
