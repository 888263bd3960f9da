//! Drawing positions: one task with a connection of its own serves all pushes that wait, with one update for all of them.
//!
//! The draw is a transaction of its own, so that no lock of it can outlive an error, a cancelled statement or a lost
//! connection (`semantics.md`, Positions). Whoever draws has its scope locks already, and waits here without holding up others.

use deadpool_postgres::Pool;
use sync_protocol::Millis;
use sync_store::{Position, StoreError};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::endpoint::Endpoint;
use crate::failure::Failure;
use crate::pool::pool;
use crate::queries;
use crate::session::answered;

/// How many pushes one update serves at most, and how many may wait for the next.
const BATCH: usize = 1024;
/// The pool has one connection: draws happen one after the other.
const CONNECTIONS: usize = 1;
/// Nanoseconds in a millisecond.
const NANOS_PER_MILLI: i64 = 1_000_000;

/// Draws positions from the clock of the database.
#[derive(Debug)]
pub(crate) struct Drawer {
    orders: mpsc::Sender<Order>,
    task: JoinHandle<()>,
}

/// So many positions for one push, at a time.
#[derive(Debug)]
struct Order {
    count: i64,
    now: Millis,
    answer: oneshot::Sender<Result<Position, StoreError>>,
}

impl Drawer {
    /// Starts the task; it ends with this value.
    pub(crate) fn start(endpoint: &Endpoint) -> Result<Self, StoreError> {
        let pool = pool(endpoint, CONNECTIONS, &[queries::DRAW])?;
        let (orders, waiting) = mpsc::channel(BATCH);
        let task = tokio::spawn(serve(pool, waiting));
        Ok(Self { orders, task })
    }

    /// The first of `count` positions that nobody else gets, above all that were drawn before. None are drawn for none.
    pub(crate) async fn draw(&self, count: usize, now: Millis) -> Result<Position, StoreError> {
        if count == 0 {
            return Ok(Position::default());
        }
        let away = |_| StoreError::unavailable("nobody draws positions any more");
        let (answer, drawn) = oneshot::channel();
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        let order = Order { count, now, answer };
        self.orders
            .send(order)
            .await
            .map_err(|_| StoreError::unavailable("nobody draws positions any more"))?;
        drawn.await.map_err(away)?
    }
}

impl Drop for Drawer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(pool: Pool, mut waiting: mpsc::Receiver<Order>) {
    let mut batch = Vec::new();
    while waiting.recv_many(&mut batch, BATCH).await > 0 {
        // Nobody asks any more for a push that was abandoned.
        batch.retain(|order| !order.answer.is_closed());
        let count = batch.iter().map(|order| order.count).sum();
        let Some(now) = batch.iter().map(|order| order.now).max() else {
            continue;
        };
        deal(&mut batch, draw(&pool, count, now).await);
    }
}

/// Gives each order its part of what was drawn for all.
fn deal(batch: &mut Vec<Order>, drawn: Result<Position, StoreError>) {
    let mut dealt = 0;
    for order in batch.drain(..) {
        let part = drawn.clone().map(|Position(first)| Position(first + dealt));
        dealt += order.count;
        // An order that was abandoned in the meantime leaves a gap, which is harmless.
        let _ = order.answer.send(part);
    }
}

/// Draws, and once more if the connection was lost since the last time: a gap in the positions is harmless.
async fn draw(pool: &Pool, count: i64, now: Millis) -> Result<Position, StoreError> {
    match draw_once(pool, count, now).await {
        Err(Failure::Broken(StoreError::Unavailable(_)) | Failure::Repeat(_)) => {
            draw_once(pool, count, now).await
        }
        outcome => outcome,
    }
    .map_err(Failure::into_error)
}

async fn draw_once(pool: &Pool, count: i64, now: Millis) -> Result<Position, Failure> {
    let connection = pool.get().await?;
    let statement = connection.prepare_cached(queries::DRAW).await?;
    let wall_clock = now.0.saturating_mul(NANOS_PER_MILLI);
    let drawn = answered(connection.query_one(&statement, &[&count, &wall_clock])).await;
    if let Err(Failure::Broken(_)) = &drawn {
        drop(deadpool_postgres::Object::take(connection));
    }
    Ok(Position(drawn?.get(0)))
}
