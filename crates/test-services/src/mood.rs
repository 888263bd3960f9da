//! How a service behaves.

use std::time::Duration;

use serde::Deserialize;

/// One of the two services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Service {
    /// Says whether a user's sync is paid for.
    Billing,
    /// Says which spaces a user is in, and as what.
    Memberships,
}

/// What a service does with a request that it understands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Mood {
    /// Answers as it should.
    #[default]
    Well,
    /// Answers as it should, after so long.
    Slow(Duration),
    /// Makes the answer as it should, and sends it when [`Services::release`](crate::Services::release) is called: what
    /// is changed in between is not in it.
    Hold,
    /// Closes the connection without a word.
    Down,
    /// Well, then status 500, then well again, from request to request.
    Flapping,
    /// Answers with this status and a body that would be right with 200.
    Status(u16),
    /// Answers 302 to this address.
    Redirect(String),
    /// Answers 200 with this body.
    Body(String),
    /// Answers 200 with JSON of another shape.
    WrongJson,
    /// Answers as it should, but about another user than the one asked about.
    AnotherUser,
    /// The right answer with white space behind it, so many bytes in all (or as many as it needs).
    Padded(usize),
    /// Answers 200 and never stops to send.
    Endless,
    /// Breaks off in the middle of the right answer.
    Cut,
}
