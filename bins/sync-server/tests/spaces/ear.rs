//! Those who listen: what a stream brings and a socket says, each waited for and never for ever.

use sync_client::{ChangeStream, ClientError, NoticeSocket, SocketEvent, StreamEvent};
use tokio::time::timeout;

use crate::waiting::PATIENCE;

/// A stream that is listened to.
pub(crate) struct Ear(pub(crate) ChangeStream);

/// What came, in its order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Heard {
    /// The records that were changed.
    pub(crate) ids: Vec<String>,
    /// The spaces to be purged.
    pub(crate) removed: Vec<String>,
}

impl Heard {
    /// Of these records, and no removal.
    pub(crate) fn only(ids: &[&str]) -> Self {
        Self {
            ids: ids.iter().map(|id| (*id).to_owned()).collect(),
            removed: Vec::new(),
        }
    }

    /// Of this removal, and nothing else.
    pub(crate) fn removed(space: &str) -> Self {
        Self {
            ids: Vec::new(),
            removed: vec![space.to_owned()],
        }
    }
}

impl Ear {
    /// Until its first word: it has read to the head, of a table in which there was nothing for it.
    pub(crate) async fn at_the_head(mut self) -> Self {
        let StreamEvent::Changes(page) = self.next().await.unwrap() else {
            panic!("the first word is of the table");
        };
        assert_eq!((page.changes, page.has_more), (Vec::new(), false));
        self
    }

    /// All that it hears, up to what brings this record.
    pub(crate) async fn hears_of(&mut self, id: &str) -> Heard {
        self.hears(|heard| heard.ids.iter().any(|own| own == id))
            .await
    }

    /// All that it hears, up to a removal.
    pub(crate) async fn hears_a_removal(&mut self) -> Heard {
        self.hears(|heard| !heard.removed.is_empty()).await
    }

    /// All that it hears until it is enough.
    pub(crate) async fn hears(&mut self, is_enough: impl Fn(&Heard) -> bool) -> Heard {
        let mut heard = Heard::default();
        while !is_enough(&heard) {
            match self.next().await.unwrap() {
                StreamEvent::Changes(page) => {
                    let ids = page.changes.iter().map(|change| change.id.to_string());
                    heard.ids.extend(ids);
                }
                StreamEvent::SpacesRemoved(spaces) => heard.removed.extend(spaces),
            }
        }
        heard
    }

    /// The next that comes, or why nothing does.
    pub(crate) async fn next(&mut self) -> Result<StreamEvent, ClientError> {
        let next = timeout(PATIENCE, self.0.next()).await;
        next.expect("the stream says something in time")
    }
}

/// The next that a socket says, or why it says nothing.
pub(crate) async fn said(socket: &mut NoticeSocket) -> Result<SocketEvent, ClientError> {
    let next = timeout(PATIENCE, socket.next()).await;
    next.expect("the socket says something in time")
}

/// The status and the code of a refusal.
pub(crate) fn refusal<T>(outcome: Result<T, ClientError>) -> Option<(u16, String)> {
    match outcome {
        Err(ClientError::Refused { status, error, .. }) => Some((status, error)),
        _ => None,
    }
}
