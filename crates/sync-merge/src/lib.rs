//! Which write wins: the rule by which concurrent writes of fields become one state, and what a push changes by it.
//!
//! The crate is pure. It knows no clock (times are passed in), no IO and no store: a caller hands it the records as
//! they are known and the changes that arrived, and gets back a [`Plan`]. A client that embeds it gets the server's
//! rule. The laws (order, grouping and repetition of writes do not matter) are property tests beside it.

mod claim;
mod correct;
mod decide;
mod fold;
mod plan;
mod record;
mod rows;
mod transfer;

pub use claim::{Claim, Claimed, Claims, digest};
pub use plan::{Clash, Context, Correction, NewRow, Plan, RowOrigin, plan};
pub use record::{Held, Record, RowRef, Version, deleted_at};
pub use rows::{RowPlanner, RowWrite, Verdict};
pub use transfer::{Deletion, Move};
