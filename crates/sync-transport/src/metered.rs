//! A wire on which a client may say only so much: what WebSocket takes in without telling (fragments, for one) costs time,
//! too.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// So many bytes at once,
const BURST: f64 = 512.0 * 1024.0;
/// and so many more each second: several times what the rate of messages lets a client say of use.
const PER_SECOND: f64 = 64.0 * 1024.0;

/// A wire that breaks for who says too much.
#[derive(Debug)]
pub(crate) struct Metered<S> {
    wire: S,
    room: f64,
    last: Instant,
}

impl<S> Metered<S> {
    pub(crate) fn new(wire: S) -> Self {
        Self {
            wire,
            room: BURST,
            last: Instant::now(),
        }
    }

    /// The wire itself, without limits.
    pub(crate) fn plain(&mut self) -> &mut S {
        &mut self.wire
    }

    /// Whether it broke for that reason.
    pub(crate) fn is_over(error: &io::Error) -> bool {
        error.kind() == io::ErrorKind::QuotaExceeded
    }

    fn count(&mut self, bytes: usize) -> io::Result<()> {
        let now = Instant::now();
        let gained = (now - self.last).as_secs_f64() * PER_SECOND;
        self.last = now;
        self.room = BURST.min(self.room + gained) - bytes as f64;
        if self.room < 0.0 {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        Ok(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.wire).poll_read(context, buffer);
        if let Poll::Ready(Ok(())) = read {
            self.count(buffer.filled().len() - before)?;
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.wire).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::time::{Duration, advance};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_let_through_and_then_as_much_as_time_allows() {
        let mut wire = Metered::new(tokio::io::repeat(0));
        let mut buffer = vec![0; 64 * 1024];
        for _ in 0..8 {
            wire.read_exact(&mut buffer).await.unwrap();
        }
        advance(Duration::from_secs(1)).await;
        wire.read_exact(&mut buffer).await.unwrap();
        let error = wire.read_exact(&mut buffer).await.unwrap_err();
        assert!(Metered::<()>::is_over(&error));
    }
}
