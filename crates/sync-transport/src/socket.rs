//! A socket that does not wait forever where nobody else keeps the time.
//!
//! - For the first bytes: until it is known which HTTP is spoken, the server behind it has no timer running.
//! - For a client that does not take its answer: a pending write that moves too little is an error.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use crate::Limits;
use crate::activity::{Activity, LEAST_PROGRESS};

/// What an HTTP/2 connection begins with (RFC 9113, 3.4): as long as all bytes are of this, it may still become either.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A stream with limits.
pub(crate) struct Socket<S> {
    stream: S,
    opening: Option<Opening>,
    stall: Stall,
    activity: Activity,
}

/// The time until the first bytes are there.
struct Opening {
    deadline: Pin<Box<Sleep>>,
    seen: usize,
}

impl Opening {
    /// Whether these bytes settle which HTTP it is.
    fn is_over(&mut self, bytes: &[u8]) -> bool {
        let rest = &PREFACE[self.seen..];
        self.seen += bytes.len().min(rest.len());
        bytes.is_empty() || bytes.len() >= rest.len() || !rest.starts_with(bytes)
    }
}

/// The time that a pending write has to move by [`LEAST_PROGRESS`].
struct Stall {
    limit: Duration,
    deadline: Option<Pin<Box<Sleep>>>,
    moved: usize,
}

impl Stall {
    /// A write was taken, by so many bytes.
    fn moved(&mut self, bytes: usize) {
        self.moved += bytes;
        if self.moved >= LEAST_PROGRESS {
            self.over();
        }
    }

    /// Nothing waits any more.
    fn over(&mut self) {
        self.deadline = None;
        self.moved = 0;
    }

    /// A write is pending: is that still all right?
    fn poll_wait(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        let limit = self.limit;
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep(limit)));
        ready!(deadline.as_mut().poll(context));
        Poll::Ready(io::Error::new(
            io::ErrorKind::TimedOut,
            "the client does not take its answer",
        ))
    }

    fn judge(
        &mut self,
        written: Poll<io::Result<usize>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(Ok(bytes)) => self.moved(bytes),
            Poll::Pending => return self.poll_wait(context).map(Err),
            Poll::Ready(Err(_)) => {}
        }
        written
    }
}

impl<S> Socket<S> {
    pub(crate) fn new(stream: S, limits: &Limits, activity: Activity) -> Self {
        let deadline = Box::pin(tokio::time::sleep_until(Instant::now() + limits.head));
        Self {
            stream,
            opening: Some(Opening { deadline, seen: 0 }),
            stall: Stall {
                limit: limits.stall,
                deadline: None,
                moved: 0,
            },
            activity,
        }
    }

    /// What comes of a write: what was written is activity, and what waits may have waited too long.
    fn judge(
        &mut self,
        written: Poll<io::Result<usize>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = written {
            self.activity.wrote(bytes);
        }
        self.stall.judge(written, context)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Socket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        let Some(opening) = &mut self.opening else {
            return read;
        };
        if read.is_pending() {
            ready!(opening.deadline.as_mut().poll(context));
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the client said nothing",
            )));
        }
        if opening.is_over(&buffer.filled()[before..]) {
            self.opening = None;
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Socket<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.judge(written, context)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Whoever flushes has written all there was.
        self.stall.over();
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.judge(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
