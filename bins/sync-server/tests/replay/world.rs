//! The world of one replay: ids for its names, its tokens, and the values that answers gave.

use std::collections::BTreeMap;

use super::Fault;
use super::forms::Form;
use super::story::Setup;
use super::tokens::Issuer;

/// What placeholders stand for.
pub(crate) struct World {
    users: BTreeMap<String, String>,
    spaces: BTreeMap<String, String>,
    values: BTreeMap<String, String>,
    issuer: Issuer,
}

impl World {
    /// A world with these users and spaces, whose ids no other replay has used.
    pub(crate) fn new(setup: &Setup) -> Self {
        let ids = |names: &[String]| {
            names
                .iter()
                .map(|name| (name.clone(), fresh_uuid()))
                .collect()
        };
        Self {
            users: ids(&setup.users),
            spaces: ids(&setup.spaces),
            values: BTreeMap::new(),
            issuer: Issuer::new(),
        }
    }

    #[cfg(test)]
    pub(crate) fn empty() -> Self {
        Self::new(&Setup::default())
    }

    /// The key set against which the tokens of this world are good.
    pub(crate) fn key_set(&self) -> String {
        self.issuer.key_set()
    }

    /// The text with every placeholder replaced.
    pub(crate) fn resolve(&mut self, text: &str) -> Result<String, Fault> {
        self.resolve_with(text, str::to_owned)
    }

    /// The path with every placeholder replaced, escaped where it must be.
    pub(crate) fn resolve_path(&mut self, path: &str) -> Result<String, Fault> {
        self.resolve_with(path, escaped)
    }

    /// Whether the value is what this name stands for; a name that stands for nothing yet takes a value of the form.
    pub(crate) fn bind(&mut self, placeholder: &str, value: &str, form: Form) -> bool {
        match self.values.get(placeholder) {
            Some(bound) => bound == value,
            None if form.fits(value) => {
                self.values.insert(placeholder.to_owned(), value.to_owned());
                true
            }
            None => false,
        }
    }

    fn resolve_with(&mut self, text: &str, write: fn(&str) -> String) -> Result<String, Fault> {
        let mut resolved = String::new();
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once("{{") {
            let (placeholder, behind) = behind
                .split_once("}}")
                .ok_or_else(|| format!("{text:?} ends in mid-name"))?;
            resolved.push_str(before);
            resolved.push_str(&write(&self.value(placeholder)?));
            rest = behind;
        }
        resolved.push_str(rest);
        Ok(resolved)
    }

    fn value(&mut self, placeholder: &str) -> Result<String, Fault> {
        let unknown = || format!("nothing is known of {{{{{placeholder}}}}}");
        let (kind, name) = placeholder.split_once(':').ok_or_else(unknown)?;
        match kind {
            "user" => self.users.get(name).cloned().ok_or_else(unknown),
            "space" => self.spaces.get(name).cloned().ok_or_else(unknown),
            "fresh" => Ok(self
                .values
                .entry(placeholder.to_owned())
                .or_insert_with(fresh_uuid)
                .clone()),
            "token" => {
                let (user, kind) = name.split_once(':').unwrap_or((name, "good"));
                self.issuer
                    .token(self.users.get(user).ok_or_else(unknown)?, kind)
            }
            _ => self.values.get(placeholder).cloned().ok_or_else(unknown),
        }
    }
}

/// A UUIDv7 (RFC 9562, 5.7).
pub(crate) fn fresh_uuid() -> String {
    let mut bytes = [0; 16];
    openssl::rand::rand_bytes(&mut bytes).expect("the system gives random bytes");
    let random = u128::from_be_bytes(bytes);
    let millis = u128::from(super::tokens::now()) * 1000;
    let (high, low) = (random >> 116, random & ((1 << 62) - 1));
    let value = (millis << 80) | (7 << 76) | (high << 64) | (0b10 << 62) | low;
    let hex = format!("{value:032x}");
    format!(
        "{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..]
    )
}

/// Percent-encodes what may not stand in a query as it is.
fn escaped(text: &str) -> String {
    let escape = |byte: u8| match byte {
        b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'.' | b'_' | b'~' | b':' => {
            char::from(byte).to_string()
        }
        other => format!("%{other:02X}"),
    };
    text.bytes().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world() -> World {
        World::new(&Setup {
            users: vec!["alice".to_owned(), "bob".to_owned()],
            ..Setup::default()
        })
    }

    #[test]
    fn names_are_ids_that_stay_within_a_world_and_differ_between_two() {
        let (mut one, mut other) = (world(), world());
        let alice = one.resolve("{{user:alice}}").unwrap();
        assert!(Form::Uuid.fits(&alice));
        assert_eq!(one.resolve("<{{user:alice}}>"), Ok(format!("<{alice}>")));
        assert_ne!(one.resolve("{{user:bob}}").unwrap(), alice);
        assert_ne!(other.resolve("{{user:alice}}").unwrap(), alice);
        assert_eq!(one.resolve("{{fresh:x}}"), one.resolve("{{fresh:x}}"));
    }

    #[test]
    fn what_nothing_is_known_of_is_a_fault() {
        for text in [
            "{{user:carol}}",
            "{{token:carol}}",
            "{{token:alice:typo}}",
            "{{cursor:1}}",
            "{{cursor}}",
            "{{x",
        ] {
            assert!(world().resolve(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_value_goes_into_a_path_escaped() {
        let mut world = world();
        let cursor = "2025-02-01T10:00:00.123456789Z~a+/=";
        assert!(world.bind(
            "cursor:1",
            "2025-02-01T10:00:00.123456789Z~a+/=",
            Form::Cursor
        ));
        assert_eq!(world.resolve("{{cursor:1}}"), Ok(cursor.to_owned()));
        let path = world.resolve_path("/x%20y?since={{cursor:1}}").unwrap();
        assert_eq!(
            path,
            "/x%20y?since=2025-02-01T10:00:00.123456789Z~a%2B%2F%3D"
        );
    }
}
