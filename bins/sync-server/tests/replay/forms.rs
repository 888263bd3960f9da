//! The forms of values that no two runs have alike: cursors, UUIDs and times.

/// Stands in a story where the contract leaves open what to answer.
pub(crate) const OPEN: &str = "{{open}}";

/// A form that a placeholder names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// An RFC 3339 time in UTC with nine digits of fraction; a `~` and more may follow.
    Cursor,
    /// 8-4-4-4-12 hexadecimal digits.
    Uuid,
    /// An RFC 3339 time.
    Time,
}

impl Form {
    /// The form of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "cursor" => Some(Self::Cursor),
            "uuid" => Some(Self::Uuid),
            "time" => Some(Self::Time),
            _ => None,
        }
    }

    /// Whether the text has this form.
    pub(crate) fn fits(self, text: &str) -> bool {
        match self {
            Self::Cursor => {
                let (time, suffix) = text
                    .split_once('~')
                    .map_or((text, None), |(time, rest)| (time, Some(rest)));
                looks_like(time, "0000-00-00T00:00:00.000000000Z")
                    && suffix.is_none_or(|rest| {
                        !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_graphic())
                    })
            }
            Self::Uuid => looks_like(text, "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"),
            Self::Time => is_time(text),
        }
    }
}

/// Whether the text has a digit for each `0`, a hexadecimal digit for each `x`, and the same byte for any other.
fn looks_like(text: &str, pattern: &str) -> bool {
    let alike = |(byte, pattern): (u8, u8)| match pattern {
        b'0' => byte.is_ascii_digit(),
        b'x' => byte.is_ascii_hexdigit(),
        other => byte == other,
    };
    text.len() == pattern.len() && text.bytes().zip(pattern.bytes()).all(alike)
}

fn is_time(text: &str) -> bool {
    let Some((date_time, rest)) = text.split_at_checked("0000-00-00T00:00:00".len()) else {
        return false;
    };
    let zone = match rest.strip_prefix('.') {
        Some(rest) => {
            let zone = rest.trim_start_matches(|digit: char| digit.is_ascii_digit());
            if zone.len() == rest.len() {
                "no digit behind the point"
            } else {
                zone
            }
        }
        None => rest,
    };
    looks_like(date_time, "0000-00-00T00:00:00")
        && (zone == "Z" || looks_like(zone, "+00:00") || looks_like(zone, "-00:00"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_has_nine_digits_and_perhaps_a_suffix() {
        for text in [
            "2025-02-01T10:00:00.123456789Z",
            "2025-02-01T10:00:00.123456789Z~0123456789abcdef",
        ] {
            assert!(Form::Cursor.fits(text), "{text}");
        }
        for text in [
            "",
            "2025-02-01T10:00:00.123Z",
            "2025-02-01T10:00:00.123456789+00:00",
            "2025-02-01T10:00:00.123456789Z~",
            "2025-02-01T10:00:00.123456789Z ",
            "2025-02-01T10:00:00.123456789Z~a b",
        ] {
            assert!(!Form::Cursor.fits(text), "{text}");
        }
    }

    #[test]
    fn a_uuid_has_its_hyphens_in_their_places() {
        assert!(Form::Uuid.fits("0194c0ff-ee00-7abc-8def-0123456789ab"));
        assert!(!Form::Uuid.fits("0194c0ffee007abc8def0123456789ab"));
        assert!(!Form::Uuid.fits("0194c0ff-ee00-7abc-8def-0123456789ag"));
    }

    #[test]
    fn a_time_has_any_fraction_and_a_zone() {
        for text in [
            "2025-02-01T10:00:00Z",
            "2025-02-01T10:00:00.5Z",
            "2025-02-01T10:00:00.000+02:00",
        ] {
            assert!(Form::Time.fits(text), "{text}");
        }
        for text in [
            "",
            "2025-02-01",
            "2025-02-01T10:00:00",
            "2025-02-01T10:00:00.Z",
            "2025-02-01 10:00:00Z",
        ] {
            assert!(!Form::Time.fits(text), "{text}");
        }
    }
}
