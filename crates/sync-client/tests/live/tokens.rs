//! Tokens that are set while a connection stands that was made with another: which refusals are still for the caller.

use sync_client::{Client, Retry, SocketEvent};

use crate::script::{LONG, client_with};
use crate::socket::{next, refusal, take};
use crate::socket_script::Step::{self, Read};
use crate::socket_script::Turn::{Keep, Open};
use crate::socket_script::{auth, close, signed_in};
use crate::stream_script::{Ending, Turn, changes, page};
use crate::{socket_script, stream, stream_script};

/// A client that stays away for hours after every failure.
fn client(address: &str) -> Client {
    let hours = 1000 * LONG;
    let retry = Retry {
        tries: 1,
        first: hours,
        longest: hours,
    };
    client_with(address, Some("first"), retry)
}

fn expired() -> Step {
    close(1008, "the token has expired")
}

fn refused(message: &str) -> (u16, String, String) {
    (401, "token_refused".to_owned(), message.to_owned())
}

#[tokio::test]
async fn a_stream_whose_token_expires_after_a_new_one_was_set_goes_on_in_silence() {
    let turn = |record: &str, until: &str| {
        let expired = "event: auth-expired\ndata: {}\n\n".to_owned();
        let change = changes("tags", &[record], until, Some(until));
        Turn::Stream(vec![change, expired], Ending::Clean)
    };
    let turns = vec![turn("x", "1"), turn("y", "2")];
    let (address, notes) = stream_script::server(turns).await;
    let mut stream = client(&address).stream(&["tags"], "0");
    assert_eq!(
        stream::take(&mut stream, 1).await,
        [page("tags", &["x"], "1")]
    );
    stream.set_token("second");
    assert_eq!(
        stream::take(&mut stream, 1).await,
        [page("tags", &["y"], "2")]
    );
    let tokens = notes.all().into_iter().map(|asked| asked.token);
    let expected = ["Bearer first", "Bearer second"].map(|token| Some(token.to_owned()));
    assert!(tokens.eq(expected));
    // That connection was made with the token that expires now.
    let code = (401, "token_expired".to_owned());
    assert_eq!(stream::refusal(stream::next(&mut stream).await), code);
}

#[tokio::test]
async fn a_socket_whose_token_expires_before_the_server_takes_the_new_one_goes_on_in_silence() {
    let turns = vec![
        Keep(signed_in([expired()])),
        Keep(signed_in(signed_in([Read, expired()]))),
        Keep(signed_in(signed_in([expired()]))),
    ];
    let (address, notes) = socket_script::server(turns).await;
    let mut socket = client(&address).socket();
    assert_eq!(take(&mut socket, 1).await, [SocketEvent::Connected]);
    socket.set_token("second");
    assert_eq!(take(&mut socket, 1).await, [SocketEvent::Connected]);
    socket.set_token("third");
    socket.set_token("fourth");
    assert_eq!(take(&mut socket, 1).await, [SocketEvent::Connected]);
    socket.set_token("fifth");
    let said = refusal(next(&mut socket).await);
    assert_eq!(said, refused("the token has expired"));
    let tokens = ["first", "second", "third", "fourth", "fourth", "fifth"];
    assert_eq!(notes.all(), tokens.map(auth));
}

#[tokio::test]
async fn a_new_token_that_is_refused_is_told_once_it_was_tried_alone() {
    let bad = || close(1008, "another user is signed in here");
    let turns = vec![
        Keep(signed_in([Read, bad()])),
        Open(vec![Read, close(1008, "bad token")]),
    ];
    let (address, notes) = socket_script::server(turns).await;
    let mut socket = client(&address).socket();
    assert_eq!(take(&mut socket, 1).await, [SocketEvent::Connected]);
    socket.set_token("second");
    assert_eq!(refusal(next(&mut socket).await), refused("bad token"));
    assert_eq!(notes.all(), ["first", "second", "second"].map(auth));
}
