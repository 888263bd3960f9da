//! Writes whose time the server gave: it remembers what was claimed, so that the same write sent again stays the same
//! write (`semantics.md`, Which write wins).

use std::collections::BTreeMap;

use sync_protocol::{ClientId, FieldName, FieldTime, UserId, Value};

use crate::Context;

/// How many claims of one client on one field are remembered; the newest stay. More than the 200 changes that existing
/// clients send, and send again, in one push.
const MAX_CLAIMS_PER_FIELD: usize = 256;
/// How many claims on one record are remembered; the newest stay.
const MAX_CLAIMS_PER_RECORD: usize = 4096;
/// The least time for which claims are remembered, in milliseconds, however short the history window is: clients send
/// what they got no answer to for a day.
pub(crate) const LEAST_MEMORY_MILLIS: i64 = 24 * 60 * 60 * 1000;

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

/// The claims on a record, by field, user and client; those of one in the order in which they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    of: BTreeMap<Claimant, Vec<Given>>,
    count: usize,
    oldest: Option<FieldTime>,
}

type Claimant = (FieldName, UserId, ClientId);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Given {
    claimed: Claimed,
    given: FieldTime,
}

impl FromIterator<Claim> for Claims {
    fn from_iter<T: IntoIterator<Item = Claim>>(all: T) -> Self {
        let mut claims = Self::default();
        for Claim {
            user,
            client,
            field,
            claimed,
            given,
        } in all
        {
            claims.add((field, user, client), Given { claimed, given });
        }
        claims
    }
}

impl Claims {
    /// All of them, those of one field, user and client in the order in which they came.
    pub fn iter(&self) -> impl Iterator<Item = Claim> {
        self.of.iter().flat_map(|((field, user, client), claims)| {
            claims.iter().map(|Given { claimed, given }| Claim {
                user: user.clone(),
                client: client.clone(),
                field: field.clone(),
                claimed: *claimed,
                given: *given,
            })
        })
    }

    /// Takes the claims on a field out.
    pub(crate) fn split_off(&mut self, field: &FieldName) -> Self {
        let (off, left): (Vec<_>, Vec<_>) = self.iter().partition(|claim| claim.field == *field);
        *self = left.into_iter().collect();
        off.into_iter().collect()
    }

    /// Adds those of another record, within the bounds.
    pub(crate) fn absorb(&mut self, others: &Self, since: FieldTime) {
        for (claimant, claims) in &others.of {
            for given in claims {
                self.remember(claimant.clone(), *given, since);
            }
        }
    }

    /// Whether a delete without a time is among those that still count.
    pub(crate) fn has_timeless_delete(&self, context: &Context<'_>) -> bool {
        let (timeless, since) = (Claimed::timeless_delete(), context.oldest_claim());
        self.of
            .values()
            .flatten()
            .any(|known| known.claimed == timeless && known.given >= since)
    }

    fn add(&mut self, claimant: Claimant, given: Given) {
        self.of.entry(claimant).or_default().push(given);
        self.count += 1;
        self.oldest = Some(
            self.oldest
                .map_or(given.given, |oldest| oldest.min(given.given)),
        );
    }

    /// Adds a claim, and forgets those older than `since`; over the bounds the lowest of the same client and field goes,
    /// which may be the new one, or else the lowest of those that have the most.
    fn remember(&mut self, claimant: Claimant, given: Given, since: FieldTime) {
        if self.oldest.is_some_and(|oldest| oldest < since) {
            self.forget(|known| known.given < since);
        }
        let own = self.of.get(&claimant).map_or(0, Vec::len);
        let is_full = self.count >= MAX_CLAIMS_PER_RECORD;
        let most = (is_full && own == 0)
            .then(|| self.of.iter().max_by_key(|(_, claims)| claims.len()))
            .flatten()
            .map(|(most, _)| most.clone());
        let is_over = own >= MAX_CLAIMS_PER_FIELD || is_full && own > 0;
        self.add(claimant.clone(), given);
        if let Some(over) = most.or(is_over.then_some(claimant)) {
            self.drop_lowest_of(&over);
        }
    }

    fn drop_lowest_of(&mut self, claimant: &Claimant) {
        let Some(claims) = self.of.get_mut(claimant) else {
            return;
        };
        let lowest = (0..claims.len()).min_by_key(|place| claims[*place].claimed.at);
        if let Some(lowest) = lowest {
            claims.remove(lowest);
            self.count -= 1;
        }
        if claims.is_empty() {
            self.of.remove(claimant);
        }
    }

    fn forget(&mut self, goes: impl Fn(&Given) -> bool) {
        for claims in self.of.values_mut() {
            claims.retain(|known| !goes(known));
        }
        self.of.retain(|_, claims| !claims.is_empty());
        self.count = self.of.values().map(Vec::len).sum();
        self.oldest = self.of.values().flatten().map(|known| known.given).min();
    }
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
    claims: &mut Claims,
    context: &Context<'_>,
    field: &FieldName,
    claimed: Claimed,
) -> Settled {
    let timeless = claimed == Claimed::timeless_delete();
    let must_give = timeless || context.is_ahead(claimed.at);
    if claims.count == 0 && !must_give {
        return Settled::At(claimed.at);
    }
    let claimant = (field.clone(), context.user.clone(), context.client.clone());
    let since = context.oldest_claim();
    let own = claims.of.get(&claimant).map_or(&[][..], Vec::as_slice);
    // They stand in the order in which they came; what is too old does not count any more.
    let own: Vec<Given> = own
        .iter()
        .filter(|known| known.given >= since)
        .copied()
        .collect();
    if let Some(place) = own.iter().position(|known| known.claimed == claimed) {
        let newer =
            |(other, known): (usize, &Given)| (known.claimed.at, other) > (claimed.at, place);
        return if !timeless && own.iter().enumerate().any(newer) {
            Settled::Superseded
        } else {
            Settled::At(own[place].given)
        };
    }
    if !must_give {
        return Settled::At(claimed.at);
    }
    let superseded = !timeless && own.iter().any(|known| known.claimed.at > claimed.at);
    let given = FieldTime::from(context.now);
    // A superseded one is remembered, too: else it would count once the clock has caught up with it.
    claims.remember(claimant, Given { claimed, given }, since);
    if superseded {
        Settled::Superseded
    } else {
        Settled::At(given)
    }
}

/// A digest that is stable for ever (FNV-1a), for what is stored or agreed on between nodes; it keeps nobody out.
#[must_use]
pub fn digest(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
