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
