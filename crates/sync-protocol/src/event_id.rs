//! Event ids: the UUID of one effective change.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Millis;

/// A UUID in its canonical text, lower case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(u128);

impl EventId {
    /// Reads 8-4-4-4-12 hexadecimal digits of either case.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        if bytes.len() != 36 {
            return None;
        }
        let mut value = 0_u128;
        for (place, byte) in bytes.iter().enumerate() {
            if matches!(place, 8 | 13 | 18 | 23) {
                if *byte != b'-' {
                    return None;
                }
            } else {
                value = value << 4 | u128::from(char::from(*byte).to_digit(16)?);
            }
        }
        Some(Self(value))
    }

    /// The 128 bits.
    #[must_use]
    pub fn bits(self) -> u128 {
        self.0
    }

    /// An id of these 128 bits.
    #[must_use]
    pub fn from_bits(bits: u128) -> Self {
        Self(bits)
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = format!("{:032x}", self.0);
        write!(
            out,
            "{}-{}-{}-{}-{}",
            &hex[..8],
            &hex[8..12],
            &hex[12..16],
            &hex[16..20],
            &hex[20..]
        )
    }
}

impl Serialize for EventId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EventId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not a UUID"))
    }
}

/// Gives UUIDv7s (RFC 9562, 5.7) for one request: its time, then bits drawn from a random seed that the caller passes.
#[derive(Clone, Debug)]
pub struct EventIds {
    millis: u128,
    state: [u64; 2],
}

impl EventIds {
    /// Ids of this time; the seed is 128 random bits, new for each request.
    #[must_use]
    pub fn new(now: Millis, seed: u128) -> Self {
        let millis = u128::from(now.0.max(0).unsigned_abs()) & 0xffff_ffff_ffff;
        let (high, low) = (
            (seed >> 64) & u128::from(u64::MAX),
            seed & u128::from(u64::MAX),
        );
        Self {
            millis,
            state: [high, low].map(|half| u64::try_from(half).unwrap_or(0)),
        }
    }

    /// The next id.
    pub fn fresh(&mut self) -> EventId {
        let [a, b] = [0, 1].map(|half| u128::from(split_mix(&mut self.state[half])));
        let random = (a & 0xfff) << 64 | 0b10 << 62 | b >> 2;
        EventId(self.millis << 80 | 7 << 76 | random)
    }
}

/// One step of the SplitMix64 generator: every seed walks through all 64-bit states.
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ *state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_id_is_a_version_7_uuid_of_its_time() {
        let mut ids = EventIds::new(Millis(0x0194_c0ff_ee00), 5);
        let (first, second) = (ids.fresh().to_string(), ids.fresh().to_string());
        assert_ne!(first, second);
        assert!(first.starts_with("0194c0ff-ee00-7"), "{first}");
        assert!(matches!(&first[19..20], "8" | "9" | "a" | "b"), "{first}");
        assert_eq!(EventId::parse(&first).map(|id| id.to_string()), Some(first));
    }

    #[test]
    fn only_the_canonical_form_is_read() {
        assert!(EventId::parse("0194C0FF-EE00-7ABC-8DEF-0123456789AB").is_some());
        for text in [
            "",
            "0194c0ffee007abc8def0123456789ab",
            "0194c0ff-ee00-7abc-8def-0123456789ag",
        ] {
            assert_eq!(EventId::parse(text), None, "{text}");
        }
    }
}
