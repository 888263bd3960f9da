//! Who may see a change.

use crate::{SpaceId, UserId};

/// Who may see a change: one user, or the members of one space.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Audience {
    /// A user.
    User(UserId),
    /// The members of a space.
    Space(SpaceId),
}
