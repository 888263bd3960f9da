//! What is told: that somebody wrote something that an audience may see, that somebody may now see something
//! else, or that somebody is gone.

use std::collections::BTreeSet;

use sync_protocol::{AppId, Audience, ClientId, TableName, UserId};

/// The client that wrote a change. Its own connections are not told.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Writer {
    /// The verified user.
    pub user: UserId,
    /// What the client calls itself; an empty name is nobody's.
    pub client: ClientId,
}

/// Something was committed that an audience may see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Who may see it.
    pub audience: Audience,
    /// The app.
    pub app: AppId,
    /// Its tables that have changes; never none.
    pub tables: BTreeSet<TableName>,
    /// Who need not be told; without one everybody is.
    pub writer: Option<Writer>,
    /// The greatest position of the changes. Within an audience positions rise in the order of the commits.
    pub position: i64,
}

/// What nodes tell each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// There are changes.
    Changes(Notice),
    /// What this user may see has changed: a space was joined or left.
    Access(UserId),
    /// This user is gone: whatever it has open is to be closed.
    Gone(UserId),
}

impl Notice {
    /// How many tables it has once it has taken up another one.
    pub(crate) fn tables_with(&self, other: &Self) -> usize {
        self.tables.len() + other.tables.difference(&self.tables).count()
    }

    /// Takes up another one of the same audience, app and writer.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.tables.extend(other.tables.iter().cloned());
        self.position = self.position.max(other.position);
    }
}
