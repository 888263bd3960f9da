//! What a change may not be, whatever it says: too deep, or an object with the same name twice.

use std::borrow::Cow;

/// The deepest nesting of a change, the change itself counted.
pub const MAX_LEVELS: usize = 64;
/// The most fields that one change writes.
pub const MAX_FIELDS: usize = 1000;

/// The first reason why this JSON text (already known to be well-formed) cannot be stored.
pub(crate) fn fault(json: &str) -> Option<String> {
    let bytes = json.as_bytes();
    let mut walk = Walk {
        names: Vec::new(),
        frames: Vec::new(),
    };
    let mut place = 0;
    while place < bytes.len() {
        match bytes[place] {
            b'"' => {
                let end = string_end(bytes, place);
                if is_name(bytes, end) {
                    walk.names.push(name(&json[place..end]));
                }
                place = end;
                continue;
            }
            b'{' | b'[' => walk.open(),
            b'}' | b']' => {
                if let Some(twice) = walk.close() {
                    return Some(format!("the name {twice:?} occurs twice in an object"));
                }
            }
            _ => {}
        }
        if walk.frames.len() > MAX_LEVELS {
            return Some(format!("it has more than {MAX_LEVELS} levels"));
        }
        place += 1;
    }
    None
}

struct Walk<'a> {
    /// The names of all objects that are open, outermost first.
    names: Vec<Cow<'a, str>>,
    /// Where the names of each open object or array begin.
    frames: Vec<usize>,
}

impl Walk<'_> {
    fn open(&mut self) {
        self.frames.push(self.names.len());
    }

    /// Ends the innermost object; a name that occurs twice in it, shortened for people.
    fn close(&mut self) -> Option<String> {
        let start = self.frames.pop().unwrap_or(0);
        let own = &mut self.names[start..];
        own.sort_unstable();
        let twice = own
            .windows(2)
            .find(|pair| pair[0] == pair[1])
            .map(|pair| pair[0].chars().take(40).collect());
        self.names.truncate(start);
        twice
    }
}

/// Where the string that begins at `start` ends: just behind its closing quote.
fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut place = start + 1;
    while place < bytes.len() {
        match bytes[place] {
            b'\\' => place += 2,
            b'"' => return place + 1,
            _ => place += 1,
        }
    }
    bytes.len()
}

/// Whether a colon follows: a string before one is a name.
fn is_name(bytes: &[u8], end: usize) -> bool {
    bytes[end..].iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b':')
}

/// What the name says: escapes count as what they stand for, and one that stands for nothing as itself.
fn name(quoted: &str) -> Cow<'_, str> {
    let inner = &quoted[1..quoted.len() - 1];
    if inner.contains('\\') {
        serde_json::from_str(quoted).map_or(Cow::Borrowed(inner), Cow::Owned)
    } else {
        Cow::Borrowed(inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_twice_is_found_at_any_depth_and_in_any_spelling() {
        for json in [
            r#"{"a":1,"a":2}"#,
            r#"{"x":[{"a":1 , "b":{}, "a" : 2}]}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"x\"y":1,"x\u0022y":2}"#,
        ] {
            assert!(fault(json).is_some(), "{json}");
        }
    }

    #[test]
    fn the_same_name_in_two_objects_is_fine() {
        for json in [
            r#"{"a":{"a":"a"},"b":{"a":["a","a"]}}"#,
            r#"["a","a"]"#,
            r#"{"a:":1,"a":"b:","b":"}{\"a\":"}"#,
        ] {
            assert_eq!(fault(json), None, "{json}");
        }
    }

    #[test]
    fn sixty_four_levels_are_enough() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert_eq!(fault(&nested(64)), None);
        assert!(fault(&nested(65)).is_some());
    }
}
