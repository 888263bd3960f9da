//! Bodies of requests: read whole, unpacked, bounded at both ends of the unpacking, and understood.
//!
//! ```text
//! socket -> at most 10 MiB as sent, within the time limit -> gzip or zstd -> at most 10 MiB unpacked -> parsed
//! ```
//!
//! What takes longer than a request may keep others from being served is done on a thread of its own.

use std::panic::resume_unwind;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_LENGTH, EXPECT};
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Limited};
use sync_protocol::MAX_BODY_BYTES;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::budget::Held;
use crate::error::Refusal;
use crate::service::Shared;
use crate::unpack::Coding;

/// How much of a refused body is read and thrown away, so that the client gets to read the refusal: most send all of
/// their body before they look, and a connection closed in the middle of it loses the answer.
const DRAIN_BYTES: usize = 4 * MAX_BODY_BYTES;
/// How long that may take.
const DRAIN_TIME: Duration = Duration::from_secs(5);
/// What is not packed and not longer is parsed where it is: that takes less than a millisecond.
const INLINE_BYTES: usize = 64 * 1024;

/// What a body says, if it is within the bounds and arrives in time; and what it holds of the memory for bodies, which the
/// caller keeps for as long as it keeps what was said.
///
/// # Errors
///
/// [`Refusal::Coding`], [`Refusal::TooLarge`], [`Refusal::SlowBody`], [`Refusal::Busy`] or [`Refusal::BrokenBody`];
/// else what `parse` says.
pub(crate) async fn read<T: Send + 'static>(
    service: &Shared,
    headers: &HeaderMap,
    mut body: Body,
    parse: fn(&[u8]) -> Result<T, Refusal>,
) -> Result<(T, Held), Refusal> {
    let held = service.budget.nothing();
    let taken = take_in(headers, &mut body, service.limits.body, held).await;
    if matches!(
        taken,
        Err(Refusal::Coding | Refusal::TooLarge | Refusal::Busy)
    ) {
        drain(headers, body).await;
    }
    let taken = taken?;
    if taken.coding == Coding::Plain && taken.packed.len() <= INLINE_BYTES {
        return Ok((parse(&taken.packed)?, taken.held));
    }
    let turn = service.budget.turn().await;
    let work = move || {
        // The work goes on when nobody waits for it any more; it keeps its turn and its memory until it is done.
        let _turn = turn;
        taken.understand(parse)
    };
    match spawn_blocking(work).await {
        Ok(understood) => understood,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            Err(error) => Err(Refusal::Broken(error.to_string())),
        },
    }
}

/// Reads what is left of a body that nobody wants, within reason. A client that waits to be told to go on has not sent it.
pub(crate) async fn drain(headers: &HeaderMap, body: Body) {
    if headers.contains_key(EXPECT) {
        return;
    }
    let mut rest = Limited::new(body, DRAIN_BYTES);
    let drained = async { while let Some(Ok(_)) = rest.frame().await {} };
    // Whether it worked does not matter: the answer is the same.
    let _ = timeout(DRAIN_TIME, drained).await;
}

/// A body as it was sent.
struct Taken {
    coding: Coding,
    packed: Bytes,
    held: Held,
}

impl Taken {
    fn understand<T>(
        mut self,
        parse: fn(&[u8]) -> Result<T, Refusal>,
    ) -> Result<(T, Held), Refusal> {
        let unpacked = self.coding.unpack(self.packed)?;
        self.held.reach_now(unpacked.len())?;
        Ok((parse(&unpacked)?, self.held))
    }
}

/// Takes a body in. The time that it has is that of the client: what the server makes it wait is not counted.
async fn take_in(
    headers: &HeaderMap,
    body: &mut Body,
    time_limit: Duration,
    mut held: Held,
) -> Result<Taken, Refusal> {
    let coding = Coding::of(headers)?;
    if announced(headers).is_some_and(|length| length > MAX_BODY_BYTES) {
        return Err(Refusal::TooLarge);
    }
    let (mut gathered, mut left) = (BytesMut::new(), time_limit);
    loop {
        let began = Instant::now();
        let frame = timeout(left, body.frame()).await;
        let Some(frame) = frame.map_err(|_| Refusal::SlowBody)? else {
            break;
        };
        left = left.saturating_sub(began.elapsed());
        let frame = frame.map_err(|_| Refusal::BrokenBody)?;
        let data = frame.into_data().unwrap_or_default();
        if gathered.len() + data.len() > MAX_BODY_BYTES {
            return Err(Refusal::TooLarge);
        }
        held.reach(gathered.len() + data.len()).await?;
        gathered.extend_from_slice(&data);
    }
    let packed = gathered.freeze();
    Ok(Taken {
        coding,
        packed,
        held,
    })
}

fn announced(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
