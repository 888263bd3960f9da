//! The keys by which other services call this one.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use crate::error::SetupError;

/// The most keys at a time.
pub const MAX_SERVICE_KEYS: usize = 100;

/// The shortest key, in bytes.
const MIN_KEY_BYTES: usize = 16;

/// The longest name of a service, in bytes.
const MAX_NAME_BYTES: usize = 64;

/// Keys that stand in examples and in development settings of the services around, in small letters.
const DEVELOPMENT_KEYS: [&str; 6] = [
    "dev-service-key",
    "dev-service-key-change-me",
    "development-service-key",
    "changeme-changeme",
    "change-me-in-production",
    "your-service-key-here",
];

/// Whether keys count that everybody knows, such as `dev-service-key`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DevelopmentKeys {
    /// They are an error.
    Refused,
    /// They are keys like others, and may be shorter: for a server on one's own machine.
    Allowed,
}

/// What the operator calls a service that calls this one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceName(Arc<str>);

/// The keys that count now. `Debug` shows the names only.
pub struct ServiceKeys(RwLock<Vec<Entry>>);

#[derive(Clone, PartialEq, Eq)]
struct Entry {
    name: ServiceName,
    /// The SHA-256 of the key, which itself is not kept.
    digest: [u8; 32],
}

impl ServiceKeys {
    /// No keys: nobody is a service.
    #[must_use]
    pub fn none() -> Self {
        Self(RwLock::default())
    }

    /// Reads `name:key` entries, one a line or separated by commas, so that a variable and a file
    /// can hold them alike. Empty lines, and those that begin with `#`, are passed over. Several
    /// keys of one name all count, and the same entry again is passed over.
    ///
    /// A name has at most 64 letters, digits, `-`, `_` and `.`; a key at least 16 bytes of printable
    /// ASCII without white space and commas.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong, with the number of its line and never with the key.
    pub fn parse(text: &str, development: DevelopmentKeys) -> Result<Self, SetupError> {
        let mut entries: Vec<Entry> = Vec::new();
        for (line, text) in written(text) {
            let wrong = |why: &str| SetupError(format!("service keys, line {line}: {why}"));
            let entry = Entry::parse(text, development).map_err(wrong)?;
            let mut earlier = entries.iter();
            match earlier.find(|earlier| earlier.digest == entry.digest) {
                Some(earlier) if earlier.name == entry.name => continue,
                Some(_) => return Err(wrong("the key is there already, by another name")),
                None => {}
            }
            if entries.len() >= MAX_SERVICE_KEYS {
                return Err(wrong("there are too many keys"));
            }
            entries.push(entry);
        }
        Ok(Self(RwLock::new(entries)))
    }

    /// Which service presents this key; `None` if it is nobody's. It takes as long for a key that
    /// is nearly right as for any other.
    #[must_use]
    pub fn identify(&self, presented: &[u8]) -> Option<ServiceName> {
        let digest = openssl::sha::sha256(presented);
        let mut found = None;
        // To the end, whatever is found on the way: the time must not tell which key it was.
        for entry in self.entries().iter() {
            if openssl::memcmp::eq(&entry.digest, &digest) {
                found = Some(&entry.name).cloned();
            }
        }
        found
    }

    /// From now on those keys count, and no others; whether they differ from those that counted before.
    pub fn replace(&self, keys: Self) -> bool {
        let fresh = keys.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut current = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let differs = *current != fresh;
        *current = fresh;
        differs
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries().is_empty()
    }

    /// Whose keys there are, each name as often as it has keys.
    #[must_use]
    pub fn names(&self) -> Vec<ServiceName> {
        let entries = self.entries();
        entries.iter().map(|entry| entry.name.clone()).collect()
    }

    fn entries(&self) -> std::sync::RwLockReadGuard<'_, Vec<Entry>> {
        // It is only ever replaced as a whole, so a panic elsewhere leaves nothing half done.
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for ServiceKeys {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_tuple("ServiceKeys").field(&self.names()).finish()
    }
}

impl Entry {
    fn parse(text: &str, development: DevelopmentKeys) -> Result<Self, &'static str> {
        let (name, key) = text
            .split_once(':')
            .ok_or("an entry is a name, a colon and a key")?;
        let name = ServiceName::new(name.trim_end())?;
        let key = key.trim_start();
        if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("a key is printable ASCII without white space");
        }
        judge(key, development)?;
        let digest = openssl::sha::sha256(key.as_bytes());
        Ok(Self { name, digest })
    }
}

impl ServiceName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn new(text: &str) -> Result<Self, &'static str> {
        let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if text.is_empty() || text.len() > MAX_NAME_BYTES || !text.bytes().all(is_fit) {
            return Err("a name is 1 to 64 letters, digits, `-`, `_` and `.`");
        }
        Ok(Self(Arc::from(text)))
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl fmt::Debug for ServiceName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, out)
    }
}

/// The entries with the numbers of their lines.
fn written(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = (1..).zip(text.lines().map(str::trim));
    lines
        .filter(|(_, line)| !line.starts_with('#'))
        .flat_map(|(number, line)| line.split(',').map(move |entry| (number, entry.trim())))
        .filter(|(_, entry)| !entry.is_empty())
}

/// Whether a key is one of those that stand in examples and in development settings: everybody knows them.
#[must_use]
pub fn is_known_to_everybody(key: &str) -> bool {
    DEVELOPMENT_KEYS.contains(&key.to_ascii_lowercase().as_str())
}

/// Whether a key is one to rely on.
fn judge(key: &str, development: DevelopmentKeys) -> Result<(), &'static str> {
    let is_known = is_known_to_everybody(key);
    match development {
        DevelopmentKeys::Refused if is_known => {
            Err("the key is one for development, which everybody knows")
        }
        DevelopmentKeys::Allowed if is_known => Ok(()),
        _ if key.len() < MIN_KEY_BYTES => Err("a key has at least 16 bytes"),
        _ => Ok(()),
    }
}
