//! Grants: the last word of whoever keeps memberships, and what it changes (`semantics.md`, Scopes, spaces and grants).

use std::collections::{BTreeMap, BTreeSet};

use sync_protocol::{Millis, SpaceId, UserId};

use crate::{Position, Role};

/// How long after an answer that lacks a space a second one must lack it, too, to count, in milliseconds.
pub const DOUBT_MILLIS: i64 = 30_000;
/// An answer that was asked for before one that has been taken says nothing any more, if it may have been under way for
/// so long, in milliseconds. Of answers further apart the clocks of their nodes differ.
const UNDER_WAY_MILLIS: i64 = 60_000;

/// A user's standing access to a space, or that it was taken away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The space.
    pub space: SpaceId,
    /// What the user may do there; `None` since it was taken away.
    pub role: Option<Role>,
    /// Where the space's range begins for the user, or where it ended. A change of role does not move it.
    pub position: Position,
    /// When the answer was asked for that said so.
    pub asked: Millis,
    /// When an answer was asked for that lacks the space, if the last one did.
    pub doubted: Option<Millis>,
}

impl Grant {
    /// One that was taken away at a position, by an answer of long ago.
    #[must_use]
    pub fn new(space: SpaceId, position: Position) -> Self {
        Self {
            space,
            role: None,
            position,
            asked: Millis(0),
            doubted: None,
        }
    }
}

/// What was said of a user's spaces: all of them, with roles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// The user.
    pub user: UserId,
    /// The spaces.
    pub spaces: BTreeMap<SpaceId, Role>,
    /// When it was asked for.
    pub asked: Millis,
    /// On what occasion.
    pub occasion: Occasion,
}

/// On what occasion memberships are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occasion {
    /// They are asked for now and then. A space that is missing is taken away when a second answer agrees.
    Refresh,
    /// They were said to have changed. Whatever they say counts at once.
    Announcement,
}

/// What became of a user's grants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Regranted {
    /// The spaces that the user may read from now on.
    pub joined: BTreeSet<SpaceId>,
    /// The spaces that the user may read no more.
    pub left: BTreeSet<SpaceId>,
    /// The spaces in which the user's role is another one.
    pub roles: BTreeSet<SpaceId>,
    /// The spaces that were missing, and are kept until a second answer agrees.
    pub doubted: BTreeSet<SpaceId>,
}

impl Regranted {
    /// Whether the user reaches something else than before.
    #[must_use]
    pub fn has_changed(&self) -> bool {
        !(self.joined.is_empty() && self.left.is_empty() && self.roles.is_empty())
    }
}

/// What an answer changes of the grants that are known: what a store writes, in one transaction.
#[derive(Clone, Debug, Default)]
pub struct Regrant {
    /// The grants to be written over, and whether each gets a position of its own.
    changed: Vec<(Grant, Moves)>,
    outcome: Regranted,
}

/// Whether a grant gets a new position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moves {
    Yes,
    No,
}

impl Regrant {
    /// What an answer changes of these grants.
    #[must_use]
    pub fn new(known: &[Grant], membership: &Membership) -> Self {
        let mut regrant = Self::default();
        for grant in known {
            // A removal that is announced counts whatever the clocks of nodes say.
            let is_removal = membership.occasion == Occasion::Announcement
                && !membership.spaces.contains_key(&grant.space);
            let was_under_way = (1..=UNDER_WAY_MILLIS)
                .contains(&(grant.asked.0 - membership.asked.0))
                && !is_removal;
            if was_under_way {
                // Two answers that differ: a third one is asked for soon.
                if membership.spaces.get(&grant.space) != grant.role.as_ref() {
                    regrant.outcome.doubted.insert(grant.space.clone());
                }
                continue;
            }
            match (membership.spaces.get(&grant.space), grant.role) {
                (Some(role), None) => regrant.join(grant.clone(), *role, membership),
                (Some(role), Some(_)) => regrant.confirm(grant.clone(), *role, membership),
                (None, Some(_)) => regrant.miss(grant.clone(), membership),
                (None, None) => regrant.confirm_leave(grant.clone(), membership),
            }
        }
        let known: BTreeSet<_> = known.iter().map(|grant| &grant.space).collect();
        for (space, role) in &membership.spaces {
            if !known.contains(space) {
                let unknown = Grant::new(space.clone(), Position(0));
                regrant.join(unknown, *role, membership);
            }
        }
        regrant
    }

    /// Takes a space away, or all of them if none is named, whatever was said of it before.
    #[must_use]
    pub fn away(known: &[Grant], space: Option<&SpaceId>, asked: Millis) -> Self {
        let mut regrant = Self::default();
        let is_meant = |grant: &&Grant| space.is_none_or(|space| *space == grant.space);
        let held = known.iter().filter(is_meant);
        for grant in held.filter(|grant| grant.role.is_some()) {
            regrant.take_away(grant, asked);
        }
        regrant
    }

    fn join(&mut self, grant: Grant, role: Role, membership: &Membership) {
        self.outcome.joined.insert(grant.space.clone());
        let joined = Grant {
            role: Some(role),
            asked: membership.asked,
            doubted: None,
            ..grant
        };
        self.changed.push((joined, Moves::Yes));
    }

    fn confirm(&mut self, mut grant: Grant, role: Role, membership: &Membership) {
        let was_doubted = grant.doubted.take().is_some();
        let is_other_role = grant.role.replace(role) != Some(role);
        if is_other_role {
            grant.asked = membership.asked;
            self.outcome.roles.insert(grant.space.clone());
        }
        if was_doubted || is_other_role {
            self.changed.push((grant, Moves::No));
        }
    }

    fn miss(&mut self, mut grant: Grant, membership: &Membership) {
        let asked = membership.asked;
        let agrees = |first: Millis| asked.0.saturating_sub(first.0) >= DOUBT_MILLIS;
        if membership.occasion == Occasion::Announcement || grant.doubted.is_some_and(agrees) {
            return self.take_away(&grant, asked);
        }
        self.outcome.doubted.insert(grant.space.clone());
        if grant.doubted.is_none() {
            grant.doubted = Some(asked);
            self.changed.push((grant, Moves::No));
        }
    }

    fn take_away(&mut self, grant: &Grant, asked: Millis) {
        self.outcome.left.insert(grant.space.clone());
        let left = Grant {
            asked,
            ..Grant::new(grant.space.clone(), grant.position)
        };
        self.changed.push((left, Moves::Yes));
    }

    /// An announcement says once more that the user has left: answers that were under way then do not undo it.
    fn confirm_leave(&mut self, mut grant: Grant, membership: &Membership) {
        if membership.occasion == Occasion::Announcement && grant.asked < membership.asked {
            grant.asked = membership.asked;
            self.changed.push((grant, Moves::No));
        }
    }

    /// Whether there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changed.is_empty()
    }

    /// How many positions to draw.
    #[must_use]
    pub fn positions(&self) -> usize {
        let moves = |(_, moves): &&(Grant, Moves)| *moves == Moves::Yes;
        self.changed.iter().filter(moves).count()
    }

    /// The grants to be written over, if the first of the positions drawn is `base` and the others follow it; and what
    /// became of all.
    #[must_use]
    pub fn grants(self, base: Position) -> (Vec<Grant>, Regranted) {
        let mut next = base;
        let placed = |(mut grant, moves): (Grant, Moves)| {
            if moves == Moves::Yes {
                grant.position = next;
                next.0 += 1;
            }
            grant
        };
        (self.changed.into_iter().map(placed).collect(), self.outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space(name: &str) -> SpaceId {
        SpaceId::new(name).expect("an identifier")
    }

    fn spaces(names: &[&str]) -> BTreeSet<SpaceId> {
        names.iter().map(|name| space(name)).collect()
    }

    /// Grants, changed by answers that were asked for at these seconds.
    #[derive(Default)]
    struct Held {
        grants: Vec<Grant>,
        clock: i64,
    }

    impl Held {
        fn told(&mut self, second: i64, occasion: Occasion, roles: &[(&str, Role)]) -> Regranted {
            let membership = Membership {
                user: UserId::new("anna").expect("an identifier"),
                spaces: roles
                    .iter()
                    .map(|(name, role)| (space(name), *role))
                    .collect(),
                asked: Millis(second * 1000),
                occasion,
            };
            let regrant = Regrant::new(&self.grants, &membership);
            let base = Position(self.clock + 1);
            self.clock += i64::try_from(regrant.positions()).expect("a few");
            let (changed, outcome) = regrant.grants(base);
            for grant in changed {
                self.grants.retain(|known| known.space != grant.space);
                self.grants.push(grant);
            }
            outcome
        }

        fn refreshed(&mut self, second: i64, roles: &[(&str, Role)]) -> Regranted {
            self.told(second, Occasion::Refresh, roles)
        }

        fn held(&self) -> Vec<(&str, Option<Role>, i64)> {
            let told = |grant: &'_ Grant| (grant.role, grant.position.0);
            let grants = self.grants.iter();
            let mut held: Vec<_> = grants
                .map(|grant| (grant.space.as_str(), told(grant).0, told(grant).1))
                .collect();
            held.sort_unstable();
            held
        }
    }

    #[test]
    fn each_space_is_joined_at_a_position_of_its_own_and_keeps_it_when_the_role_changes() {
        let mut held = Held::default();
        let joined = held.refreshed(0, &[("a", Role::Writer), ("b", Role::Reader)]);
        assert_eq!(joined.joined, spaces(&["a", "b"]));
        let changed = held.refreshed(1, &[("a", Role::Reader), ("b", Role::Reader)]);
        assert_eq!(changed.roles, spaces(&["a"]));
        assert_eq!(
            held.held(),
            [("a", Some(Role::Reader), 1), ("b", Some(Role::Reader), 2)]
        );
        assert!(
            !held
                .refreshed(2, &[("a", Role::Reader), ("b", Role::Reader)])
                .has_changed()
        );
    }

    #[test]
    fn a_removal_counts_when_a_second_answer_half_a_minute_later_agrees() {
        let mut held = Held::default();
        held.refreshed(0, &[("a", Role::Writer)]);
        for second in [100, 101, 129] {
            let doubted = held.refreshed(second, &[]);
            assert_eq!(
                (doubted.has_changed(), doubted.doubted),
                (false, spaces(&["a"]))
            );
        }
        assert_eq!(held.refreshed(130, &[]).left, spaces(&["a"]));
        assert_eq!(held.held(), [("a", None, 2)]);
        assert!(!held.refreshed(500, &[]).has_changed());
        assert_eq!(
            held.refreshed(600, &[("a", Role::Reader)]).joined,
            spaces(&["a"])
        );
        assert_eq!(held.held(), [("a", Some(Role::Reader), 3)]);
    }

    #[test]
    fn an_answer_that_was_wrong_once_takes_nothing_away() {
        let mut held = Held::default();
        held.refreshed(0, &[("a", Role::Writer)]);
        for second in [100, 1000, 2000] {
            assert!(!held.refreshed(second, &[]).has_changed());
            assert!(
                !held
                    .refreshed(second + 100, &[("a", Role::Writer)])
                    .has_changed()
            );
        }
        assert_eq!(held.held(), [("a", Some(Role::Writer), 1)]);
    }

    #[test]
    fn a_removal_that_is_announced_counts_at_once() {
        let mut held = Held::default();
        held.refreshed(0, &[("a", Role::Writer)]);
        assert_eq!(
            held.told(1, Occasion::Announcement, &[]).left,
            spaces(&["a"])
        );
    }

    #[test]
    fn an_answer_that_was_under_way_meanwhile_says_nothing() {
        let mut held = Held::default();
        held.refreshed(0, &[("a", Role::Writer)]);
        held.told(100, Occasion::Announcement, &[]);
        assert!(!held.refreshed(99, &[("a", Role::Writer)]).has_changed());
        held.told(150, Occasion::Announcement, &[]);
        assert!(!held.refreshed(149, &[("a", Role::Writer)]).has_changed());
        // A clock that is behind by more than any answer takes does not lock the user out.
        assert!(held.refreshed(89, &[("a", Role::Writer)]).has_changed());
    }
}
