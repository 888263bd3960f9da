//! Times as the wire writes them: RFC 3339 in, UTC with a fixed number of digits out.

use std::fmt;

const MILLIS_PER_DAY: i64 = 86_400_000;
const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// Milliseconds since 1970-01-01T00:00:00Z: the server's reading of its clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Millis(pub i64);

impl fmt::Display for Millis {
    /// Writes `YYYY-MM-DDTHH:MM:SS.mmmZ`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_date_time(out, self.0.div_euclid(1000))?;
        write!(out, ".{:03}Z", self.0.rem_euclid(1000))
    }
}

/// The time of a field write, in milliseconds since 1970; [`FieldTime::NONE`] where the client gave none.
///
/// Clients compare times as text and read "none" as `1970-01-01T00:00:00.000Z`, so a time at or before that instant is
/// none as well: text order and instant order stay the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct FieldTime(i64);

impl FieldTime {
    /// No time: lower than every other.
    pub const NONE: Self = Self(0);

    /// A time of so many milliseconds since 1970; none if that is not positive.
    #[must_use]
    pub fn from_millis(millis: i64) -> Self {
        Self(millis.max(0))
    }

    /// Reads an RFC 3339 time and cuts it to milliseconds; what cannot be read is none.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Timestamp::parse(text).map_or(Self::NONE, |time| Self::from_millis(time.millis()))
    }

    /// Milliseconds since 1970, 0 for none.
    #[must_use]
    pub fn millis(self) -> i64 {
        self.0
    }

    /// Whether there is no time.
    #[must_use]
    pub fn is_none(self) -> bool {
        self == Self::NONE
    }
}

impl From<Millis> for FieldTime {
    fn from(millis: Millis) -> Self {
        Self::from_millis(millis.0)
    }
}

impl fmt::Display for FieldTime {
    /// Writes `YYYY-MM-DDTHH:MM:SS.mmmZ`, which existing clients compare as text.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        Millis(self.0).fmt(out)
    }
}

/// An instant read from RFC 3339 text, to the nanosecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp {
    seconds: i64,
    nanos: u32,
}

impl Timestamp {
    /// Reads `YYYY-MM-DDTHH:MM:SS[.f…](Z|±HH:MM)`; digits beyond the ninth of the fraction are cut off.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        if bytes.len() < 20 || !text.is_ascii() {
            return None;
        }
        let separators = bytes[4] == b'-'
            && bytes[7] == b'-'
            && matches!(bytes[10], b'T' | b't')
            && bytes[13] == b':'
            && bytes[16] == b':';
        let (year, month, day) = (
            digits(&bytes[0..4])?,
            digits(&bytes[5..7])?,
            digits(&bytes[8..10])?,
        );
        let (hour, minute, second) = (
            digits(&bytes[11..13])?,
            digits(&bytes[14..16])?,
            digits(&bytes[17..19])?,
        );
        let in_range = (1..=12).contains(&month)
            && (1..=days_in_month(year, month)).contains(&day)
            && hour < 24
            && minute < 60
            && second <= 60;
        if !separators || !in_range {
            return None;
        }
        let (nanos, rest) = fraction(&bytes[19..])?;
        let local = days_from_civil(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
        Some(Self {
            seconds: local - offset_seconds(rest)?,
            nanos,
        })
    }

    /// An instant so many nanoseconds after 1970.
    #[must_use]
    pub fn from_nanos(nanos: i64) -> Self {
        let fraction = nanos.rem_euclid(NANOS_PER_SECOND);
        Self {
            seconds: nanos.div_euclid(NANOS_PER_SECOND),
            nanos: u32::try_from(fraction).unwrap_or(0),
        }
    }

    /// Milliseconds since 1970, cut off.
    #[must_use]
    pub fn millis(self) -> i64 {
        self.seconds * 1000 + i64::from(self.nanos / 1_000_000)
    }

    /// Nanoseconds since 1970, at the ends of the range where they do not fit (1677 and 2262).
    #[must_use]
    pub fn nanos(self) -> i64 {
        self.seconds
            .checked_mul(NANOS_PER_SECOND)
            .and_then(|nanos| nanos.checked_add(i64::from(self.nanos)))
            .unwrap_or(if self.seconds < 0 { i64::MIN } else { i64::MAX })
    }
}

impl fmt::Display for Timestamp {
    /// Writes `YYYY-MM-DDTHH:MM:SS.nnnnnnnnnZ`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_date_time(out, self.seconds)?;
        write!(out, ".{:09}Z", self.nanos)
    }
}

fn digits(bytes: &[u8]) -> Option<i64> {
    bytes.iter().try_fold(0, |sum, byte| {
        byte.is_ascii_digit()
            .then(|| sum * 10 + i64::from(byte - b'0'))
    })
}

/// The fraction of a second in nanoseconds, and what follows it.
fn fraction(bytes: &[u8]) -> Option<(u32, &[u8])> {
    if bytes.first() != Some(&b'.') {
        return Some((0, bytes));
    }
    let count = bytes[1..]
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    if count == 0 {
        return None;
    }
    let kept = count.min(9);
    let value = digits(&bytes[1..=kept])? * 10_i64.pow(u32::try_from(9 - kept).ok()?);
    Some((u32::try_from(value).ok()?, &bytes[1 + count..]))
}

fn offset_seconds(bytes: &[u8]) -> Option<i64> {
    match bytes {
        [b'Z' | b'z'] => Some(0),
        [
            sign @ (b'+' | b'-'),
            hours @ ..,
            b':',
            minute_tens,
            minute_ones,
        ] if hours.len() == 2 => {
            let (hours, minutes) = (digits(hours)?, digits(&[*minute_tens, *minute_ones])?);
            let seconds = hours * 3600 + minutes * 60;
            (hours < 24 && minutes < 60).then_some(if *sign == b'+' { seconds } else { -seconds })
        }
        _ => None,
    }
}

fn days_in_month(year: i64, month: i64) -> i64 {
    let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970 of a date of the proleptic Gregorian calendar, counted in years that begin in March.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

fn write_date_time(out: &mut fmt::Formatter<'_>, seconds: i64) -> fmt::Result {
    let (year, month, day) = civil_from_days(seconds.div_euclid(MILLIS_PER_DAY / 1000));
    let of_day = seconds.rem_euclid(MILLIS_PER_DAY / 1000);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    write!(
        out,
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_spelling_of_an_instant_is_the_same_field_time() {
        let expected = FieldTime::from_millis(1_738_404_000_500);
        for text in [
            "2025-02-01T10:00:00.5Z",
            "2025-02-01T10:00:00.500Z",
            "2025-02-01t10:00:00.500999999999z",
            "2025-02-01T12:00:00.5+02:00",
            "2025-02-01T06:30:00.5-03:30",
        ] {
            assert_eq!(FieldTime::parse(text), expected, "{text}");
        }
        assert_eq!(expected.to_string(), "2025-02-01T10:00:00.500Z");
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in [
            "",
            "yesterday",
            "2025-02-01",
            "2025-02-30T00:00:00Z",
            "2025-13-01T00:00:00Z",
            "2025-02-01T24:00:00Z",
            "2025-02-01T10:00:00",
            "2025-02-01T10:00:00.Z",
            "2025-02-01T10:00:00+2:00",
            "2025-02-01 10:00:00Z",
            "1969-12-31T23:59:59.999Z",
            "1970-01-01T00:00:00.000Z",
            "２025-02-01T10:00:00Z",
            "+025-02-01T10:00:00Z",
        ] {
            assert_eq!(FieldTime::parse(text), FieldTime::NONE, "{text}");
        }
        assert_eq!(FieldTime::NONE.to_string(), "1970-01-01T00:00:00.000Z");
    }

    proptest! {
        #[test]
        fn a_timestamp_comes_back_from_its_text(nanos in 0..i64::MAX) {
            let text = Timestamp::from_nanos(nanos).to_string();
            prop_assert_eq!(Timestamp::parse(&text).map(Timestamp::nanos), Some(nanos));
        }

        #[test]
        fn field_times_sort_as_their_text(a in 0..253_402_300_800_000_i64, b in 0..253_402_300_800_000_i64) {
            let (a, b) = (FieldTime::from_millis(a), FieldTime::from_millis(b));
            prop_assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()));
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in "\\PC{0,40}") {
            let _ = Timestamp::parse(&text);
        }
    }
}
