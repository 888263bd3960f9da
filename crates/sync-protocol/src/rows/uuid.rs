//! UUIDs as clients of the rows dialect spell them.

use crate::EventId;

/// The canonical text (lower case, with dashes) of a UUID in any spelling that is taken for a `pk`: with dashes, as 32
/// hexadecimal digits, in braces, or behind `urn:uuid:`.
#[must_use]
pub fn canonical_uuid(text: &str) -> Option<String> {
    let bare = text
        .strip_prefix('{')
        .and_then(|inner| inner.strip_suffix('}'));
    let urn = text
        .split_at_checked(9)
        .filter(|(prefix, _)| prefix.eq_ignore_ascii_case("urn:uuid:"));
    match (bare, urn) {
        (Some(inner), _) => EventId::parse(inner),
        (None, Some((_, inner))) => EventId::parse(inner),
        (None, None) => EventId::parse(text).or_else(|| undashed(text)),
    }
    .map(|uuid| uuid.to_string())
}

/// Whether this is the canonical text of a UUID.
#[must_use]
pub fn is_canonical_uuid(text: &str) -> bool {
    EventId::parse(text).is_some() && !text.bytes().any(|byte| byte.is_ascii_uppercase())
}

/// The canonical text of a UUID in a column that refers to another row: as [`canonical_uuid`], or the base64 of its 16
/// bytes, as clients with keys of bytes send it.
#[must_use]
pub fn reference_uuid(text: &str) -> Option<String> {
    canonical_uuid(text).or_else(|| from_base64(text).map(|uuid| uuid.to_string()))
}

fn undashed(text: &str) -> Option<EventId> {
    let is_hex = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let bits = is_hex.then(|| u128::from_str_radix(text, 16).ok())??;
    Some(EventId::from_bits(bits))
}

/// Standard base64 of 16 bytes: 22 digits and two signs that fill up.
fn from_base64(text: &str) -> Option<EventId> {
    let digits = text.strip_suffix("==")?;
    if digits.len() != 22 {
        return None;
    }
    let values = digits.bytes().map(base64_digit);
    let values: Vec<u32> = values.collect::<Option<_>>()?;
    // 22 digits are 132 bits, of which the last four stand for nothing.
    let (last, others) = values.split_last()?;
    let high = others
        .iter()
        .fold(0_u128, |bits, digit| bits << 6 | u128::from(*digit));
    (last & 0b1111 == 0).then(|| EventId::from_bits(high << 2 | u128::from(last >> 4)))
}

fn base64_digit(byte: u8) -> Option<u32> {
    let digit = match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(u32::from(digit))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CANONICAL: &str = "0b7c1a2e-30f4-4c55-8d66-77e8f9a0b1c2";

    #[test]
    fn a_uuid_has_one_text_however_it_is_spelled() {
        for text in [
            CANONICAL,
            "0B7C1A2E-30F4-4C55-8D66-77E8F9A0B1C2",
            "0b7c1a2e30f44c558d6677e8f9a0b1c2",
            "{0b7c1a2e-30f4-4c55-8d66-77e8f9a0b1c2}",
            "urn:uuid:0b7c1a2e-30f4-4c55-8d66-77e8f9a0b1c2",
            "URN:UUID:0B7C1A2E-30F4-4C55-8D66-77E8F9A0B1C2",
        ] {
            assert_eq!(canonical_uuid(text).as_deref(), Some(CANONICAL), "{text}");
        }
        for text in [
            "",
            "1",
            "{0b7c1a2e30f44c558d6677e8f9a0b1c2}",
            "0b7c1a2e-30f4-4c55-8d66-77e8f9a0b1cg",
            "+b7c1a2e30f44c558d6677e8f9a0b1c2",
            "CxguLjD0TFWNZnfo+aCxwg==",
        ] {
            assert_eq!(canonical_uuid(text), None, "{text}");
        }
        assert!(is_canonical_uuid(CANONICAL));
        assert!(!is_canonical_uuid(&CANONICAL.to_uppercase()));
    }

    #[test]
    fn a_reference_may_be_the_base64_of_16_bytes() {
        let text = "C3waLjD0TFWNZnfo+aCxwg==";
        assert_eq!(reference_uuid(text).as_deref(), Some(CANONICAL));
        assert_eq!(reference_uuid(CANONICAL).as_deref(), Some(CANONICAL));
        for text in [
            "YWJjZGU=",
            "C3waLjD0TFWNZnfo+aCxwh==",
            "C3waLjD0TFWNZnfo+aCxw===",
            "",
        ] {
            assert_eq!(reference_uuid(text), None, "{text}");
        }
    }
}
