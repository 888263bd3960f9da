//! HTTP/1.1 by hand: the path goes out byte for byte, and what comes back is kept whole.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use super::Fault;

/// How long one exchange may take.
const TIME_LIMIT: Duration = Duration::from_secs(120);

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: u16,
    /// Names in small letters, and values.
    pub(crate) headers: Vec<(String, String)>,
    /// The bytes of the body.
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The value of this header; several are one list.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let values = self
            .headers
            .iter()
            .filter(|(other, _)| other == name)
            .map(|(_, value)| value.as_str());
        let values: Vec<&str> = values.collect();
        if values.is_empty() {
            None
        } else {
            Some(values.join(", "))
        }
    }

    /// Whether its body comes in chunks.
    pub(crate) fn is_chunked(&self) -> bool {
        self.header("transfer-encoding")
            .is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"))
    }
}

/// Sends a request to this address and reads the answer until the connection ends.
pub(crate) fn exchange(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(String, String)],
    body: Option<&[u8]>,
) -> Result<Answer, Fault> {
    let mut request = head(address, method, path, headers);
    request.push_str("connection: close\r\n");
    if let Some(body) = body {
        request.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    request.push_str("\r\n");
    let bytes = talk(address, request.as_bytes(), body.unwrap_or_default());
    let bytes = bytes.map_err(|error| format!("{method} {path}: {error}"))?;
    parse(&bytes, method).map_err(|fault| format!("{method} {path}: {fault}"))
}

/// The first lines of a request; what else its head needs, and the empty line, are the caller's.
pub(crate) fn head(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(String, String)],
) -> String {
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head
}

/// Writes on one thread and reads on another: a server may answer, and close, before it has read all.
fn talk(address: SocketAddr, head: &[u8], body: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(TIME_LIMIT))?;
    stream.set_write_timeout(Some(TIME_LIMIT))?;
    let mut sender = stream.try_clone()?;
    std::thread::scope(|scope| {
        let sending =
            scope.spawn(move || sender.write_all(head).and_then(|()| sender.write_all(body)));
        let mut bytes = Vec::new();
        let read = stream.read_to_end(&mut bytes);
        // Frees the writer of a server that has answered and reads no more; it may be closed already.
        let _ = stream.shutdown(Shutdown::Both);
        let sent = sending
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the writer panicked")));
        match (bytes.is_empty(), sent, read) {
            (true, Err(error), _) | (true, _, Err(error)) => Err(error),
            _ => Ok(bytes),
        }
    })
}

/// The head of the answer at the start of these bytes, and how many of them it has; `None` if there are more to come.
pub(crate) fn answer_head(bytes: &[u8]) -> Result<Option<(Answer, usize)>, Fault> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = String::from_utf8_lossy(&bytes[..end]);
    let mut lines = head.split("\r\n");
    let status_line = lines.next().unwrap_or_default();
    let status = status_line
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| format!("{status_line:?} has no status"))?;
    let pair = |line: &str| {
        line.split_once(':')
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
    };
    let answer = Answer {
        status,
        headers: lines.filter_map(pair).collect(),
        body: Vec::new(),
    };
    Ok(Some((answer, end + 4)))
}

/// The whole answer that these bytes are.
pub(crate) fn parse(bytes: &[u8], method: &str) -> Result<Answer, Fault> {
    let (mut answer, end) = answer_head(bytes)?.ok_or("the connection ended without an answer")?;
    let rest = &bytes[end..];
    if answer.status / 100 == 1 {
        return parse(rest, method);
    }
    if method == "HEAD" || answer.status == 204 || answer.status == 304 {
        if !rest.is_empty() {
            return Err(format!(
                "an answer that has no body has {} bytes of it",
                rest.len()
            ));
        }
    } else if answer.is_chunked() {
        answer.body = unchunked(rest)?;
    } else if let Some(length) = answer.header("content-length")
        && length != rest.len().to_string()
    {
        return Err(format!("the body has {} of {length} bytes", rest.len()));
    } else {
        answer.body = rest.to_vec();
    }
    Ok(answer)
}

fn unchunked(mut rest: &[u8]) -> Result<Vec<u8>, Fault> {
    let mut body = Vec::new();
    loop {
        let (chunk, taken) = chunk(rest)?.ok_or("the last chunk is cut off")?;
        if chunk.is_empty() {
            return Ok(body);
        }
        body.extend_from_slice(chunk);
        rest = &rest[taken..];
    }
}

/// The first chunk of these bytes, and how many of them it takes; `None` if it is not there as a whole. An empty one is the
/// last.
pub(crate) fn chunk(bytes: &[u8]) -> Result<Option<(&[u8], usize)>, Fault> {
    let Some(end) = bytes.windows(2).position(|two| two == b"\r\n") else {
        return Ok(None);
    };
    let size = String::from_utf8_lossy(&bytes[..end]);
    let size = size.split(';').next().unwrap_or_default().trim();
    let size =
        usize::from_str_radix(size, 16).map_err(|_| format!("{size:?} is no size of a chunk"))?;
    let (start, behind) = (end + 2, end + 2 + size);
    if bytes.len() < behind + 2 {
        return Ok(None);
    }
    if &bytes[behind..behind + 2] != b"\r\n" {
        return Err("a chunk has no end".to_owned());
    }
    Ok(Some((&bytes[start..behind], behind + 2)))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn read(answer: &str) -> Result<Answer, Fault> {
        parse(answer.as_bytes(), "GET")
    }

    #[test]
    fn an_answer_is_read_whole() {
        let answer =
            read("HTTP/1.1 200 OK\r\nVary: A\r\nvary: B\r\ncontent-length: 2\r\n\r\nab").unwrap();
        assert_eq!(
            (answer.status, answer.body.as_slice()),
            (200, b"ab".as_slice())
        );
        assert_eq!(answer.header("vary").as_deref(), Some("A, B"));
    }

    #[test]
    fn chunks_are_joined_and_a_provisional_answer_is_passed_over() {
        let answer =
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(
            read(&format!("{answer}2\r\nab\r\n1;x=y\r\nc\r\n0\r\n\r\n"))
                .unwrap()
                .body,
            b"abc"
        );
        assert!(read(&format!("{answer}2\r\nab\r\n")).is_err());
    }

    #[test]
    fn an_answer_that_is_cut_off_is_a_fault() {
        assert!(read("").is_err());
        assert!(read("HTTP/1.1 200 OK\r\n").is_err());
        assert!(read("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nab").is_err());
    }

    #[test]
    fn a_server_that_answers_before_it_has_read_all_is_heard() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = [0; 200];
            let length = stream.read(&mut head).unwrap();
            stream
                .write_all(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n")
                .unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            String::from_utf8_lossy(&head[..length]).into_owned()
        });
        let headers = [("x-client-id".to_owned(), "a".to_owned())];
        let answer = exchange(
            address,
            "POST",
            "//x%2Fy?z",
            &headers,
            Some(&vec![b'x'; 20_000_000]),
        )
        .unwrap();
        assert_eq!(answer.status, 413);
        let head = "POST //x%2Fy?z HTTP/1.1\r\nhost: ".to_owned();
        assert!(server.join().unwrap().starts_with(&head));
    }
}
