//! Identifiers: names that travel, at most 256 bytes, without control characters.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The longest identifier, in bytes of UTF-8.
pub const MAX_IDENT_BYTES: usize = 256;

/// Why a text is no identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentError {
    /// It is empty.
    #[error("is empty")]
    Empty,
    /// It has more than [`MAX_IDENT_BYTES`] bytes.
    #[error("is longer than {MAX_IDENT_BYTES} bytes")]
    TooLong,
    /// It has a control character (or half a surrogate pair).
    #[error("has a control character or a lone surrogate")]
    Control,
    /// It is a name to which JavaScript gives a meaning (`__proto__`).
    #[error("is a reserved name")]
    Reserved,
}

fn check(text: &str) -> Result<(), IdentError> {
    if text.is_empty() {
        Err(IdentError::Empty)
    } else if text.len() > MAX_IDENT_BYTES {
        Err(IdentError::TooLong)
    } else if text.chars().any(char::is_control) {
        Err(IdentError::Control)
    } else if text == "__proto__" {
        Err(IdentError::Reserved)
    } else {
        Ok(())
    }
}

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes a text that is an identifier.
            ///
            /// # Errors
            ///
            /// What keeps the text from being one.
            pub fn new(text: &str) -> Result<Self, IdentError> {
                check(text)?;
                Ok(Self(Arc::from(text)))
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, out)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::new(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

identifier! {
    /// A client application's namespace: the `{appId}` of a route.
    AppId
}
identifier! {
    /// A table of an app; the `collection` of a pull.
    TableName
}
identifier! {
    /// A record of a table.
    RecordId
}
identifier! {
    /// A field of a record.
    FieldName
}
identifier! {
    /// The `sub` of a verified token.
    UserId
}
identifier! {
    /// A group of users that share records.
    SpaceId
}

/// One device or tab, as it calls itself: a label, proven by nothing. It may be empty.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(Arc<str>);

impl ClientId {
    /// The client that has no name: what it writes comes back to it like what others write.
    #[must_use]
    pub fn nameless() -> Self {
        Self(Arc::from(""))
    }

    /// Takes a text that is an identifier, or empty.
    ///
    /// # Errors
    ///
    /// What keeps the text from being one.
    pub fn new(text: &str) -> Result<Self, IdentError> {
        if !text.is_empty() {
            check(text)?;
        }
        Ok(Self(Arc::from(text)))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the client gave no id: then nothing is its own.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl fmt::Debug for ClientId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limits_of_an_identifier() {
        assert!(RecordId::new(&"ä".repeat(128)).is_ok());
        assert_eq!(RecordId::new(&"ä".repeat(129)), Err(IdentError::TooLong));
        assert_eq!(RecordId::new(""), Err(IdentError::Empty));
        assert_eq!(RecordId::new("a\u{0}b"), Err(IdentError::Control));
        assert_eq!(RecordId::new("a\u{85}b"), Err(IdentError::Control));
        assert_eq!(RecordId::new("__proto__"), Err(IdentError::Reserved));
        assert!(RecordId::new("a b/c?d#e%f").is_ok());
        assert!(ClientId::new("").is_ok());
        assert_eq!(ClientId::new("a\nb"), Err(IdentError::Control));
    }
}
