//! A connection that stays open: it reads with a time limit, and keeps what has come and nobody has taken yet.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::http::{self, Answer};
use super::{Fault, MOMENT};

/// The shortest wait that a socket knows; what has come already is read however late it is.
const LEAST: Duration = Duration::from_millis(1);

/// A connection to the server.
pub(crate) struct Connection {
    stream: TcpStream,
    /// What has come and is not taken yet.
    pub(crate) bytes: Vec<u8>,
}

/// What an attempt to read came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// There are more bytes.
    More,
    /// Nothing came until then.
    Nothing,
    /// Nothing comes any more.
    End,
}

impl Connection {
    /// Sends the head of a request, without the empty line at its end, over a connection of its own, and reads the answer:
    /// its head alone if what follows goes on and on, a stream of events or the frames of a socket.
    pub(crate) fn open(address: SocketAddr, head: &str) -> Result<(Answer, Self), Fault> {
        let told = |error: std::io::Error| format!("it does not open: {error}");
        let stream = TcpStream::connect(address).map_err(told)?;
        stream.set_nodelay(true).map_err(told)?;
        stream.set_write_timeout(Some(MOMENT)).map_err(told)?;
        let mut connection = Self {
            stream,
            bytes: Vec::new(),
        };
        connection
            .stream
            .write_all(format!("{head}\r\n").as_bytes())
            .map_err(told)?;
        let answer = connection.answer()?;
        Ok((answer, connection))
    }

    /// Reads what comes next, until this time.
    pub(crate) fn read(&mut self, until: Instant) -> Result<Outcome, Fault> {
        let mut some = [0; 64 * 1024];
        loop {
            wait_until(&self.stream, until)?;
            match self.stream.read(&mut some) {
                Ok(0) => return Ok(Outcome::End),
                Ok(length) => {
                    self.bytes.extend_from_slice(&some[..length]);
                    return Ok(Outcome::More);
                }
                Err(error) if is_pause(&error) && Instant::now() < until => {}
                Err(error) if is_pause(&error) => return Ok(Outcome::Nothing),
                Err(error) if is_end(&error) => return Ok(Outcome::End),
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    /// The connection itself, and what is not taken yet.
    pub(crate) fn into_parts(self) -> (TcpStream, Vec<u8>) {
        (self.stream, self.bytes)
    }

    fn answer(&mut self) -> Result<Answer, Fault> {
        let until = Instant::now() + MOMENT;
        loop {
            if let Some(answer) = self.take_answer()? {
                return Ok(answer);
            }
            match self.read(until)? {
                Outcome::More => {}
                Outcome::Nothing => return Err(format!("no answer within {MOMENT:?}")),
                Outcome::End => return http::parse(&std::mem::take(&mut self.bytes), "GET"),
            }
        }
    }

    fn take_answer(&mut self) -> Result<Option<Answer>, Fault> {
        let Some((answer, end)) = http::answer_head(&self.bytes)? else {
            return Ok(None);
        };
        let content_type = answer.header("content-type").unwrap_or_default();
        if answer.status == 101 || content_type.starts_with("text/event-stream") {
            self.bytes.drain(..end);
            return Ok(Some(answer));
        }
        // What cannot be read is not there as a whole yet.
        Ok(http::parse(&self.bytes, "GET").ok())
    }
}

/// Lets the next read wait until this time and no longer.
pub(crate) fn wait_until(stream: &TcpStream, until: Instant) -> Result<(), Fault> {
    let left = until.saturating_duration_since(Instant::now()).max(LEAST);
    stream
        .set_read_timeout(Some(left))
        .map_err(|error| error.to_string())
}

/// Whether a read ended since its time was over.
pub(crate) fn is_pause(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}

/// Whether the other side has gone.
pub(crate) fn is_end(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe
    )
}

#[cfg(test)]
mod tests {
    use super::super::scripted;
    use super::*;

    fn says(texts: &[&str]) -> Result<(Answer, Connection), Fault> {
        let texts = texts.iter().map(|text| (*text).to_owned());
        let (address, serving) = scripted::says(texts.collect());
        let opened = Connection::open(address, "GET / HTTP/1.1\r\n");
        serving.join().unwrap();
        opened
    }

    #[test]
    fn the_head_of_a_stream_is_an_answer_and_what_follows_stays() {
        let (answer, mut connection) = says(&[
            "HTTP/1.1 200 OK\r\ncontent-ty",
            "pe: text/event-stream\r\n\r\n: a",
        ])
        .unwrap();
        assert_eq!((answer.status, answer.body.len()), (200, 0));
        let until = Instant::now() + MOMENT;
        while connection.read(until).unwrap() == Outcome::More {}
        assert_eq!(connection.bytes, b": a");
    }

    #[test]
    fn a_refusal_is_read_with_its_body() {
        let (answer, _) = says(&[
            "HTTP/1.1 401 Unauthorized\r\ncontent-length: 4\r\n\r\n",
            "no",
            "ne",
        ])
        .unwrap();
        assert_eq!((answer.status, answer.body), (401, b"none".to_vec()));
    }

    #[test]
    fn an_answer_that_is_cut_off_is_a_fault() {
        let fault = says(&["HTTP/1.1 401 Unauthorized\r\ncontent-length: 4\r\n\r\nno"]).err();
        assert_eq!(fault.as_deref(), Some("the body has 2 of 4 bytes"));
    }
}
