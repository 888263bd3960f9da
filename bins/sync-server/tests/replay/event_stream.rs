//! A stream of Server-Sent Events, read as strictly as existing clients need it, who parse by hand.

use std::net::SocketAddr;
use std::time::Instant;

use super::connection::{Connection, Outcome};
use super::http::{self, Answer};
use super::raw::shortened;
use super::{Fault, MOMENT};

/// An open stream; whoever drops it goes away.
pub(crate) struct EventStream {
    connection: Connection,
    chunked: bool,
    /// What came, without the frames of its chunks.
    text: Vec<u8>,
    over: bool,
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    /// What stands behind `event: `.
    pub(crate) name: String,
    /// What stands behind `data: `, in its one line.
    pub(crate) data: String,
    /// What stands behind `id: `.
    pub(crate) id: Option<String>,
}

/// What stands between two empty lines.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Block {
    /// Lines that clients pass over.
    Comment,
    /// An event.
    Event(Event),
}

impl EventStream {
    /// Opens a stream; there is none if the server refuses. A comment must come at once.
    pub(crate) fn open(
        address: SocketAddr,
        path: &str,
        headers: &[(String, String)],
    ) -> Result<(Answer, Option<Self>), Fault> {
        let head = http::head(address, "GET", path, headers);
        let (answer, connection) = Connection::open(address, &head)?;
        if answer.status != 200 {
            return Ok((answer, None));
        }
        let mut stream = Self {
            connection,
            chunked: answer.is_chunked(),
            text: Vec::new(),
            over: false,
        };
        stream.unpack()?;
        match stream.block(Instant::now() + MOMENT)? {
            Some(Block::Comment) => Ok((answer, Some(stream))),
            other => Err(format!(
                "expected a comment at the start of the stream, got {other:?}"
            )),
        }
    }

    /// The next event; `None` if there is none until then.
    pub(crate) fn event(&mut self, until: Instant) -> Result<Option<Event>, Fault> {
        loop {
            match self.block(until)? {
                Some(Block::Event(event)) => return Ok(Some(event)),
                Some(Block::Comment) => {}
                None => return Ok(None),
            }
        }
    }

    fn block(&mut self, until: Instant) -> Result<Option<Block>, Fault> {
        loop {
            if let Some(end) = self.text.windows(2).position(|two| two == b"\n\n") {
                let block: Vec<u8> = self.text.drain(..end + 2).collect();
                return block_of(&block[..end]).map(Some);
            }
            if self.over {
                let rest = shortened(&String::from_utf8_lossy(&self.text));
                return Err(format!("the stream ended, after {rest:?}"));
            }
            match self.connection.read(until)? {
                Outcome::More => self.unpack()?,
                Outcome::Nothing => return Ok(None),
                Outcome::End => self.over = true,
            }
        }
    }

    fn unpack(&mut self) -> Result<(), Fault> {
        let bytes = &mut self.connection.bytes;
        if !self.chunked {
            self.text.append(bytes);
            return Ok(());
        }
        while let Some((chunk, taken)) = http::chunk(bytes)? {
            self.over = chunk.is_empty();
            self.text.extend_from_slice(chunk);
            bytes.drain(..taken);
        }
        Ok(())
    }
}

/// Reads the lines of a block, the last without its end.
pub(crate) fn block_of(block: &[u8]) -> Result<Block, Fault> {
    let text = std::str::from_utf8(block).map_err(|error| format!("in a stream: {error}"))?;
    let fault = |what: &str| Err(format!("{what}: {:?}", shortened(text)));
    if text.contains('\r') {
        return fault("an event with a carriage return");
    }
    let lines: Vec<&str> = text.split('\n').collect();
    if lines.iter().all(|line| line.starts_with(':')) {
        return Ok(Block::Comment);
    }
    let value = |place: usize, name: &str| {
        let line: &&str = lines.get(place)?;
        line.strip_prefix(name)
            .filter(|value| !value.is_empty() && value.trim() == *value)
    };
    let (name, data, id) = (
        value(0, "event: "),
        value(1, "data: "),
        value(2, "id: ").map(str::to_owned),
    );
    match (name, data) {
        (Some(name), Some(data)) if lines.len() == 2 + usize::from(id.is_some()) => {
            Ok(Block::Event(Event {
                name: name.to_owned(),
                data: data.to_owned(),
                id,
            }))
        }
        _ => fault("not the lines of an event, and these alone"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::scripted::says;
    use super::*;

    const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n";

    /// Opens a stream of a server that says this and then ends it.
    fn opened(text: String) -> Result<EventStream, Fault> {
        let (address, serving) = says(vec![text]);
        let opened = EventStream::open(address, "/", &[]);
        serving.join().unwrap();
        opened.map(|(_, stream)| stream.expect("200"))
    }

    fn event(name: &str, data: &str, id: Option<&str>) -> Event {
        Event {
            name: name.to_owned(),
            data: data.to_owned(),
            id: id.map(str::to_owned),
        }
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(200)
    }

    #[test]
    fn events_come_in_their_order_and_comments_are_passed_over() {
        let mut stream = opened(format!(
            "{HEAD}\r\n: hello\n\nevent: changes\ndata: {{}}\n\n:\n:\n\nevent: changes\ndata: [1]\nid: 7\n\n"
        ))
        .unwrap();
        assert_eq!(stream.event(soon()), Ok(Some(event("changes", "{}", None))));
        assert_eq!(
            stream.event(soon()),
            Ok(Some(event("changes", "[1]", Some("7"))))
        );
        assert_eq!(
            stream.event(soon()),
            Err(r#"the stream ended, after """#.to_owned())
        );
    }

    #[test]
    fn chunks_may_end_anywhere() {
        let mut stream = opened(format!(
            "{HEAD}transfer-encoding: chunked\r\n\r\n3\r\n:\n\n\r\na\r\nevent: x\nd\r\n8\r\nata: {{}}\n\r\n1\r\n\n\r\n0\r\n\r\n"
        ))
        .unwrap();
        assert_eq!(stream.event(soon()), Ok(Some(event("x", "{}", None))));
        assert!(stream.event(soon()).is_err());
    }

    #[test]
    fn a_stream_starts_with_a_comment() {
        let fault = opened(format!("{HEAD}\r\nevent: x\ndata: {{}}\n\n")).err();
        assert!(fault.unwrap().starts_with("expected a comment"));
    }

    #[test]
    fn a_refusal_opens_no_stream() {
        let refusal = "HTTP/1.1 402 Payment Required\r\ncontent-length: 2\r\n\r\n{}";
        let (address, serving) = says(vec![refusal.to_owned()]);
        let (answer, stream) = EventStream::open(address, "/", &[]).unwrap();
        serving.join().unwrap();
        assert_eq!((answer.status, answer.body), (402, b"{}".to_vec()));
        assert!(stream.is_none());
    }

    #[test]
    fn the_lines_of_an_event_are_these_and_no_others() {
        for text in [
            "",
            "event: x",
            "data: {}",
            "data: {}\nevent: x",
            "event:x\ndata: {}",
            "event: x\ndata:{}",
            "event: x\ndata:  {}",
            "event: x \ndata: {}",
            "event: \ndata: {}",
            "event: x\ndata: ",
            "event: x\ndata: {\ndata: }",
            "event: x\r\ndata: {}",
            "event: x\nid: 7\ndata: {}",
            "event: x\ndata: {}\nid:7",
            "event: x\ndata: {}\nid: 7\nid: 7",
            "event: x\ndata: {}\nretry: 7",
            ": comment\nevent: x\ndata: {}",
            "\nevent: x\ndata: {}",
        ] {
            assert!(block_of(text.as_bytes()).is_err(), "{text:?}");
        }
        assert!(block_of(b"event: x\ndata: \xff").is_err());
        assert_eq!(block_of(b":\n: more"), Ok(Block::Comment));
    }
}
