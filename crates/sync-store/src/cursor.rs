//! Positions in the log, and the cursors that clients hold on to them (`semantics.md`, Cursors on the wire).

use std::fmt;

use sync_protocol::Timestamp;

/// A place in the log: nanoseconds since 1970, unique in the database, never given out twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position(pub i64);

/// What a client sends back as `since`: how far it has read, and in which reading it stands. Clients sort cursors as text;
/// one inside a reading sorts after the bare one of its position and before every later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Cursor {
    position: Position,
    reading: Reading,
}

/// In which reading a cursor stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
enum Reading {
    /// Of what comes.
    #[default]
    Following,
    /// The same, given out by this server at a position among those that were imported: where a bare time comes from the
    /// replaced service. As text it sorts as the bare one does: before those inside a reading.
    Passed,
    /// Of everything for the first time, begun when there were the grants up to this position.
    Hydrating(Position),
    /// Of what a space held when its member joined, at the position behind the cursor's. How far that is read.
    Joining(Position),
    /// The same, inside a reading of everything.
    HydratingJoining(Position),
}

impl Reading {
    fn parse(suffix: &str) -> Option<Self> {
        let (letter, digits) = suffix.split_at_checked(1)?;
        let is_ours = |digit: u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
        if !digits.bytes().all(is_ours) {
            return None;
        }
        let number = u64::from_str_radix(digits, 16).ok()?;
        let position = |number| i64::try_from(number).ok().map(Position);
        match (letter, number % 2) {
            ("b", _) => Some(Self::Passed),
            ("h", _) => position(number).map(Self::Hydrating),
            ("j", 0) => position(number / 2).map(Self::Joining),
            ("j", _) => position(number / 2).map(Self::HydratingJoining),
            _ => None,
        }
    }

    /// The letter of the kind, and its position. Of two cursors inside what a space held, the one that has read less sorts
    /// first: only behind the position stands whether everything is read.
    fn suffix(self) -> String {
        let number = |Position(position): Position| position.max(0).unsigned_abs();
        let (letter, number) = match self {
            Self::Following => return String::new(),
            Self::Passed => ('b', 0),
            Self::Hydrating(began) => ('h', number(began)),
            Self::Joining(place) => ('j', 2 * number(place)),
            Self::HydratingJoining(place) => ('j', 2 * number(place) + 1),
        };
        format!("~{letter}{number:016x}")
    }
}

/// How many characters the end of a cursor has inside a reading: `~`, a letter for the kind of reading, and 16 digits.
const SUFFIX: usize = 18;
/// By how much a cursor of the replaced service is lowered, in nanoseconds: a change that took less than a minute to commit
/// may lie below a cursor that was given out without it.
pub(crate) const UNSAFE_NANOS: i64 = 60 * 1_000_000_000;

impl Cursor {
    /// Before everything.
    pub const BEGINNING: Self = Self {
        position: Position(0),
        reading: Reading::Following,
    };

    /// Behind everything up to a position.
    #[must_use]
    pub fn at(position: Position) -> Self {
        Self {
            position: Position(position.0.max(0)),
            reading: Reading::Following,
        }
    }

    /// Behind a row of a reading that began here: the row's own position, and the grant at which it is read if it was there
    /// before its reader joined: then the cursor stands just before the grant, and sorts before the one of whoever has read
    /// all that the space held. `newest` is the position of the newest grant of the reader.
    pub(crate) fn behind(self, row: Position, joined: Option<Position>, newest: Position) -> Self {
        let reading = match (joined, self.hydrates()) {
            (None, false) => Reading::Following,
            (None, true) => Reading::Hydrating(self.began(newest)),
            (Some(_), false) => Reading::Joining(row),
            (Some(_), true) => Reading::HydratingJoining(row),
        };
        let position = joined.map_or(row, |Position(grant)| Position(grant - 1));
        Self { position, reading }
    }

    /// Up to which grant a reading of everything takes the rows of spaces at their own positions: those that were there
    /// when it began.
    fn began(self, newest: Position) -> Position {
        match self.reading {
            Reading::Hydrating(began) => began,
            Reading::Following | Reading::Passed => newest,
            // Behind a grant everything up to it is read.
            Reading::Joining(_) | Reading::HydratingJoining(_) => Position(0),
        }
    }

    /// The same for a reading of several tables. Clients send the least of the cursors that they have for tables then, which
    /// may stand in a reading that knew of a grant when another did not: every space that was joined behind it is read whole.
    pub(crate) fn of_several_tables(self) -> Self {
        let reading = match self.reading {
            Reading::Following if self.position == Position(0) => Reading::Hydrating(Position(0)),
            Reading::Hydrating(_) => Reading::Hydrating(Position(0)),
            other => other,
        };
        Self { reading, ..self }
    }

    /// How the rows that a space held when its member joined, at this grant, are read from here.
    pub(crate) fn backlog(self, grant: Position) -> Backlog {
        match self.reading {
            Reading::Joining(place) | Reading::HydratingJoining(place)
                if grant.0 - 1 == self.position.0 =>
            {
                Backlog::After(place)
            }
            _ if grant <= self.position => Backlog::Read,
            Reading::Following if self.position == Position(0) => Backlog::Read,
            Reading::Hydrating(began) if grant <= began => Backlog::Read,
            _ => Backlog::After(Position(0)),
        }
    }

    /// Reads a `since`: any RFC 3339 time, or a cursor; what cannot be read is the beginning.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let (time, reading) = match split_suffix(text) {
            Some((time, suffix)) => match Reading::parse(suffix) {
                Some(reading) => (time, reading),
                None => return Self::BEGINNING,
            },
            None => (text, Reading::Following),
        };
        Timestamp::parse(time).map_or(Self::BEGINNING, |time| Self {
            reading,
            ..Self::at(Position(time.nanos()))
        })
    }

    /// From where a reader goes on with it, in a store that took over the table of a replaced service and whose import ended
    /// at this position (0: there was none). A bare time up to there comes from that service, whose cursors may have passed
    /// changes.
    #[must_use]
    pub fn after_import(self, imported: Position) -> Self {
        let is_its = self.reading == Reading::Following && self.position <= imported;
        if !is_its || self.position == Position(0) {
            return self;
        }
        Self::at(Position((self.position.0 - UNSAFE_NANOS).max(1)))
    }

    /// The cursor as this server gives it out in such a store: known as its own.
    pub(crate) fn given_out(self, imported: Position) -> Self {
        let is_bare = self.reading == Reading::Following && self.position <= imported;
        if !is_bare || self.position == Position(0) {
            return self;
        }
        Self {
            reading: Reading::Passed,
            ..self
        }
    }

    /// How far it has read.
    #[must_use]
    pub fn position(self) -> Position {
        self.position
    }

    /// Whether what is read from here belongs to a hydration: then a client gets its own changes, too.
    #[must_use]
    pub fn hydrates(self) -> bool {
        let is_inside = matches!(
            self.reading,
            Reading::Hydrating(_) | Reading::HydratingJoining(_)
        );
        is_inside || self.position == Position(0)
    }
}

/// The rows that a space held when its member joined, seen from a cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backlog {
    /// They are read, or are read at their own positions.
    Read,
    /// They are read at the grant, those behind this position.
    After(Position),
}

/// The time of a cursor inside a reading, and its end without the `~`.
fn split_suffix(text: &str) -> Option<(&str, &str)> {
    let (time, suffix) = text.split_at_checked(text.len().checked_sub(SUFFIX)?)?;
    Some((time, suffix.strip_prefix('~')?))
}

impl fmt::Display for Cursor {
    /// Writes an RFC 3339 UTC time with nine digits, and the end that tells the reading.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        Timestamp::from_nanos(self.position.0).fmt(out)?;
        out.write_str(&self.reading.suffix())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: i64 = 1_738_404_000_123_456_000;

    /// Behind a row so far after noon.
    fn behind(since: Cursor, row: i64, joined: Option<i64>) -> Cursor {
        let at = |nanos| Position(NOON + nanos);
        since.behind(at(row), joined.map(at), at(500))
    }

    #[test]
    fn a_cursor_comes_back_from_its_text() {
        let following = Cursor::at(Position(NOON));
        for cursor in [
            Cursor::BEGINNING,
            following,
            behind(following, 7, None),
            behind(following, 7, Some(9)),
            behind(Cursor::BEGINNING, 7, None),
            behind(Cursor::BEGINNING, 7, Some(9)),
            following.given_out(Position(NOON)),
        ] {
            assert_eq!(Cursor::parse(&cursor.to_string()), cursor, "{cursor}");
        }
        assert_eq!(following.to_string(), "2025-02-01T10:00:00.123456000Z");
        assert_eq!(
            behind(following, 7, Some(9)).to_string(),
            "2025-02-01T10:00:00.123456008Z~j30401a748ef4140e"
        );
    }

    #[test]
    fn cursors_sort_as_their_text() {
        let at = |nanos: i64| Cursor::at(Position(NOON + nanos));
        let sorted = [
            at(0),
            behind(Cursor::BEGINNING, 0, None),
            at(1),
            at(1).given_out(Position(NOON + 1)),
            at(999),
            behind(at(0), 12, Some(1000)),
            behind(Cursor::BEGINNING, 13, Some(1000)),
            behind(at(0), 14, Some(1000)),
            at(1000),
            behind(Cursor::BEGINNING, 12, Some(1001)),
            behind(at(0), 17, Some(1001)),
            at(1001),
        ];
        let texts = sorted.map(|cursor| cursor.to_string());
        assert!(texts.is_sorted(), "{texts:?}");
    }

    #[test]
    fn a_backlog_is_read_at_its_grant() {
        let grant = Position(NOON + 100);
        let all = Backlog::After(Position(0));
        let inside = behind(Cursor::at(Position(NOON)), 7, Some(100));
        for (since, backlog) in [
            (Cursor::at(Position(NOON)), all),
            (inside, Backlog::After(Position(NOON + 7))),
            (Cursor::at(grant), Backlog::Read),
            // A reading of everything takes the rows where they stand, but for a space that was joined meanwhile.
            (Cursor::BEGINNING, Backlog::Read),
            (behind(Cursor::BEGINNING, 50, None), Backlog::Read),
            (
                Cursor::BEGINNING.behind(Position(NOON + 50), None, Position(NOON + 99)),
                all,
            ),
            // A hydration that began with an earlier version of this server.
            (
                Cursor::parse("2025-02-01T10:00:00.123456001Z~h0000000000000000"),
                all,
            ),
        ] {
            assert_eq!(since.backlog(grant), backlog, "{since}");
        }
    }

    #[test]
    fn a_bare_time_up_to_the_end_of_an_import_is_lowered_and_our_own_are_not() {
        let at = |nanos: i64| Cursor::at(Position(NOON + nanos));
        let end = Position(NOON + 500);
        let lowered = Cursor::at(Position(NOON - 60_000_000_000));
        let hydrating = behind(Cursor::BEGINNING, 7, None);
        let joining = behind(at(0), 7, Some(9));
        for (since, from) in [
            (at(0), lowered),
            (at(500), Cursor::at(Position(lowered.position.0 + 500))),
            (at(501), at(501)),
            (Cursor::BEGINNING, Cursor::BEGINNING),
            (Cursor::at(Position(5)), Cursor::at(Position(1))),
            (hydrating, hydrating),
            (joining, joining),
            (at(0).given_out(end), at(0).given_out(end)),
        ] {
            assert_eq!(since.after_import(end), from, "{since}");
            assert_eq!(since.after_import(Position(0)), since, "{since}");
        }
        let texts = [at(0), at(501), Cursor::BEGINNING, joining]
            .map(|cursor| cursor.given_out(end).to_string());
        assert_eq!(
            texts,
            [
                "2025-02-01T10:00:00.123456000Z~b0000000000000000",
                "2025-02-01T10:00:00.123456501Z",
                "1970-01-01T00:00:00.000000000Z",
                &joining.to_string(),
            ]
        );
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
            "2025-02-01T10:00:00Z~x0000000000000000",
            "2025-02-01T10:00:00Z~j+000000000000000",
            "2025-02-01T10:00:00Z~hffffffffffffffff",
            "2025-02-01T10:00:00Z~k0000000000000000",
        ] {
            assert_eq!(Cursor::parse(text).position(), Position(0), "{text}");
            assert!(Cursor::parse(text).hydrates(), "{text}");
        }
    }
}
