//! How nodes tell each other.

use crate::News;

/// Carries news from this node to the others. What it brings from them it hands to the [`Hub`](crate::Hub) itself.
///
/// A relay may lose news, and be away; the looks at the log make good for it.
pub trait Relay: Send + Sync + 'static {
    /// Hands over what was committed here. It never waits.
    fn publish(&self, news: News);

    /// Figures for operators.
    fn figures(&self) -> RelayFigures;
}

/// Figures of a relay, since the start of the node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RelayFigures {
    /// Whether it is connected, as far as it knows.
    pub is_up: bool,
    /// Messages sent, each with one piece of news or more.
    pub sent: u64,
    /// Messages received.
    pub received: u64,
    /// Pieces of news that it could not send, and messages that it could not read.
    pub lost: u64,
    /// How often a connection was lost or could not be made.
    pub failures: u64,
}
