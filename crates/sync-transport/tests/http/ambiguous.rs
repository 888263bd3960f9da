//! Requests that two parsers could read differently, and clients that open streams only to drop them: each ends its own
//! connection, and nothing of it is taken for a request of somebody else.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Server, in_time};

/// What stands where a parser that was misled would see another request.
const HIDDEN: &str = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";

/// The statuses of all answers to these bytes, and whether the connection was closed.
async fn statuses(server: &Server, bytes: &str) -> Vec<String> {
    let mut socket = server.socket().await;
    socket.say(bytes).await;
    socket.0.shutdown().await.unwrap();
    let answers = socket.all().await;
    let lines = answers.split("HTTP/1.1 ").skip(1);
    lines.map(|answer| answer[..3].to_owned()).collect()
}

#[tokio::test]
async fn a_request_whose_length_is_told_in_two_ways_is_refused_and_hides_no_other() {
    let server = Server::start().await;
    let token = server.token("alice");
    let chunked = "Transfer-Encoding: chunked";
    for (headers, body) in [
        (vec!["Content-Length: 2", "Content-Length: 40"], "{}"),
        (vec!["Content-Length: 2, 40"], "{}"),
        (vec!["Content-Length: +2"], "{}"),
        (vec!["Content-Length: -1"], "{}"),
        (vec!["Content-Length: 0x2"], "{}"),
        (vec!["Content-Length : 2"], "{}"),
        (vec!["Content-Length: 2\r\n 0"], "{}"),
        (vec!["Transfer-Encoding: xchunked"], "0\r\n\r\n"),
        (vec!["Transfer-Encoding: chunked, identity"], "0\r\n\r\n"),
        (vec!["Transfer-Encoding : chunked"], "0\r\n\r\n"),
        (vec![chunked, "Transfer-Encoding: gzip"], "0\r\n\r\n"),
    ] {
        let head = format!(
            "POST /sync/todo HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n{}\r\n\r\n",
            headers.join("\r\n"),
        );
        let told = statuses(&server, &format!("{head}{body}{HIDDEN}")).await;
        assert_eq!(told, ["400"], "{headers:?}");
    }
    let old = "POST /sync/todo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    let mut socket = server.socket().await;
    socket.say(format!("{old}{HIDDEN}")).await;
    let answer = socket.all().await;
    assert!(
        answer.starts_with("HTTP/1.0 400 ") || answer.starts_with("HTTP/1.1 400 "),
        "{answer}"
    );
    assert!(!answer.contains("sync_http"), "{answer}");
}

#[tokio::test]
async fn of_a_length_and_chunks_the_chunks_count_in_either_order() {
    let server = Server::start().await;
    let token = server.token("alice");
    let (length, chunked) = ("Content-Length: 100", "Transfer-Encoding: chunked");
    for headers in [[length, chunked], [chunked, length]] {
        let request = format!(
            "POST /sync/todo HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n{}\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n",
            headers.join("\r\n"),
        );
        let mut socket = server.socket().await;
        socket.say(request).await;
        socket.until("HTTP/1.1 200 OK\r\n").await;
    }
}

/// The beginning of a client's HTTP/2, with empty settings (RFC 9113, 3.4).
const OPENING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// `GET http://x/`, whole, on this stream; and its end by RST_STREAM with CANCEL.
fn opened_and_dropped(stream: u32) -> Vec<u8> {
    let id = stream.to_be_bytes();
    let head = [
        &[0, 0, 6, 1, 5],
        &id[..],
        &[0x82, 0x84, 0x86, 0x41, 1, b'x'],
    ]
    .concat();
    let reset = [&[0, 0, 4, 3, 0], &id[..], &[0, 0, 0, 8]].concat();
    [head, reset].concat()
}

/// CVE-2023-44487.
#[tokio::test]
async fn who_opens_streams_and_drops_them_at_once_is_sent_away() {
    let server = Server::start().await;
    let mut socket = server.socket().await;
    let streams = (0..2000).map(|number| opened_and_dropped(2 * number + 1));
    let bytes = [OPENING.to_vec()]
        .into_iter()
        .chain(streams)
        .collect::<Vec<_>>()
        .concat();
    // Whether all of it could be written is the server's to say.
    let _ = socket.0.write_all(&bytes).await;
    let mut answer = Vec::new();
    let _ = in_time(socket.0.read_to_end(&mut answer)).await;
    // GOAWAY on stream 0, with ENHANCE_YOUR_CALM.
    let told = answer
        .windows(17)
        .any(|frame| frame[3..9] == [7, 0, 0, 0, 0, 0] && frame[13..17] == [0, 0, 0, 0x0b]);
    assert!(told, "{answer:x?}");
    assert_eq!(server.get("/health").await.status(), 200);
}
