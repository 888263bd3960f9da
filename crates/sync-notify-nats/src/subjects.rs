//! The subjects under which nodes meet: one for each of 64 parts of the audiences, so that one connection keeps the order
//! of an audience and a cluster of NATS servers can spread the parts.

use sync_notify::News;
use sync_protocol::Audience;

use crate::NatsError;

/// How many subjects there are.
const PARTS: u64 = 64;

/// The longest prefix, in bytes.
const MAX_PREFIX_BYTES: usize = 128;

/// The subjects of one system.
#[derive(Clone, Debug)]
pub(crate) struct Subjects {
    prefix: String,
}

impl Subjects {
    /// Takes a prefix that can begin a subject, and that matches nothing but itself.
    pub(crate) fn new(prefix: &str) -> Result<Self, NatsError> {
        let is_word = |word: &str| {
            !word.is_empty()
                && word
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        };
        if prefix.len() <= MAX_PREFIX_BYTES && prefix.split('.').all(is_word) {
            let prefix = prefix.to_owned();
            return Ok(Self { prefix });
        }
        let prefix = prefix.to_owned();
        Err(NatsError::Prefix { prefix })
    }

    /// What to subscribe to.
    pub(crate) fn all(&self) -> String {
        format!("{}.*", self.prefix)
    }

    /// Where to publish a part.
    pub(crate) fn part(&self, part: u64) -> String {
        format!("{}.{part}", self.prefix)
    }
}

/// The part that news belongs to: the same on every node and in every version.
pub(crate) fn part_of(news: &News) -> u64 {
    let (kind, name) = match news {
        News::Access(user) | News::Gone(user) => (b'u', user.as_str()),
        News::Changes(notice) => match &notice.audience {
            Audience::User(user) => (b'u', user.as_str()),
            Audience::Space(space) => (b's', space.as_str()),
        },
    };
    fnv1a(std::iter::once(kind).chain(name.bytes())) % PARTS
}

/// FNV-1a with 64 bits: small, and fixed for ever, which the hashes of the standard library are not.
fn fnv1a(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use sync_notify::Notice;
    use sync_protocol::{AppId, SpaceId, TableName, UserId};

    use super::*;

    fn changes(audience: Audience) -> News {
        News::Changes(Notice {
            audience,
            app: AppId::new("app").unwrap(),
            tables: BTreeSet::from([TableName::new("t").unwrap()]),
            writer: None,
            position: 1,
        })
    }

    fn user(name: &str) -> UserId {
        UserId::new(name).unwrap()
    }

    #[test]
    fn the_part_of_an_audience_never_changes() {
        assert_eq!(fnv1a([].into_iter()), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"foobar".iter().copied()), 0x8594_4171_f739_67e8);
        let parts = ["ann", "bob", "jörg"].map(|name| part_of(&News::Access(user(name))));
        assert_eq!(parts, [27, 27, 60]);
    }

    #[test]
    fn what_concerns_a_user_goes_one_way_and_a_space_of_that_name_another() {
        let space = Audience::Space(SpaceId::new("ann").unwrap());
        let own = part_of(&changes(Audience::User(user("ann"))));
        assert_eq!(own, part_of(&News::Access(user("ann"))));
        assert_ne!(own, part_of(&changes(space)));
    }

    #[test]
    fn audiences_spread_over_all_parts() {
        let parts: BTreeSet<u64> = (0..2_000)
            .map(|number| part_of(&News::Access(user(&format!("user-{number}")))))
            .collect();
        assert_eq!(parts, (0..PARTS).collect());
    }

    #[test]
    fn a_prefix_is_words_with_dots_between_them() {
        let subjects = Subjects::new("sync.notices").unwrap();
        assert_eq!(subjects.all(), "sync.notices.*");
        assert_eq!(subjects.part(7), "sync.notices.7");
        for bad in [
            "",
            ".",
            "a.",
            ".a",
            "a..b",
            "a.*",
            ">",
            "a b",
            "a\r\nPUB",
            "ä",
            &"a".repeat(129),
        ] {
            assert!(Subjects::new(bad).is_err(), "{bad:?}");
        }
    }
}
