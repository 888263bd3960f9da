//! Writes whose time the server gave: it remembers what was claimed, so that the same write sent again stays the same
//! write (`semantics.md`, Which write wins).

use sync_protocol::{ClientId, FieldName, FieldTime, UserId, Value};

use crate::{Context, Record};

/// How many claims of one client on one field are remembered; the newest stay. More than the 200 changes that existing
/// clients send, and send again, in one push.
const MAX_CLAIMS_PER_FIELD: usize = 256;

/// What a client claimed of a write: its time and a digest of its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claimed {
    /// The time that the client gave; none for a delete without one.
    pub at: FieldTime,
    /// A digest of the value.
    pub digest: u64,
}

/// A write to which the server gave its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Whose client it was.
    pub user: UserId,
    /// The client.
    pub client: ClientId,
    /// The field.
    pub field: FieldName,
    /// What was claimed.
    pub claimed: Claimed,
    /// The time that the server gave it.
    pub given: FieldTime,
}

/// What becomes of the time of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settled {
    /// It counts at this time.
    At(FieldTime),
    /// It is an older write of a client whose newer one the server has timed: it has no effect.
    Superseded,
}

impl Claimed {
    /// A claim on a value.
    #[must_use]
    pub fn new(at: FieldTime, value: &Value) -> Self {
        Self {
            at,
            digest: digest(value.as_str().as_bytes()),
        }
    }

    /// A delete that came without a time.
    #[must_use]
    pub fn timeless_delete() -> Self {
        Self {
            at: FieldTime::NONE,
            digest: 0,
        }
    }
}

/// Gives a write its time: its own, or, if the server has to give one, the time of receipt or the one it gave before.
pub(crate) fn settle(
    record: &mut Record,
    context: &Context<'_>,
    field: &FieldName,
    claimed: Claimed,
) -> Settled {
    let timeless = claimed == Claimed::timeless_delete();
    let own: Vec<&Claim> = record
        .claims
        .iter()
        .filter(|claim| {
            claim.client == *context.client && claim.user == *context.user && claim.field == *field
        })
        .collect();
    if let Some(place) = own.iter().position(|claim| claim.claimed == claimed) {
        let newer =
            |(other, claim): (usize, &&Claim)| (claim.claimed.at, other) > (claimed.at, place);
        return if !timeless && own.iter().enumerate().any(newer) {
            Settled::Superseded
        } else {
            Settled::At(own[place].given)
        };
    }
    if !timeless && !context.is_ahead(claimed.at) {
        return Settled::At(claimed.at);
    }
    let superseded = !timeless && own.iter().any(|claim| claim.claimed.at > claimed.at);
    let given = FieldTime::from(context.now);
    // A superseded one is remembered, too: else it would count once the clock has caught up with it.
    remember(
        record,
        context,
        Claim {
            user: context.user.clone(),
            client: context.client.clone(),
            field: field.clone(),
            claimed,
            given,
        },
    );
    if superseded {
        Settled::Superseded
    } else {
        Settled::At(given)
    }
}

/// Adds a claim, and forgets those older than the history window and those over the bound.
fn remember(record: &mut Record, context: &Context<'_>, claim: Claim) {
    let oldest = FieldTime::from_millis(context.now.0 - context.history_millis);
    record.claims.retain(|known| known.given >= oldest);
    let same = |known: &Claim| {
        known.client == claim.client && known.user == claim.user && known.field == claim.field
    };
    if record.claims.iter().filter(|known| same(known)).count() >= MAX_CLAIMS_PER_FIELD
        && let Some(first) = record.claims.iter().position(same)
    {
        record.claims.remove(first);
    }
    record.claims.push(claim);
}

/// A digest that is stable for ever (FNV-1a), for what is stored or agreed on between nodes; it keeps nobody out.
#[must_use]
pub fn digest(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
