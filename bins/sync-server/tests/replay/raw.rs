//! JSON answers with the text of every value at hand: digits and escapes that a parsed number or string has lost.

use std::fmt;

use serde::Deserializer as _;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;

use super::Fault;

/// The value of a whole body.
pub(crate) fn parse(body: &[u8]) -> Result<&RawValue, Fault> {
    serde_json::from_slice(body).map_err(|error| format!("the body is no JSON: {error}"))
}

/// The items of an array.
pub(crate) fn items(value: &RawValue) -> Result<Vec<&RawValue>, Fault> {
    serde_json::from_str(value.get()).map_err(|_| format!("{} is no array", shortened(value.get())))
}

/// The members of an object in their order; a name twice is a fault.
pub(crate) fn members(value: &RawValue) -> Result<Vec<(String, &RawValue)>, Fault> {
    let mut deserializer = serde_json::Deserializer::from_str(value.get());
    let members = deserializer.deserialize_map(Members);
    let members =
        members.map_err(|error| format!("{} is no object: {error}", shortened(value.get())))?;
    let mut names: Vec<&str> = members.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(format!("the name {:?} occurs twice", pair[0])),
        None => Ok(members),
    }
}

/// The value at this pointer (RFC 6901).
pub(crate) fn at<'a>(value: &'a RawValue, pointer: &str) -> Result<&'a RawValue, Fault> {
    let missing = || format!("there is nothing at {pointer}");
    pointer.split('/').skip(1).try_fold(value, |value, name| {
        if value.get().starts_with('[') {
            let place: usize = name.parse().map_err(|_| missing())?;
            items(value)?.get(place).copied().ok_or_else(missing)
        } else {
            let name = name.replace("~1", "/").replace("~0", "~");
            members(value)?
                .into_iter()
                .find(|(other, _)| *other == name)
                .map(|(_, value)| value)
                .ok_or_else(missing)
        }
    })
}

/// So much of a text that a message can hold.
pub(crate) fn shortened(text: &str) -> String {
    const LONGEST: usize = 2_000;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}… ({} bytes)", &text[..end], text.len()),
        None => text.to_owned(),
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Vec<(String, &'de RawValue)>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_with_its_exact_text() {
        let body = br#"{"list":[{"a/b":1.10},"\ud83d x",1e400]}"#;
        let text = |pointer: &str| at(parse(body).unwrap(), pointer).map(RawValue::get);
        assert_eq!(text("/list/0/a~1b"), Ok("1.10"));
        assert_eq!(text("/list/1"), Ok(r#""\ud83d x""#));
        assert_eq!(text("/list/2"), Ok("1e400"));
        assert_eq!(
            text("/list/3"),
            Err("there is nothing at /list/3".to_owned())
        );
        assert_eq!(text("/none"), Err("there is nothing at /none".to_owned()));
    }

    #[test]
    fn a_name_twice_is_a_fault() {
        let fault = members(parse(br#"{"a":1,"\u0061":2}"#).unwrap()).err();
        assert_eq!(fault, Some(r#"the name "a" occurs twice"#.to_owned()));
    }

    #[test]
    fn what_is_no_json_is_a_fault() {
        assert!(parse(b"404 page not found\n").is_err());
    }
}
