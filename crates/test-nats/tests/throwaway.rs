//! A throwaway server answers, comes back after its death, and leaves nothing behind.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Command;

use test_nats::{Error, Server};

/// The server's first line, and its answer to a client that says no more than these lines.
fn answers(server: &Server, lines: &str) -> (String, String) {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut hello = String::new();
    reader.read_line(&mut hello).unwrap();
    stream.write_all(lines.as_bytes()).unwrap();
    let mut answer = [0; 6];
    reader.read_exact(&mut answer).unwrap();
    (hello, String::from_utf8_lossy(&answer).into_owned())
}

fn runs(process: u32) -> bool {
    Command::new("sh")
        .args(["-c", r#"kill -0 "$1" 2>/dev/null"#, "sh"])
        .arg(process.to_string())
        .status()
        .unwrap()
        .success()
}

const GREETING: &str = "CONNECT {\"verbose\":false}\r\nPING\r\n";

#[test]
fn a_started_server_speaks_nats() {
    let server = Server::start(&[]).unwrap();
    let (hello, answer) = answers(&server, GREETING);
    assert!(hello.starts_with("INFO {"), "{hello}");
    assert_eq!(answer, "PONG\r\n");
    assert_eq!(server.url(), format!("nats://{}", server.address()));
}

#[test]
fn a_killed_server_comes_back_on_its_port() {
    let mut server = Server::start(&[]).unwrap();
    let (address, first) = (server.address(), server.process_id().unwrap());
    server.kill().unwrap();
    assert!(!runs(first));
    assert_eq!(server.process_id(), None);
    assert!(TcpStream::connect(&address).is_err());
    server.restart().unwrap();
    assert_eq!(server.address(), address);
    assert_ne!(server.process_id(), Some(first));
    assert_eq!(answers(&server, GREETING).1, "PONG\r\n");
}

#[test]
fn a_reserved_server_does_not_run_until_it_is_started() {
    let mut server = Server::reserve(&[]).unwrap();
    assert!(TcpStream::connect(server.address()).is_err());
    server.restart().unwrap();
    assert_eq!(answers(&server, GREETING).1, "PONG\r\n");
}

#[test]
fn arguments_reach_the_server() {
    let server = Server::start(&["--user", "somebody", "--pass", "secret"]).unwrap();
    assert_eq!(answers(&server, GREETING).1, "-ERR '");
}

#[test]
fn a_server_that_ends_at_once_tells_why() {
    let error = Server::start(&["--tls", "--tlscert", "/nowhere"]).unwrap_err();
    assert!(
        matches!(&error, Error::Exited { log } if log.contains("TLS")),
        "{error}"
    );
}

#[test]
fn a_server_let_go_is_gone() {
    let server = Server::start(&[]).unwrap();
    let (process, address) = (server.process_id().unwrap(), server.address());
    drop(server);
    assert!(!runs(process));
    assert!(TcpStream::connect(address).is_err());
}
