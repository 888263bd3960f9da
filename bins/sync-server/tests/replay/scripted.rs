//! Servers for the tests of the replay itself: each serves one connection, as it is told to.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread::JoinHandle;

use tokio_tungstenite::tungstenite::WebSocket;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::socket;

/// Says these texts, each as a write of its own, and then ends the connection.
pub(crate) fn says(texts: Vec<String>) -> (SocketAddr, JoinHandle<()>) {
    serves(move |mut stream, _| {
        for text in texts {
            // Whoever has heard enough may be gone.
            let _ = stream.write_all(text.as_bytes());
        }
        let _ = stream.shutdown(Shutdown::Write);
    })
}

/// Takes a socket in and does this with it.
pub(crate) fn serves_a_socket<T: Send + 'static>(
    serve: impl FnOnce(WebSocket<TcpStream>) -> T + Send + 'static,
) -> (SocketAddr, JoinHandle<T>) {
    serves(move |mut stream, head| {
        let key = head.split("sec-websocket-key: ").nth(1).unwrap();
        let accept = socket::accept(key.trim());
        let answer = "HTTP/1.1 101 Switching\r\nupgrade: WebSocket\r\nconnection: Upgrade\r\n";
        let answer = format!("{answer}sec-websocket-accept: {accept}\r\n\r\n");
        stream.write_all(answer.as_bytes()).unwrap();
        serve(WebSocket::from_raw_socket(stream, Role::Server, None))
    })
}

/// Does this with the first connection, behind the head of its request.
fn serves<T: Send + 'static>(
    serve: impl FnOnce(TcpStream, String) -> T + Send + 'static,
) -> (SocketAddr, JoinHandle<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serving = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(char::from(byte[0]));
        }
        serve(stream, head)
    });
    (address, serving)
}
