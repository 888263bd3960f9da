//! The client against a server that misbehaves as told: what is sent again, and what is not.

use std::sync::Arc;
use std::time::Duration;

use sync_client::{Answer, Client, ClientError, NewChange, Options, Retry, SignedIn, sign_in};
use sync_protocol::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;
use tokio::time::timeout;

/// What the server does with one request.
enum Turn {
    /// Closes the connection without an answer.
    HangUp,
    /// Answers this, as it stands.
    Say(String),
    /// Answers this and no more, and leaves the connection open.
    Stall(String),
    /// Answers the head and half of the body, then closes.
    BreakOff(String),
}

fn say(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n{body}"
    )
}

fn page(records: &[&str], until: &str, has_more: bool) -> Turn {
    let changes: Vec<_> = records
        .iter()
        .map(|id| {
            serde_json::json!({"eventId": "0194c0ff-ee00-7abc-8def-0123456789ab", "schemaVersion": 1,
                "table": "tasks", "id": id, "op": "insert", "data": {"n": 1}})
        })
        .collect();
    let body = serde_json::json!({"serverChanges": changes, "conflicts": [], "syncedUntil": until, "hasMore": has_more});
    Turn::Say(say("200 OK", "", &body.to_string()))
}

/// A server that answers its turns in order, and keeps what it was asked.
async fn server(turns: Vec<Turn>) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port is free");
    let address = listener.local_addr().expect("it has an address");
    let asked = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&asked);
    tokio::spawn(async move {
        let mut open = Vec::new();
        for turn in turns {
            let (mut stream, _) = listener.accept().await.expect("a client comes");
            kept.lock().await.push(request(&mut stream).await);
            let answer = match &turn {
                Turn::HangUp => "",
                Turn::Say(answer) | Turn::Stall(answer) => answer,
                Turn::BreakOff(answer) => &answer[..answer.len() - 5],
            };
            stream
                .write_all(answer.as_bytes())
                .await
                .expect("the answer is sent");
            if let Turn::Stall(_) = turn {
                open.push(stream);
            }
        }
        std::future::pending::<()>().await
    });
    (format!("http://{address}"), asked)
}

/// Reads one request whole.
async fn request(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let read = stream.read(&mut buffer).await.expect("the request is read");
        text.extend_from_slice(&buffer[..read]);
        let seen = String::from_utf8_lossy(&text).into_owned();
        let Some((head, body)) = seen.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head
            .lines()
            .find_map(|line| {
                line.to_ascii_lowercase()
                    .strip_prefix("content-length: ")?
                    .parse::<usize>()
                    .ok()
            })
            .unwrap_or(0);
        if body.len() >= length {
            return seen;
        }
    }
}

fn client(server: &str) -> Client {
    let retry = Retry {
        tries: 4,
        first: Duration::from_millis(1),
        longest: Duration::from_millis(5),
    };
    Client::new(Options {
        server: server.to_owned(),
        app: "my todo".to_owned(),
        client_id: "phone".to_owned(),
        token: Some("secret".to_owned()),
        retry,
    })
    .expect("a good address")
}

#[tokio::test]
async fn a_push_is_sent_again_until_it_is_answered() {
    let good = say(
        "200 OK",
        "",
        r#"{"serverChanges":[],"conflicts":[],"syncedUntil":"now"}"#,
    );
    let busy = say(
        "503 Service Unavailable",
        "retry-after: 0\r\n",
        r#"{"error":"busy","message":"later"}"#,
    );
    let turns = vec![
        Turn::HangUp,
        Turn::Say(busy),
        Turn::BreakOff(good.clone()),
        Turn::Say(good),
    ];
    let (address, asked) = server(turns).await;
    let change = NewChange::insert("tasks", "a").with("n", Value::parse("1.10").expect("JSON"));
    let answer = client(&address)
        .push("", &[change])
        .await
        .expect("the fourth try is answered");
    assert_eq!(
        (answer.synced_until.as_str(), answer.has_more),
        ("now", false)
    );
    let asked = asked.lock().await;
    assert_eq!(asked.len(), 4);
    let body = r#"{"clientId":"phone","since":"","schemaVersion":1,"changes":[{"table":"tasks","id":"a","op":"insert","data":{"n":1.10}}]}"#;
    for request in asked.iter() {
        assert!(
            request.starts_with("POST /sync/my%20todo HTTP/1.1"),
            "{request}"
        );
        assert!(
            request
                .to_ascii_lowercase()
                .contains("authorization: bearer secret"),
            "{request}"
        );
        assert!(request.ends_with(body), "{request}");
    }
}

#[tokio::test]
async fn a_refusal_is_not_asked_for_twice() {
    let no = say(
        "400 Bad Request",
        "",
        r#"{"error":"bad_request","message":"invalid op"}"#,
    );
    let (address, asked) = server(vec![Turn::Say(no.clone()), Turn::Say(no)]).await;
    let refused = client(&address)
        .push("", &[])
        .await
        .expect_err("it is refused");
    assert!(
        matches!(&refused, ClientError::Refused { status: 400, error, message } if error == "bad_request" && message == "invalid op"),
        "{refused:?}"
    );
    assert_eq!(asked.lock().await.len(), 1);
}

#[tokio::test]
async fn no_more_than_64_kib_of_a_refusal_is_read() {
    let body = "x".repeat(64 * 1024);
    let endless = || {
        Turn::Stall(format!(
            "HTTP/1.1 400 No\r\ncontent-length: 1000000000\r\n\r\n{body}"
        ))
    };
    let (address, _asked) = server(vec![endless(), endless()]).await;
    let client = client(&address);
    let pushed = async { client.push("", &[]).await.expect_err("it is refused") };
    let signed_in = async {
        let signed_in = sign_in(&address, "anna", "phone").await;
        signed_in.expect_err("it is refused")
    };
    let both = async { [pushed.await, signed_in.await] };
    let both = timeout(Duration::from_secs(30), both).await;
    for refused in both.expect("what is still to come is not waited for") {
        let expected = format!("the server answered 400 unknown: {}", "x".repeat(200));
        assert_eq!(refused.to_string(), expected);
    }
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_is_told_apart_since_its_push_is_stored() {
    let odd = say("200 OK", "", r#"{"stored":true}"#);
    let (address, asked) = server(vec![Turn::Say(odd.clone()), Turn::Say(odd)]).await;
    let error = client(&address).push("", &[]).await;
    assert!(matches!(error, Err(ClientError::Answer(_))), "{error:?}");
    assert_eq!(asked.lock().await.len(), 1);
}

#[tokio::test]
async fn a_server_that_stays_away_is_given_up() {
    let (address, asked) = server((0..4).map(|_| Turn::HangUp).collect()).await;
    let error = client(&address)
        .pull("tasks", "since")
        .await
        .expect_err("nobody answers");
    assert!(matches!(error, ClientError::Unavailable(_)), "{error:?}");
    assert_eq!(asked.lock().await.len(), 4);
}

#[tokio::test]
async fn a_table_is_read_page_after_page_to_its_head() {
    let turns = vec![
        page(&["a", "b"], "one", true),
        Turn::HangUp,
        page(&["c"], "two", false),
    ];
    let (address, asked) = server(turns).await;
    let mut pages: Vec<Answer> = Vec::new();
    let cursor = client(&address)
        .pull_to_head("tasks & co", "start", |page| pages.push(page))
        .await;
    assert_eq!(cursor.ok().as_deref(), Some("two"));
    let ids: Vec<_> = pages
        .iter()
        .flat_map(|page| &page.server_changes)
        .map(|change| change.id.to_string())
        .collect();
    assert_eq!(ids, ["a", "b", "c"]);
    let asked: Vec<_> = asked
        .lock()
        .await
        .iter()
        .filter_map(|request| request.lines().next().map(str::to_owned))
        .collect();
    let line = |since: &str| {
        format!("GET /sync/my%20todo/pull?collection=tasks+%26+co&since={since} HTTP/1.1")
    };
    assert_eq!(asked, [line("start"), line("one"), line("one")]);
}

#[tokio::test]
async fn a_cursor_that_does_not_move_is_an_error_and_no_endless_loop() {
    let (address, _asked) = server(vec![page(&["a"], "start", true)]).await;
    let error = client(&address)
        .pull_to_head("tasks", "start", |_| ())
        .await
        .expect_err("it stands still");
    assert!(matches!(error, ClientError::Answer(_)), "{error:?}");
}

#[tokio::test]
async fn an_empty_cursor_is_the_beginning_for_a_pull_too() {
    let turns = vec![page(&["a"], "one", false), page(&["a"], "one", false)];
    let (address, asked) = server(turns).await;
    let client = client(&address);
    let page = client.pull("tasks", "").await;
    assert!(page.is_ok(), "{page:?}");
    let cursor = client.pull_to_head("tasks", "", |_| ()).await;
    assert_eq!(cursor.ok().as_deref(), Some("one"));
    let line =
        "GET /sync/my%20todo/pull?collection=tasks&since=1970-01-01T00%3A00%3A00.000Z HTTP/1.1";
    for request in asked.lock().await.iter() {
        assert_eq!(request.lines().next(), Some(line));
    }
}

#[test]
fn nothing_that_is_printed_for_a_programmer_has_a_token_in_it() {
    let mut options = Options {
        server: "http://here".to_owned(),
        app: "todo".to_owned(),
        client_id: "phone".to_owned(),
        token: Some("secret".to_owned()),
        retry: Retry::default(),
    };
    let shown = |token| {
        format!(
            r#"Options {{ server: "http://here", app: "todo", client_id: "phone", token: {token}, retry: {:?} }}"#,
            Retry::default()
        )
    };
    assert_eq!(format!("{options:?}"), shown("present"));
    let client = format!(
        "{:?}",
        client("http://here").speaking_as("tablet", "secret")
    );
    assert!(client.contains("token: present"), "{client}");
    assert!(!client.contains("secret"), "{client}");
    options.token = None;
    assert_eq!(format!("{options:?}"), shown("absent"));
    let signed_in = SignedIn {
        token: "secret".to_owned(),
        expires_in: 5,
        user: "anna".to_owned(),
        device: "phone".to_owned(),
    };
    let expected = r#"SignedIn { expires_in: 5, user: "anna", device: "phone", .. }"#;
    assert_eq!(format!("{signed_in:?}"), expected);
}
