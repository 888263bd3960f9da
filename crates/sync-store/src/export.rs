//! Everything that is kept of a user or of a space, page by page.

use sync_protocol::{AppId, Audience, EventId, Millis, UserId};

use crate::{Entry, Grant, ParkedChange, Position};

/// The most items of a page of an export.
pub const EXPORT_ITEMS: usize = 1000;
/// About the most bytes of a page of an export; it holds at least one item.
pub const EXPORT_BYTES: usize = 1024 * 1024;

/// A wish for one page of all that there is of a user or a space.
///
/// Each page is a snapshot of its own: what is there from the first page to the last is exported once, and what is written,
/// moved or removed in the meantime may be there or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// Whose.
    pub of: Audience,
    /// Where to go on.
    pub after: Place,
}

/// How far an export has come: opaque to whoever asks for the next page. The default is the beginning.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Behind the grant of this space (of a user), or of this user (of a space); an empty name is before all.
    Grants(String),
    /// Behind what was kept aside at this place.
    Parked(i64),
    /// Behind the change with this id among those that the user has written.
    Written(Option<EventId>),
    /// Behind this place among the live changes of a space.
    Live(Option<(AppId, Position)>),
    /// Behind this place among the dead changes of a space.
    Dead(Position),
}

/// A page of an export. It may be empty with more to come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exported {
    /// What it holds.
    pub items: Vec<Item>,
    /// Where the next page begins; `None` if this is the last.
    pub next: Option<Place>,
}

/// One thing that is kept of a user or a space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// The standing access of a user to a space, or that it was taken away.
    Grant(UserId, Grant),
    /// A change that can never be a row.
    Parked(AppId, ParkedChange),
    /// A row of the log, and since when it is dead if it is.
    Change(Box<Entry>, Option<Millis>),
}

impl Default for Place {
    fn default() -> Self {
        Self::Grants(String::new())
    }
}

impl Place {
    /// The part behind this one. A user has grants, what was kept aside and what it has written; a space has members and its
    /// changes, first the live ones.
    fn next_part(&self, of: &Audience) -> Option<Self> {
        match (self, of) {
            (Self::Grants(_), Audience::User(_)) => Some(Self::Parked(0)),
            (Self::Parked(_), _) => Some(Self::Written(None)),
            (Self::Grants(_), Audience::Space(_)) => Some(Self::Live(None)),
            (Self::Live(_), _) => Some(Self::Dead(Position::default())),
            (Self::Written(_) | Self::Dead(_), _) => None,
        }
    }

    /// The place behind an item that was found at a place of this kind; `parked` is where it was kept aside.
    #[must_use]
    pub fn behind(&self, item: &Item, of: &Audience, parked: i64) -> Self {
        match (self, item) {
            (_, Item::Grant(user, grant)) => Self::Grants(match of {
                Audience::User(_) => grant.space.to_string(),
                Audience::Space(_) => user.to_string(),
            }),
            (_, Item::Parked(..)) => Self::Parked(parked),
            (Self::Live(_), Item::Change(entry, _)) => {
                Self::Live(Some((entry.app.clone(), entry.position)))
            }
            (Self::Dead(_), Item::Change(entry, _)) => Self::Dead(entry.position),
            (_, Item::Change(entry, _)) => Self::Written(Some(entry.event_id)),
        }
    }
}

impl Item {
    /// About how many bytes it takes in memory, and as JSON.
    #[must_use]
    pub fn size(&self) -> usize {
        match self {
            Self::Grant(..) => 300,
            Self::Parked(_, parked) => parked.raw.as_str().len() + parked.reason.len() + 200,
            Self::Change(entry, _) => entry.written_size(),
        }
    }
}

impl Exported {
    /// The page that these items make, found in order behind the place of an export, each with the place behind it. A part of
    /// the export has come to its end when nothing is found in it any more.
    ///
    /// # Errors
    ///
    /// That of an item which cannot be read.
    pub fn fill<E>(
        export: &Export,
        found: impl IntoIterator<Item = Result<(Item, Place), E>>,
    ) -> Result<Self, E> {
        let mut page = Self {
            items: Vec::new(),
            next: export.after.next_part(&export.of),
        };
        let mut room = EXPORT_BYTES;
        for found in found {
            let (item, behind) = found?;
            let size = item.size();
            if page.items.len() == EXPORT_ITEMS || size > room && !page.items.is_empty() {
                break;
            }
            room = room.saturating_sub(size);
            page.items.push(item);
            page.next = Some(behind);
        }
        Ok(page)
    }
}
