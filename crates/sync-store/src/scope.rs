//! Who may see and write what: scopes, the roles that grants give, and what one caller reaches.

use std::fmt;

use sync_protocol::{Audience, ClientId, SpaceId, UserId};

use crate::cursor::Backlog;
use crate::{Cursor, Grant, Position};

/// Who may see a change: one user, or the members of one space. Each stored change is in exactly one scope.
///
/// A value is made only by [`Reach`], from a verified caller and the grants that the store holds, by a store that reads back
/// what it has written, or by [`whole`] for the operator.
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
    spaces: Vec<Joined>,
    /// The spaces that the caller has left, and where.
    left: Vec<(SpaceId, Position)>,
}

/// A space that the caller may read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Joined {
    scope: Scope,
    role: Role,
    /// Where the space's range begins.
    at: Position,
}

/// A part of a scope that a page may have rows of: those with `after < position <= until`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// The scope, locked for reading or writing.
    pub scope: Scope,
    /// The position behind which it begins.
    pub after: Position,
    /// Its last position.
    pub until: Position,
    /// The grant at which its rows are read, in the order of their positions: they were there before the reader joined.
    /// Own rows are among them. Without a grant they are read at their own positions.
    pub joined: Option<Position>,
}

impl Reach {
    /// What a verified user reaches with these grants.
    #[must_use]
    pub fn new(user: &UserId, grants: &[Grant]) -> Self {
        let mut reach = Self {
            personal: personal(user),
            spaces: Vec::with_capacity(grants.len()),
            left: Vec::new(),
        };
        for grant in grants {
            let (space, at) = (grant.space.clone(), grant.position);
            match grant.role {
                Some(role) => reach.spaces.push(Joined {
                    scope: Scope(Audience::Space(space)),
                    role,
                    at,
                }),
                None => reach.left.push((space, at)),
            }
        }
        reach.spaces.sort_unstable();
        reach
    }

    /// As if these scopes had all been granted, for reading and for writing. Only for tests that take the first wall down, to
    /// see whether the second one holds alone.
    #[must_use]
    pub fn unwalled(mut self, scopes: &[Scope]) -> Self {
        let at = |scope: &Scope| {
            let known = self.spaces.iter().find(|joined| joined.scope == *scope);
            known.map_or(Position(0), |joined| joined.at)
        };
        let all = scopes.iter().filter(|scope| **scope != self.personal);
        let all = all.map(|scope| Joined {
            scope: scope.clone(),
            role: Role::Writer,
            at: at(scope),
        });
        self.spaces = all.collect();
        self.spaces.sort_unstable();
        self
    }

    /// The caller's own scope.
    #[must_use]
    pub fn personal(&self) -> &Scope {
        &self.personal
    }

    /// Every scope that the caller may read, the personal one first.
    pub fn readable(&self) -> impl Iterator<Item = &Scope> {
        std::iter::once(&self.personal).chain(self.spaces.iter().map(|joined| &joined.scope))
    }

    /// Every scope that the caller may write, the personal one first.
    pub fn writable(&self) -> impl Iterator<Item = &Scope> {
        std::iter::once(&self.personal).chain(self.of_role(Role::Writer))
    }

    /// The spaces that the caller may read and not write.
    pub(crate) fn only_readable(&self) -> impl Iterator<Item = &Scope> {
        self.of_role(Role::Reader)
    }

    fn of_role(&self, role: Role) -> impl Iterator<Item = &Scope> {
        let spaces = self.spaces.iter().filter(move |joined| joined.role == role);
        spaces.map(|joined| &joined.scope)
    }

    /// The scope of a space, if the caller may write into it.
    #[must_use]
    pub fn writable_space(&self, space: &SpaceId) -> Option<&Scope> {
        self.writable().find(|scope| scope.space() == Some(space))
    }

    /// Where the grants have changed last: a cursor that stands there or behind knows of all of them.
    #[must_use]
    pub fn newest(&self) -> Position {
        let joined = self.spaces.iter().map(|joined| joined.at);
        let left = self.left.iter().map(|(_, at)| *at);
        joined.chain(left).max().unwrap_or_default()
    }

    /// The spaces that whoever has read up to here has to be told to have been left.
    pub(crate) fn left_behind(&self, since: Cursor) -> Vec<SpaceId> {
        let left = self.left.iter().filter(|(_, at)| *at > since.position());
        left.map(|(space, _)| space.clone()).collect()
    }

    /// What is to be read from a cursor on, up to a position: what a space held when the caller joined comes at the grant.
    pub(crate) fn stretches(&self, since: Cursor, until: Position) -> Vec<Stretch> {
        let live = |scope: &Scope, after| Stretch {
            scope: scope.clone(),
            after,
            until,
            joined: None,
        };
        let mut stretches = vec![live(&self.personal, since.position())];
        for Joined { scope, at, .. } in &self.spaces {
            match since.backlog(*at) {
                Backlog::Read => stretches.push(live(scope, since.position())),
                Backlog::After(after) => {
                    stretches.push(Stretch {
                        scope: scope.clone(),
                        after,
                        until: *at,
                        joined: Some(*at),
                    });
                    stretches.push(live(scope, *at));
                }
            }
        }
        stretches.retain(|stretch| stretch.after < stretch.until);
        stretches
    }
}

/// The personal scope of a verified user: what every request locks first.
#[must_use]
pub fn personal(user: &UserId) -> Scope {
    Scope(Audience::User(user.clone()))
}

/// The scope of a user or a space, for the operator's own work: exporting and erasing. No request of a client comes here.
#[must_use]
pub fn whole(of: &Audience) -> Scope {
    Scope(of.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space(name: &str) -> SpaceId {
        SpaceId::new(name).expect("an identifier")
    }

    fn reach(user: &str, grants: &[(&str, Option<Role>, i64)]) -> Reach {
        let grants: Vec<_> = grants
            .iter()
            .map(|(name, role, at)| Grant {
                role: *role,
                ..Grant::new(space(name), Position(*at))
            })
            .collect();
        Reach::new(&UserId::new(user).expect("an identifier"), &grants)
    }

    #[test]
    fn a_scope_comes_back_from_its_key() {
        let reach = reach("s:x", &[("u:x", Some(Role::Reader), 1)]);
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
    fn a_reader_of_a_space_does_not_write_into_it_and_nobody_reaches_what_was_left() {
        let reach = reach(
            "anna",
            &[
                ("read", Some(Role::Reader), 1),
                ("write", Some(Role::Writer), 2),
                ("left", None, 3),
            ],
        );
        let keys = |scopes: Vec<&Scope>| scopes.into_iter().map(Scope::key).collect::<Vec<_>>();
        assert_eq!(keys(reach.writable().collect()), ["u:anna", "s:write"]);
        assert_eq!(
            keys(reach.readable().collect()),
            ["u:anna", "s:read", "s:write"]
        );
        assert_eq!(reach.writable_space(&space("read")), None);
        assert_eq!(reach.writable_space(&space("left")), None);
        assert_eq!(reach.newest(), Position(3));
    }

    #[test]
    fn what_a_space_held_is_read_at_the_grant_and_what_comes_behind_it() {
        let reach = reach("anna", &[("club", Some(Role::Reader), 50)]);
        let read = |since| {
            let stretches = reach.stretches(since, Position(90)).into_iter();
            let told = |part: Stretch| {
                let Stretch {
                    scope,
                    after,
                    until,
                    joined,
                } = part;
                (scope.key(), after.0, until.0, joined.map(|at| at.0))
            };
            stretches.map(told).collect::<Vec<_>>()
        };
        let (own, club) = (|| "u:anna".to_owned(), || "s:club".to_owned());
        let since = |nanos| Cursor::at(Position(nanos));
        assert_eq!(
            read(since(10)),
            [
                (own(), 10, 90, None),
                (club(), 0, 50, Some(50)),
                (club(), 50, 90, None)
            ]
        );
        assert_eq!(
            read(since(10).behind(Position(7), Some(Position(50)), Position(50))),
            [
                (own(), 49, 90, None),
                (club(), 7, 50, Some(50)),
                (club(), 50, 90, None)
            ]
        );
        assert_eq!(
            read(since(50)),
            [(own(), 50, 90, None), (club(), 50, 90, None)]
        );
        assert_eq!(
            read(Cursor::BEGINNING),
            [(own(), 0, 90, None), (club(), 0, 90, None)]
        );
        assert_eq!(read(since(90)), []);
    }

    #[test]
    fn who_has_read_less_is_told_what_was_left() {
        let reach = reach("anna", &[("club", None, 50)]);
        assert_eq!(reach.left_behind(Cursor::at(Position(49))), [space("club")]);
        assert_eq!(reach.left_behind(Cursor::at(Position(50))), []);
    }
}
