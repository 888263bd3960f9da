//! Whether a connection is of use: for how long no request has been worked on and no answer has been taken.
//!
//! A stream that is open counts while the server has it to do: from its head to its answer's head, and while the answer's
//! next part is not there yet. While an answer is there to be taken the client has to take it: opening a stream and then
//! not reading keeps no seat. That it is taken is seen on the socket, for an answer may be one part: when enough has been
//! written, more than HTTP/2 says of itself (the answers to PINGs, for one) to a client that asks for nothing.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Instant, sleep_until};

/// How many bytes must be written to count: no less than what an answer that waits must move by.
pub(crate) const LEAST_PROGRESS: usize = 16 * 1024;

/// What happens on one connection. Clones watch the same one.
#[derive(Clone)]
pub(crate) struct Activity(Arc<Mutex<Seen>>);

struct Seen {
    /// How many streams the server works for.
    busy: usize,
    /// When there was something last.
    last: Instant,
    /// How many bytes were written that have not counted yet.
    written: usize,
}

impl Activity {
    /// Of a connection that begins now.
    pub(crate) fn new() -> Self {
        let last = Instant::now();
        Self(Arc::new(Mutex::new(Seen {
            busy: 0,
            last,
            written: 0,
        })))
    }

    /// Answers a request; its stream counts.
    pub(crate) async fn during<E>(
        self,
        answer: impl Future<Output = Result<axum::response::Response, E>>,
    ) -> Result<axum::response::Response, E> {
        let busy = self.busy();
        let response = answer.await?;
        drop(busy);
        let activity = self;
        Ok(response.map(|body| {
            Body::new(Watched {
                body,
                activity,
                busy: None,
            })
        }))
    }

    /// Until nothing has happened for so long.
    pub(crate) async fn quiet(&self, for_so_long: Duration) {
        loop {
            let quiet_at = {
                let seen = self.seen();
                let since = if seen.busy > 0 {
                    Instant::now()
                } else {
                    seen.last
                };
                since + for_so_long
            };
            if quiet_at <= Instant::now() {
                return;
            }
            sleep_until(quiet_at).await;
        }
    }

    /// So many bytes went out to the client.
    pub(crate) fn wrote(&self, bytes: usize) {
        let mut seen = self.seen();
        seen.written += bytes;
        if seen.written >= LEAST_PROGRESS {
            seen.written = 0;
            seen.last = Instant::now();
        }
    }

    fn busy(&self) -> Busy {
        self.seen().busy += 1;
        Busy(self.clone())
    }

    fn happened(&self) {
        self.seen().last = Instant::now();
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream that the server works for.
struct Busy(Activity);

impl Drop for Busy {
    fn drop(&mut self) {
        let mut seen = self.0.seen();
        seen.busy -= 1;
        seen.last = Instant::now();
    }
}

/// An answer's body. It is asked for a part when the client has taken the one before.
struct Watched {
    body: Body,
    activity: Activity,
    /// While the next part was asked for and is not there.
    busy: Option<Busy>,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if polled.is_pending() {
            if self.busy.is_none() {
                self.busy = Some(self.activity.busy());
            }
        } else {
            self.busy = None;
            self.activity.happened();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
