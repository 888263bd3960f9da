//! One connection that listens.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use sync_protocol::{Audience, ClientId, SpaceId, UserId};

use crate::mailbox::Mailbox;
use crate::{Hub, Waiting};

/// A connection that is told of what its user may see. It listens until it is dropped.
pub struct Listener {
    hub: Arc<Hub>,
    mailbox: Arc<Mailbox>,
    user: UserId,
    spaces: BTreeSet<SpaceId>,
}

impl Listener {
    pub(crate) fn new(hub: Arc<Hub>, mailbox: Arc<Mailbox>, user: UserId) -> Self {
        Self {
            hub,
            mailbox,
            user,
            spaces: BTreeSet::new(),
        }
    }

    /// The spaces that it listens to beside its user's own changes; at first none.
    #[must_use]
    pub fn spaces(&self) -> &BTreeSet<SpaceId> {
        &self.spaces
    }

    /// Listens to these spaces and to no others, and forgets what waits of those that were left. The caller has the grants that
    /// say so.
    pub fn set_spaces(&mut self, spaces: BTreeSet<SpaceId>) {
        for left in self.spaces.difference(&spaces) {
            let audience = Audience::Space(left.clone());
            self.hub.leave(&audience, &self.mailbox);
            self.mailbox.forget(&audience);
        }
        for joined in spaces.difference(&self.spaces) {
            let audience = Audience::Space(joined.clone());
            self.hub.join(audience, &self.mailbox);
        }
        self.spaces = spaces;
    }

    /// From now on writes of this client are those that it need not be told of.
    pub fn set_client(&self, client: Option<ClientId>) {
        self.mailbox.set_client(client);
    }

    /// Whether the user is gone, so that the connection is to be closed; [`Listener::waiting`] says so, too.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.mailbox.is_gone()
    }

    /// Waits until there is something to see, and gives all that was told since the last time. Dropped while it waits, it
    /// loses nothing.
    pub async fn waiting(&self) -> Waiting {
        self.mailbox.take().await
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.set_spaces(BTreeSet::new());
        self.hub.gone(&self.user, &self.mailbox);
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Listener")
            .field("user", &self.user)
            .field("spaces", &self.spaces)
            .finish_non_exhaustive()
    }
}
