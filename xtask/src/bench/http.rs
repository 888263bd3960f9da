//! A connection that speaks as much HTTP/1.1 as a load needs: it shares the machine with what it measures.

use std::error::Error;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How much of a refusal is told.
const TOLD: usize = 300;
/// What is read at a time, at least.
const CHUNK: usize = 256 * 1024;

/// A connection for one user: opened when it is needed first, and kept open.
pub(crate) struct Connection {
    server: SocketAddr,
    stream: Option<TcpStream>,
    token: String,
    request: Vec<u8>,
    answer: Vec<u8>,
}

impl Connection {
    /// To the server, with a token for all requests.
    pub(crate) fn new(server: SocketAddr, token: String) -> Self {
        Self {
            server,
            stream: None,
            token,
            request: Vec::new(),
            answer: Vec::new(),
        }
    }

    /// Closes it until it is needed again: the server would do so with one that is idle for long.
    pub(crate) fn rest(&mut self) {
        self.stream = None;
    }

    /// The body of the answer, which must be a 200.
    pub(crate) fn get(&mut self, path: &str) -> Result<&str, Box<dyn Error>> {
        self.ask("GET", path, b"")
    }

    /// The body of the answer, which must be a 200.
    pub(crate) fn post(&mut self, path: &str, body: &[u8]) -> Result<&str, Box<dyn Error>> {
        self.ask("POST", path, body)
    }

    fn ask(&mut self, method: &str, path: &str, body: &[u8]) -> Result<&str, Box<dyn Error>> {
        self.request.clear();
        write!(
            self.request,
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\ncontent-length: {}\r\n\r\n",
            self.token,
            body.len()
        )?;
        self.request.extend_from_slice(body);
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => connect(self.server)?,
        };
        stream.write_all(&self.request)?;
        let (head, length) = self.read_head(&mut stream)?;
        let whole = head + length;
        while self.answer.len() < whole {
            self.read_some(&mut stream)?;
        }
        self.stream = Some(stream);
        let answer = std::str::from_utf8(&self.answer[..whole])?;
        let (head, body) = answer.split_at(head);
        if !head.starts_with("HTTP/1.1 200 ") {
            let status = head.lines().next().unwrap_or_default();
            let told: String = body.chars().take(TOLD).collect();
            return Err(format!("{method} {path}: {status}: {told}").into());
        }
        Ok(body)
    }

    /// How long the head is, and the body behind it.
    fn read_head(&mut self, stream: &mut TcpStream) -> Result<(usize, usize), Box<dyn Error>> {
        self.answer.clear();
        loop {
            self.read_some(stream)?;
            let end = self.answer.windows(4).position(|four| four == b"\r\n\r\n");
            if let Some(end) = end {
                let head = std::str::from_utf8(&self.answer[..end])?;
                let mut fields = head.lines().filter_map(|line| line.split_once(':'));
                let length = fields.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
                let (_, length) = length.ok_or("an answer without its length")?;
                return Ok((end + 4, length.trim().parse()?));
            }
        }
    }

    fn read_some(&mut self, stream: &mut TcpStream) -> Result<(), Box<dyn Error>> {
        let filled = self.answer.len();
        self.answer.resize(filled + CHUNK, 0);
        let read = stream.read(&mut self.answer[filled..])?;
        self.answer.truncate(filled + read);
        if read == 0 {
            return Err("the server has closed a connection".into());
        }
        Ok(())
    }
}

fn connect(server: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(server)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}
