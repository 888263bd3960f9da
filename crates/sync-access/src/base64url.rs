//! Base64 as JOSE writes it (RFC 7515, 2): the URL alphabet, no padding, one spelling for each
//! value.

/// The bytes that `text` stands for, or `None` if it is not exactly how they are written.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    if !text.bytes().all(is_in_alphabet) {
        return None;
    }
    let mut standard = text.replace('-', "+").replace('_', "/");
    while !standard.len().is_multiple_of(4) {
        standard.push('=');
    }
    let bytes = openssl::base64::decode_block(&standard).ok()?;
    (encode(&bytes) == text).then_some(bytes)
}

/// `bytes` as text.
pub(crate) fn encode(bytes: &[u8]) -> String {
    let standard = openssl::base64::encode_block(bytes);
    standard
        .trim_end_matches('=')
        .replace('+', "-")
        .replace('/', "_")
}

fn is_in_alphabet(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_comes_back() {
        let all: Vec<u8> = (0..=255).collect();
        for length in 0..=all.len() {
            assert_eq!(
                decode(&encode(&all[..length])),
                Some(all[..length].to_vec())
            );
        }
        assert_eq!(encode(&[0xfb, 0xff]), "-_8");
    }

    #[test]
    fn other_spellings_are_refused() {
        for text in [
            "-_8=", "+/8", "-_9", "A", "AAAAA", "AA AA", " AAAA", "AAAA\n", "é",
        ] {
            assert_eq!(decode(text), None, "{text:?}");
        }
    }
}
