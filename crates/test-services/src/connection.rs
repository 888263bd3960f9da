//! One connection: requests in, replies out, until either side has enough.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::mood::{Mood, Service};
use crate::request::Request;
use crate::stage::{Reply, Stage};

/// The longest head of a request that is read.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// What [`Mood::Endless`] sends again and again: a chunk of white space, which JSON may begin with.
const ENDLESS_CHUNK_BYTES: usize = 16 * 1024;

/// How a reply ends.
enum Ending {
    /// The connection can carry another request.
    Goes,
    /// It is closed.
    Closes,
}

/// Serves requests one after the other; an error is the end of the connection, and of interest to nobody.
pub(crate) async fn serve(stream: TcpStream, stage: Arc<Stage>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    while let Some(request) = read(&mut stream).await? {
        let ending = match stage.take(request) {
            Reply::Answer { status, body } => answer(&mut stream, status, "", &body).await?,
            Reply::Later {
                mood,
                body,
                service,
                released,
            } => {
                wait(&stage, &mood, service, released).await;
                act(&mut stream, mood, &body).await?
            }
        };
        if matches!(ending, Ending::Closes) {
            break;
        }
    }
    stream.shutdown().await
}

/// The next request; `None` at the end of the connection, or if what comes is none.
async fn read(stream: &mut BufReader<TcpStream>) -> io::Result<Option<Request>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= MAX_HEAD_BYTES {
            return Ok(None);
        }
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    head.truncate(head.len() - 4);
    Ok(String::from_utf8(head)
        .ok()
        .and_then(|head| Request::parse(&head)))
}

async fn wait(stage: &Stage, mood: &Mood, service: Service, released: u64) {
    match mood {
        Mood::Slow(duration) => tokio::time::sleep(*duration).await,
        Mood::Hold => stage.released(service, released).await,
        _ => {}
    }
}

async fn act(stream: &mut BufReader<TcpStream>, mood: Mood, right: &str) -> io::Result<Ending> {
    match mood {
        Mood::Well | Mood::Slow(_) | Mood::Hold | Mood::Flapping | Mood::AnotherUser => {
            answer(stream, 200, "", right).await
        }
        Mood::Down => Ok(Ending::Closes),
        Mood::Status(status) => answer(stream, status, "", right).await,
        Mood::Redirect(to) => {
            let location = format!("location: {to}\r\n");
            answer(stream, 302, &location, right).await
        }
        Mood::Body(body) => answer(stream, 200, "", &body).await,
        Mood::WrongJson => answer(stream, 200, "", r#"{"active":"yes","memberships":3}"#).await,
        Mood::Padded(bytes) => {
            let padding = " ".repeat(bytes.saturating_sub(right.len()));
            answer(stream, 200, "", &(right.to_owned() + &padding)).await
        }
        Mood::Endless => endless(stream).await,
        Mood::Cut => cut(stream, right).await,
    }
}

async fn answer(
    stream: &mut BufReader<TcpStream>,
    status: u16,
    further: &str,
    body: &str,
) -> io::Result<Ending> {
    let head = head(status, further, body.len());
    stream.write_all((head + body).as_bytes()).await?;
    Ok(Ending::Goes)
}

async fn cut(stream: &mut BufReader<TcpStream>, right: &str) -> io::Result<Ending> {
    let half = &right.as_bytes()[..right.len() / 2];
    stream
        .write_all(head(200, "", right.len()).as_bytes())
        .await?;
    stream.write_all(half).await?;
    Ok(Ending::Closes)
}

async fn endless(stream: &mut BufReader<TcpStream>) -> io::Result<Ending> {
    let head = "HTTP/1.1 200 Endless\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await?;
    let white = " ".repeat(ENDLESS_CHUNK_BYTES);
    let chunk = format!("{ENDLESS_CHUNK_BYTES:x}\r\n{white}\r\n");
    loop {
        stream.write_all(chunk.as_bytes()).await?;
        // A reader on the same thread must have its turn, also while the system takes all that is sent.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn head(status: u16, further: &str, length: usize) -> String {
    format!(
        "HTTP/1.1 {status} Played\r\ncontent-type: application/json\r\n{further}content-length: {length}\r\n\r\n"
    )
}
