//! Bodies of requests: read whole, unpacked, bounded at both ends of the unpacking, and understood.
//!
//! ```text
//! socket -> at most 10 MiB as sent, within the time limit -> gzip or zstd -> at most 10 MiB unpacked -> parsed
//!           beyond 64 KiB: takes a slot                                      beyond 64 KiB: takes a slot, if it has none
//! ```
//!
//! What takes longer than a request may keep others from being served is done on a thread of its own.

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_LENGTH, EXPECT};
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Limited};
use sync_protocol::MAX_BODY_BYTES;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::budget::{SMALL_BYTES, Slot};
use crate::error::Refusal;
use crate::service::Shared;
use crate::task;
use crate::unpack::Coding;

/// How much of a refused body is read and thrown away, so that the client gets to read the refusal: most send all of
/// their body before they look, and a connection closed in the middle of it loses the answer.
const DRAIN_BYTES: usize = 4 * MAX_BODY_BYTES;
/// How long that may take.
const DRAIN_TIME: Duration = Duration::from_secs(5);

/// What a body says, if it is within the bounds and arrives in time; and the slot that it has if it is large, which the
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
) -> Result<(T, Option<Slot>), Refusal> {
    let taken = take_in(service, headers, &mut body).await;
    if matches!(
        taken,
        Err(Refusal::Coding | Refusal::TooLarge | Refusal::Busy)
    ) {
        drain(headers, body).await;
    }
    let taken = taken?;
    if taken.slot.is_some() {
        return work(service, taken, MAX_BODY_BYTES, parse).await;
    }
    if taken.coding == Coding::Plain {
        // That takes less than a millisecond: no reason to change threads.
        return Ok((parse(&taken.packed)?, None));
    }
    // How much is in a small packed body is known when it is unpacked: first as far as that takes no slot.
    let (coding, packed) = (taken.coding, taken.packed.clone());
    match work(service, taken, SMALL_BYTES, parse).await {
        Err(Refusal::TooLarge) => {}
        understood => return understood,
    }
    let taken = Taken {
        coding,
        packed,
        slot: Some(service.budget.slot().await?),
    };
    work(service, taken, MAX_BODY_BYTES, parse).await
}

/// Understands a body on a thread of its own.
async fn work<T: Send + 'static>(
    service: &Shared,
    taken: Taken,
    limit: usize,
    parse: fn(&[u8]) -> Result<T, Refusal>,
) -> Result<(T, Option<Slot>), Refusal> {
    let turn = service.budget.turn().await;
    let work = move || {
        // The work goes on when nobody waits for it any more; it keeps its turn and its slot until it is done.
        let _turn = turn;
        taken.understand(limit, parse)
    };
    task::outcome(spawn_blocking(work)).await?
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
    slot: Option<Slot>,
}

impl Taken {
    fn understand<T>(
        self,
        limit: usize,
        parse: fn(&[u8]) -> Result<T, Refusal>,
    ) -> Result<(T, Option<Slot>), Refusal> {
        let unpacked = self.coding.unpack(self.packed, limit)?;
        Ok((parse(&unpacked)?, self.slot))
    }
}

/// Takes a body in. The time that it has is that of the client: what the server makes it wait is not counted.
async fn take_in(service: &Shared, headers: &HeaderMap, body: &mut Body) -> Result<Taken, Refusal> {
    let coding = Coding::of(headers)?;
    if announced(headers).is_some_and(|length| length > MAX_BODY_BYTES) {
        return Err(Refusal::TooLarge);
    }
    let (mut gathered, mut slot) = (BytesMut::new(), None);
    let mut left = service.limits.body;
    loop {
        let began = Instant::now();
        let frame = timeout(left, body.frame()).await;
        let Some(frame) = frame.map_err(|_| Refusal::SlowBody)? else {
            break;
        };
        left = left.saturating_sub(began.elapsed());
        let frame = frame.map_err(|_| Refusal::BrokenBody)?;
        let data = frame.into_data().unwrap_or_default();
        let length = gathered.len() + data.len();
        if length > MAX_BODY_BYTES {
            return Err(Refusal::TooLarge);
        }
        if length > SMALL_BYTES && slot.is_none() {
            slot = Some(service.budget.slot().await?);
        }
        gathered.extend_from_slice(&data);
    }
    let packed = gathered.freeze();
    Ok(Taken {
        coding,
        packed,
        slot,
    })
}

fn announced(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
