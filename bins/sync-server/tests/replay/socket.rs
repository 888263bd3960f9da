//! A WebSocket (RFC 6455) as a client has it.

use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use openssl::base64::encode_block;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};
use tokio_tungstenite::tungstenite::{Error, Message, WebSocket};

use super::connection::{Connection, is_end, is_pause, wait_until};
use super::http::{self, Answer};
use super::{Fault, MOMENT};

/// What a server hashes together with the client's key (RFC 6455, 1.3).
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// An open socket; whoever drops it goes away without a word.
pub(crate) struct Socket(WebSocket<TcpStream>);

/// What a socket said.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// A message.
    Message(String),
    /// It closes.
    Farewell(Farewell),
    /// The connection has ended.
    End,
    /// Nothing until then.
    Nothing,
}

/// How a server closes a socket.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Farewell {
    /// The code, if it says one.
    pub(crate) code: Option<u16>,
    /// For people.
    pub(crate) reason: String,
}

impl Socket {
    /// Opens a socket; there is none if the server refuses.
    pub(crate) fn open(
        address: SocketAddr,
        path: &str,
        headers: &[(String, String)],
    ) -> Result<(Answer, Option<Self>), Fault> {
        let key = key();
        let mut head = http::head(address, "GET", path, headers);
        head.push_str("connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n");
        head.push_str(&format!("sec-websocket-key: {key}\r\n"));
        let (answer, connection) = Connection::open(address, &head)?;
        if answer.status != 101 {
            return Ok((answer, None));
        }
        check_handshake(&answer, &key)?;
        let (stream, bytes) = connection.into_parts();
        let socket = WebSocket::from_partially_read(stream, bytes, Role::Client, None);
        Ok((answer, Some(Self(socket))))
    }

    /// Sends a text frame.
    pub(crate) fn send_text(&mut self, text: String) -> Result<(), Fault> {
        self.send(Message::text(text))
    }

    /// Sends a binary frame.
    pub(crate) fn send_binary(&mut self, bytes: Vec<u8>) -> Result<(), Fault> {
        self.send(Message::binary(bytes))
    }

    /// What comes next, until this time. A ping is answered and passed over.
    pub(crate) fn hear(&mut self, until: Instant) -> Result<Heard, Fault> {
        loop {
            wait_until(self.0.get_ref(), until)?;
            match self.0.read() {
                Ok(Message::Text(text)) => return Ok(Heard::Message(text.to_string())),
                Ok(Message::Close(frame)) => return Ok(Heard::Farewell(frame.into())),
                Ok(Message::Ping(_) | Message::Pong(_)) => {}
                Ok(other) => return Err(format!("a message that is no text: {other:?}")),
                Err(Error::Io(error)) if is_pause(&error) => {
                    if Instant::now() >= until {
                        return Ok(Heard::Nothing);
                    }
                }
                Err(error) if has_ended(&error) => return Ok(Heard::End),
                Err(error) => return Err(format!("the socket: {error}")),
            }
        }
    }

    /// Closes it with this code; the server must do so, too, and end the connection.
    pub(crate) fn close(&mut self, code: u16) -> Result<(), Fault> {
        let frame = CloseFrame {
            code: code.into(),
            reason: "".into(),
        };
        self.0
            .close(Some(frame))
            .map_err(|error| format!("the socket cannot be closed: {error}"))?;
        let until = Instant::now() + MOMENT;
        while matches!(self.hear(until)?, Heard::Message(_)) {}
        self.end()
    }

    /// Waits for the end of a connection of which the server has taken its leave.
    pub(crate) fn end(&mut self) -> Result<(), Fault> {
        match self.hear(Instant::now() + MOMENT)? {
            Heard::End => Ok(()),
            other => Err(format!("expected the end of the connection, got {other:?}")),
        }
    }

    /// A server that closes the socket need not read to the end; what it says instead is heard by whoever listens next.
    fn send(&mut self, message: Message) -> Result<(), Fault> {
        match self.0.send(message) {
            Ok(()) => Ok(()),
            Err(Error::Io(error)) if is_pause(&error) || is_end(&error) => Ok(()),
            Err(error) => Err(format!("the socket takes no message: {error}")),
        }
    }
}

impl From<Option<CloseFrame>> for Farewell {
    fn from(frame: Option<CloseFrame>) -> Self {
        Self {
            code: frame.as_ref().map(|frame| frame.code.into()),
            reason: frame.map_or_else(String::new, |frame| frame.reason.to_string()),
        }
    }
}

fn has_ended(error: &Error) -> bool {
    match error {
        Error::ConnectionClosed
        | Error::AlreadyClosed
        | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => true,
        Error::Io(error) => is_end(error),
        _ => false,
    }
}

fn check_handshake(answer: &Answer, key: &str) -> Result<(), Fault> {
    let is = |name: &str, value: &str| {
        answer
            .header(name)
            .is_some_and(|actual| actual.eq_ignore_ascii_case(value))
    };
    let accepted = answer.header("sec-websocket-accept") == Some(accept(key));
    let asked_for = ["sec-websocket-extensions", "sec-websocket-protocol"]
        .iter()
        .all(|name| answer.header(name).is_none());
    if is("upgrade", "websocket") && is("connection", "upgrade") && accepted && asked_for {
        Ok(())
    } else {
        Err(format!("no handshake of a WebSocket: {:?}", answer.headers))
    }
}

fn key() -> String {
    let mut bytes = [0; 16];
    openssl::rand::rand_bytes(&mut bytes).expect("the system gives random bytes");
    encode_block(&bytes)
}

/// What a server answers to this key.
pub(crate) fn accept(key: &str) -> String {
    encode_block(&openssl::sha::sha1(format!("{key}{GUID}").as_bytes()))
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::thread::JoinHandle;
    use std::time::Duration;

    use super::super::scripted::serves_a_socket;
    use super::*;

    /// A socket, and the server on its other side, which does this.
    fn pair<T: Send + 'static>(
        serve: impl FnOnce(WebSocket<TcpStream>) -> T + Send + 'static,
    ) -> (Socket, JoinHandle<T>) {
        let (address, serving) = serves_a_socket(serve);
        let (_, socket) = Socket::open(address, "/ws", &[]).unwrap();
        (socket.unwrap(), serving)
    }

    fn frame(code: u16, reason: &'static str) -> Option<CloseFrame> {
        Some(CloseFrame {
            code: code.into(),
            reason: reason.into(),
        })
    }

    fn soon() -> Instant {
        Instant::now() + MOMENT
    }

    #[test]
    fn the_key_of_the_standard_gets_the_answer_of_the_standard() {
        assert_eq!(
            accept("dGhlIHNhbXBsZSBub25jZQ=="),
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
    }

    #[test]
    fn messages_go_both_ways_and_a_ping_is_answered() {
        let (mut socket, serving) = pair(|mut server| {
            server.send(Message::Ping(vec![7].into())).unwrap();
            server.send(Message::text("hello")).unwrap();
            [(); 3].map(|()| server.read().unwrap())
        });
        assert_eq!(socket.hear(soon()), Ok(Heard::Message("hello".to_owned())));
        socket.send_text("{}".to_owned()).unwrap();
        socket.send_binary(vec![1]).unwrap();
        assert_eq!(
            serving.join().unwrap(),
            [
                Message::Pong(vec![7].into()),
                Message::text("{}"),
                Message::binary(vec![1]),
            ]
        );
    }

    #[test]
    fn a_socket_without_a_word_is_silent_and_lives() {
        let (mut socket, serving) = pair(|mut server| server.read().unwrap());
        let until = Instant::now() + Duration::from_millis(50);
        assert_eq!(socket.hear(until), Ok(Heard::Nothing));
        assert!(Instant::now() >= until);
        socket.send_text("still there".to_owned()).unwrap();
        assert_eq!(serving.join().unwrap(), Message::text("still there"));
    }

    #[test]
    fn a_server_closes_with_a_code_and_then_the_connection_ends() {
        let (mut socket, serving) = pair(|mut server| {
            server.close(frame(1008, "late")).unwrap();
            while server.read().is_ok() {}
        });
        let farewell = Farewell {
            code: Some(1008),
            reason: "late".to_owned(),
        };
        assert_eq!(socket.hear(soon()), Ok(Heard::Farewell(farewell)));
        assert_eq!(socket.end(), Ok(()));
        serving.join().unwrap();
    }

    #[test]
    fn a_connection_that_ends_without_a_word_is_no_farewell() {
        let (mut socket, serving) = pair(drop);
        serving.join().unwrap();
        assert_eq!(socket.hear(soon()), Ok(Heard::End));
    }

    #[test]
    fn a_client_that_closes_waits_for_the_server_to_do_so() {
        let (mut socket, serving) = pair(|mut server| {
            server.send(Message::text("one more")).unwrap();
            while server.read().is_ok() {}
        });
        assert_eq!(socket.close(1000), Ok(()));
        serving.join().unwrap();
    }

    #[test]
    fn a_server_that_closes_before_it_has_read_all_is_heard() {
        let (mut socket, serving) = pair(|mut server| {
            server.close(frame(1009, "too long")).unwrap();
            server.get_mut().read_exact(&mut [0; 100]).unwrap();
        });
        socket.send_text("x".repeat(20_000_000)).unwrap();
        let farewell = Farewell {
            code: Some(1009),
            reason: "too long".to_owned(),
        };
        assert_eq!(socket.hear(soon()), Ok(Heard::Farewell(farewell)));
        serving.join().unwrap();
    }

    #[test]
    fn a_handshake_with_another_key_is_a_fault() {
        let answer = |accept: &str| Answer {
            status: 101,
            headers: [
                ("upgrade", "websocket"),
                ("connection", "upgrade"),
                ("sec-websocket-accept", accept),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec(),
            body: Vec::new(),
        };
        let key = "dGhlIHNhbXBsZSBub25jZQ==";
        assert!(check_handshake(&answer("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), key).is_ok());
        assert!(check_handshake(&answer("x"), key).is_err());
    }
}
