//! What can happen in a [`World`](super::World).

/// What happens in a story, beside what always does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    /// How many things happen.
    pub(crate) steps: usize,
    /// Whether inserts come without times. Such records are the named exception while they are young.
    pub(crate) timeless: bool,
    /// Whether the first device is far ahead of the server: a named exception, too.
    pub(crate) ahead: bool,
    /// Whether a program that is no web client writes, too: deletes without time, times in other spellings.
    pub(crate) program: bool,
    /// Whether the devices belong to two users and write into a space of theirs.
    pub(crate) space: bool,
    /// Whether these users have roles in that space that change, and share personal records in it.
    pub(crate) members: bool,
    /// Whether they leave it, too. Then each change names its space: one that names none is taken for a personal one when
    /// its author is outside.
    pub(crate) leaves: bool,
    /// How many requests of a device can be under way at once.
    pub(crate) flights: usize,
    /// Whether databases get lost.
    pub(crate) wipes: bool,
    /// Whether the server forgets what is dead, and nobody undeletes: what was forgotten does not come back.
    pub(crate) sweeps: bool,
    /// Whether values are so large that few of them fill a page, and fewer the room for corrections.
    pub(crate) fat: bool,
}

impl Scenario {
    /// Web clients whose clocks are off by less than what is allowed.
    pub(crate) const PLAIN: Self = Self {
        steps: 120,
        timeless: false,
        ahead: false,
        program: false,
        space: false,
        members: false,
        leaves: false,
        flights: 3,
        wipes: true,
        sweeps: false,
        fat: false,
    };
}
