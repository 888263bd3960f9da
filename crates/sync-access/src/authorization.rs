//! The `Authorization` header: from its raw value to the token.

use crate::error::TokenError;

const SCHEME: &str = "Bearer";

/// The token in the value of an `Authorization` header, `None` standing for no header.
///
/// The scheme's case does not matter (RFC 9110, 11.1), nor how many spaces follow it. The token is
/// not judged, other than that it is printable ASCII without spaces. Of several headers a caller
/// must pass none on: which of them counts is anybody's guess.
///
/// # Errors
///
/// [`TokenError::Missing`] for no header, another scheme, and anything that is not exactly one
/// token.
pub fn bearer_token(header: Option<&[u8]>) -> Result<&str, TokenError> {
    header
        .and_then(|value| str::from_utf8(value).ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(SCHEME))
        .map(|(_, token)| token.trim_matches(' '))
        .filter(|token| !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()))
        .ok_or(TokenError::Missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_case_of_the_scheme_does_not_matter() {
        for header in ["Bearer a.b.c", "bearer a.b.c", "BEARER   a.b.c "] {
            assert_eq!(
                bearer_token(Some(header.as_bytes())),
                Ok("a.b.c"),
                "{header}"
            );
        }
    }

    #[test]
    fn what_is_not_bearer_and_one_token_is_no_token() {
        let headers: [Option<&[u8]>; 9] = [
            None,
            Some(b""),
            Some(b"Bearer"),
            Some(b"Bearer "),
            Some(b"a.b.c"),
            Some(b"Basic YWxpY2U6cHc="),
            Some(b"Bearer a.b.c d.e.f"),
            Some(b"Bearer a\tb"),
            Some(b"Bearer \xff"),
        ];
        for header in headers {
            assert_eq!(bearer_token(header), Err(TokenError::Missing), "{header:?}");
        }
    }
}
