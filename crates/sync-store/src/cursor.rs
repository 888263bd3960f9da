//! Positions in the log, and the cursors that clients hold on to them (`semantics.md`, Cursors on the wire).

use std::fmt;

use sync_protocol::Timestamp;

/// A place in the log: nanoseconds since 1970, unique in the database, never given out twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position(pub i64);

/// What a client sends back as `since`: how far it has read, and whether it is still reading everything for the first
/// time. Clients sort cursors as text; a cursor inside a first hydration sorts after the bare one of its position and
/// before every later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Cursor {
    position: Position,
    hydrating: bool,
}

/// What a cursor inside a first hydration ends with: a letter for the kind of reading, and 16 digits that are the
/// place inside a backfill (none in a first hydration).
const HYDRATING: &str = "~h0000000000000000";

impl Cursor {
    /// Before everything.
    pub const BEGINNING: Self = Self {
        position: Position(0),
        hydrating: false,
    };

    /// Behind everything up to a position.
    #[must_use]
    pub fn at(position: Position) -> Self {
        Self {
            position: Position(position.0.max(0)),
            hydrating: false,
        }
    }

    /// The same place, inside a reading that began at the beginning if that is so.
    #[must_use]
    pub fn hydrating(self, hydrating: bool) -> Self {
        Self { hydrating, ..self }
    }

    /// Reads a `since`: any RFC 3339 time, or a cursor; what cannot be read is the beginning.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let (time, hydrating) = match text.strip_suffix(HYDRATING) {
            Some(time) => (time, true),
            None => (text, false),
        };
        Timestamp::parse(time).map_or(Self::BEGINNING, |time| {
            Self::at(Position(time.nanos())).hydrating(hydrating)
        })
    }

    /// How far it has read.
    #[must_use]
    pub fn position(self) -> Position {
        self.position
    }

    /// Whether what is read from here belongs to a hydration: then a client gets its own changes, too.
    #[must_use]
    pub fn hydrates(self) -> bool {
        self.hydrating || self.position == Position(0)
    }
}

impl fmt::Display for Cursor {
    /// Writes an RFC 3339 UTC time with nine digits, and the suffix of a hydration.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        Timestamp::from_nanos(self.position.0).fmt(out)?;
        out.write_str(if self.hydrating { HYDRATING } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_from_its_text() {
        for cursor in [
            Cursor::BEGINNING,
            Cursor::at(Position(1_738_404_000_123_456_789)),
        ] {
            for cursor in [cursor, cursor.hydrating(true)] {
                assert_eq!(Cursor::parse(&cursor.to_string()), cursor);
            }
        }
        assert_eq!(
            Cursor::at(Position(1_738_404_000_123_456_000)).to_string(),
            "2025-02-01T10:00:00.123456000Z"
        );
    }

    #[test]
    fn cursors_sort_as_their_text() {
        let at = |nanos: i64| Cursor::at(Position(1_738_404_000_000_000_000 + nanos));
        let sorted = [
            at(0),
            at(0).hydrating(true),
            at(1),
            at(999),
            at(1000),
            at(1000).hydrating(true),
            at(1001),
        ];
        let texts = sorted.map(|cursor| cursor.to_string());
        assert!(texts.is_sorted(), "{texts:?}");
    }

    #[test]
    fn what_cannot_be_read_is_the_beginning() {
        for text in [
            "",
            "yesterday",
            "4070908800",
            "2099-01-01",
            "1969-12-31T23:59:59Z",
            "~h0000000000000000",
        ] {
            assert_eq!(Cursor::parse(text).position(), Position(0), "{text}");
            assert!(Cursor::parse(text).hydrates(), "{text}");
        }
    }
}
