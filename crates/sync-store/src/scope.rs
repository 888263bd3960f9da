//! Who may see and write what: scopes, the roles that grants give, and what one caller reaches.

use std::fmt;

use sync_protocol::{Audience, ClientId, SpaceId, UserId};

/// Who may see a change: one user, or the members of one space. Each stored change is in exactly one scope.
///
/// A value is made only by [`Reach`], from a verified caller and the grants that the store holds, or by a store that
/// reads back what it has written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope(Audience);

impl Scope {
    /// The text by which stores key the scope: `u:` and a user, or `s:` and a space.
    #[must_use]
    pub fn key(&self) -> String {
        match &self.0 {
            Audience::User(user) => format!("u:{user}"),
            Audience::Space(space) => format!("s:{space}"),
        }
    }

    /// Reads back a key that a store has written; `None` if it is none.
    #[must_use]
    pub fn from_key(key: &str) -> Option<Self> {
        let owner = match key.split_at_checked(2)? {
            ("u:", user) => Audience::User(UserId::new(user).ok()?),
            ("s:", space) => Audience::Space(SpaceId::new(space).ok()?),
            _ => return None,
        };
        Some(Self(owner))
    }

    /// Who may see what is in it.
    #[must_use]
    pub fn audience(&self) -> &Audience {
        &self.0
    }

    /// The space, unless the scope is personal.
    #[must_use]
    pub fn space(&self) -> Option<&SpaceId> {
        match &self.0 {
            Audience::User(_) => None,
            Audience::Space(space) => Some(space),
        }
    }

    /// A number by which stores lock the scope; two scopes may share one.
    #[must_use]
    pub fn lock_key(&self) -> i64 {
        i64::from_le_bytes(sync_merge::digest(self.key().as_bytes()).to_le_bytes())
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.key())
    }
}

/// What a member may do in a space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Reads.
    Reader,
    /// Reads and writes.
    Writer,
}

impl Role {
    /// The word under which stores keep it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Writer => "writer",
        }
    }

    /// Reads back the word; `None` if it is none.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Reader, Self::Writer]
            .into_iter()
            .find(|role| role.as_str() == word)
    }
}

/// A user's standing access to a space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The space.
    pub space: SpaceId,
    /// What the user may do there.
    pub role: Role,
}

/// A verified user, with the label of the client that speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The `sub` of the verified token.
    pub user: UserId,
    /// What the client calls itself; proven by nothing.
    pub client: ClientId,
}

/// What one caller reaches at this moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    personal: Scope,
    spaces: Vec<(Scope, Role)>,
}

impl Reach {
    /// What a verified user reaches with these grants.
    #[must_use]
    pub fn new(user: &UserId, grants: &[Grant]) -> Self {
        let mut spaces: Vec<_> = grants
            .iter()
            .map(|grant| (Scope(Audience::Space(grant.space.clone())), grant.role))
            .collect();
        spaces.sort_unstable();
        Self {
            personal: personal(user),
            spaces,
        }
    }

    /// The caller's own scope.
    #[must_use]
    pub fn personal(&self) -> &Scope {
        &self.personal
    }

    /// Every scope that the caller may read, the personal one first.
    pub fn readable(&self) -> impl Iterator<Item = &Scope> {
        std::iter::once(&self.personal).chain(self.spaces.iter().map(|(scope, _)| scope))
    }

    /// Every scope that the caller may write, the personal one first.
    pub fn writable(&self) -> impl Iterator<Item = &Scope> {
        let spaces = self
            .spaces
            .iter()
            .filter(|(_, role)| *role == Role::Writer)
            .map(|(scope, _)| scope);
        std::iter::once(&self.personal).chain(spaces)
    }

    /// The scope of a space, if the caller may write into it.
    #[must_use]
    pub fn writable_space(&self, space: &SpaceId) -> Option<&Scope> {
        self.writable().find(|scope| scope.space() == Some(space))
    }
}

/// The personal scope of a verified user: what every request locks first.
#[must_use]
pub fn personal(user: &UserId) -> Scope {
    Scope(Audience::User(user.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_comes_back_from_its_key() {
        let grant = Grant {
            space: SpaceId::new("u:x").expect("an identifier"),
            role: Role::Reader,
        };
        let reach = Reach::new(&UserId::new("s:x").expect("an identifier"), &[grant]);
        let keys: Vec<_> = reach.readable().map(Scope::key).collect();
        assert_eq!(keys, ["u:s:x", "s:u:x"]);
        for scope in reach.readable() {
            assert_eq!(Scope::from_key(&scope.key()).as_ref(), Some(scope));
        }
        for key in ["", "u", "u:", "x:y", "é"] {
            assert_eq!(Scope::from_key(key), None, "{key}");
        }
    }

    #[test]
    fn a_reader_of_a_space_does_not_write_into_it() {
        let space = |name| SpaceId::new(name).expect("an identifier");
        let grants = [
            Grant {
                space: space("read"),
                role: Role::Reader,
            },
            Grant {
                space: space("write"),
                role: Role::Writer,
            },
        ];
        let reach = Reach::new(&UserId::new("anna").expect("an identifier"), &grants);
        assert_eq!(
            reach.writable().map(Scope::key).collect::<Vec<_>>(),
            ["u:anna", "s:write"]
        );
        assert_eq!(reach.writable_space(&space("read")), None);
    }
}
