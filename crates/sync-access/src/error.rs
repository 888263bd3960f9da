//! What can go wrong, told apart by what the caller does about it.

/// Why a caller is not let in. `Display` is the text for the log, [`TokenError::client_message`]
/// the one for the client; neither holds any part of the token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// There is no `Authorization` header, or it is not `Bearer` followed by one token. The caller
    /// should sign in.
    #[error("no bearer token")]
    Missing,
    /// The token will never be good: the caller needs another one.
    #[error("invalid token: {reason}")]
    Invalid {
        /// What is wrong, in words that are safe to show to the client.
        reason: &'static str,
    },
    /// The token was good: the caller should renew it.
    #[error("the token has expired")]
    Expired,
    /// The token's `nbf` lies ahead: the caller, or this machine, should set its clock.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// Nobody can be let in, because no keys were ever had, or the time for which old ones count is
    /// over, or none are configured. It says nothing about the token: the caller should try again
    /// later.
    #[error("no keys to verify tokens with")]
    KeysUnavailable,
}

impl TokenError {
    /// The text for the client: what to do, and nothing about this server's neighbours.
    pub fn client_message(&self) -> &'static str {
        match self {
            Self::Missing => "send a token: Authorization: Bearer <token>",
            Self::Invalid { reason } => reason,
            Self::Expired => "the token has expired: sign in again",
            Self::NotYetValid => "the token is not valid yet: check the clock",
            Self::KeysUnavailable => "tokens cannot be verified at the moment: try again later",
        }
    }
}

/// A token that will never be good, and why.
pub(crate) fn invalid(reason: &'static str) -> TokenError {
    TokenError::Invalid { reason }
}

/// A setting that cannot work, in words for the operator; the only thing to do is to correct it and
/// start again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SetupError(pub(crate) String);

/// Why a service beside this one has told us nothing. `Display` is the text for the log: it holds
/// neither a key nor a user.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UpstreamError {
    /// No address names this user (`.` and `..` are no segments of a path); nobody was asked. It
    /// will never be otherwise.
    #[error("the user cannot be named in an address")]
    Unaskable,
    /// The service has failed too often of late; nobody was asked. It is tried again within seconds.
    #[error("the service is left alone for a while")]
    LeftAlone,
    /// There was no connection, or it broke.
    #[error("the service cannot be reached: {0}")]
    Unreachable(String),
    /// The whole answer was not there in time.
    #[error("the service takes too long")]
    TimedOut,
    /// The answer has another status than 200.
    #[error("the answer has status {0}")]
    Status(u16),
    /// The answer is not what it should be, or not about this user.
    #[error("the answer is of no use: {0}")]
    Nonsense(&'static str),
}

impl UpstreamError {
    /// Whether it says something about the service as a whole, and not only about one user.
    pub(crate) fn is_of_the_service(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::TimedOut => true,
            Self::Status(status) => *status >= 500,
            Self::Unaskable | Self::LeftAlone | Self::Nonsense(_) => false,
        }
    }
}

/// Why no answer about a user's memberships was taken; the grants stand as they are. `Display` is
/// the text for the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotSettled {
    /// The service has told nothing.
    #[error("memberships are not known: {0}")]
    Unanswered(#[from] UpstreamError),
    /// The service has answered, but whoever keeps grants could not take it, or is going down.
    #[error("memberships are known, but could not be taken")]
    NotTaken,
}
