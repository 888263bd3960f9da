//! Every way in which a request is refused: the one place that knows status, code and text.

use axum::http::header::{
    ALLOW, CONNECTION, RETRY_AFTER, SEC_WEBSOCKET_VERSION, UPGRADE, WWW_AUTHENTICATE,
};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use sync_access::TokenError;
use sync_protocol::rows::{DownloadError, UploadError};
use sync_protocol::{AppId, ChangesetError, ErrorBody, IdentError, MAX_BODY_BYTES, TableName};
use sync_store::StoreError;

use crate::rates::TooOften;
use crate::reply;

/// After how many seconds a client should try again what failed for the moment.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("5");

/// Why a request is not answered as asked. `Display` is the text for the client.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("there is nothing at this path")]
    UnknownPath,
    #[error("this path does not take this method: see the Allow header")]
    WrongMethod,
    #[error("this path takes GET only")]
    NotGet,
    #[error("{}", .0.client_message())]
    Token(#[from] TokenError),
    #[error("the app id {0}")]
    AppId(IdentError),
    #[error("the subscription is not active: activate sync, then try again")]
    Inactive,
    #[error("send the key of a service as X-Service-Key")]
    ServiceKey,
    #[error("no membership service is set (MANA_AUTH_URL): there is nobody to ask")]
    NoMemberships,
    #[error("the membership service did not say: try again")]
    Memberships,
    #[error("X-Client-Id {0}")]
    ClientId(String),
    #[error("{0}")]
    Parameter(String),
    #[error("send gzip, zstd or no Content-Encoding")]
    Coding,
    #[error(
        "the body has more than {MAX_BODY_BYTES} bytes, as sent or unpacked: push fewer changes at once"
    )]
    TooLarge,
    #[error("the body took too long to arrive: try again")]
    SlowBody,
    #[error("too many large requests at once: try again")]
    Busy,
    #[error("this user has as many streams and sockets open as one may have: close some")]
    Crowded,
    #[error("this address has as many connections open as one may have: close some")]
    CrowdedAddress,
    /// With what the log should say about it.
    #[error("{0}")]
    TooOften(TooOften, Option<&'static str>),
    #[error("this path speaks WebSocket (RFC 6455): {0}")]
    NoWebSocket(&'static str),
    #[error("pages of this origin may not connect: the server's CORS_ORIGINS has to name it")]
    Origin,
    #[error("the body is cut off or cannot be unpacked: send it again")]
    BrokenBody,
    #[error("{0}")]
    Changeset(#[from] ChangesetError),
    /// What rows clients and those who sign in have asked for cannot be done.
    #[error("{0}")]
    Request(String),
    #[error("there is no such failure: it may have been mended")]
    UnknownFailure,
    #[error("another retry of this failure is under way: wait for it")]
    RetryBusy,
    #[error(
        "nobody writes rows of {0}.{1} into a business table: describe it in SYNC_TABLES, then try again"
    )]
    NoHandler(AppId, TableName),
    #[error("{}", store_text(.0))]
    Store(#[from] StoreError),
    #[error("the request took too long: try again")]
    TimeLimit,
    #[error("not ready: {0}")]
    NotReady(String),
    #[error("something is broken here; the request id helps to find it")]
    Broken(String),
}

fn store_text(error: &StoreError) -> &str {
    match error {
        StoreError::Unavailable(_) => "the database is away or busy: try again",
        StoreError::TooLarge(text) => text,
        StoreError::Fault(_) => "something is broken here; the request id helps to find it",
    }
}

/// What the log tells about a refused request; it travels beside the answer.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    /// The code that the client was told.
    pub(crate) code: &'static str,
    /// What the client was not told.
    pub(crate) detail: Option<String>,
}

impl From<UploadError> for Refusal {
    fn from(error: UploadError) -> Self {
        Self::Request(error.to_string())
    }
}

impl From<DownloadError> for Refusal {
    fn from(error: DownloadError) -> Self {
        Self::Request(error.to_string())
    }
}

impl Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Self::UnknownPath | Self::UnknownFailure => StatusCode::NOT_FOUND,
            Self::WrongMethod | Self::NotGet => StatusCode::METHOD_NOT_ALLOWED,
            Self::Token(TokenError::KeysUnavailable) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Token(_) | Self::ServiceKey => StatusCode::UNAUTHORIZED,
            Self::Inactive => StatusCode::PAYMENT_REQUIRED,
            Self::NoMemberships => StatusCode::NOT_IMPLEMENTED,
            Self::AppId(_)
            | Self::ClientId(_)
            | Self::Parameter(_)
            | Self::BrokenBody
            | Self::Changeset(_)
            | Self::Request(_) => StatusCode::BAD_REQUEST,
            Self::Coding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge | Self::Store(StoreError::TooLarge(_)) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::SlowBody => StatusCode::REQUEST_TIMEOUT,
            Self::Crowded | Self::CrowdedAddress | Self::TooOften(..) => {
                StatusCode::TOO_MANY_REQUESTS
            }
            Self::RetryBusy => StatusCode::CONFLICT,
            Self::NoWebSocket(_) => StatusCode::UPGRADE_REQUIRED,
            Self::Origin => StatusCode::FORBIDDEN,
            Self::Store(StoreError::Unavailable(_))
            | Self::Busy
            | Self::Memberships
            | Self::TimeLimit
            | Self::NotReady(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Store(StoreError::Fault(_)) | Self::Broken(_) | Self::NoHandler(..) => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        }
    }

    /// The stable code, for programs.
    fn code(&self) -> &'static str {
        match self {
            Self::UnknownPath | Self::UnknownFailure => "not_found",
            Self::WrongMethod | Self::NotGet => "method_not_allowed",
            Self::Token(TokenError::Missing) => "token_missing",
            Self::Token(TokenError::Invalid { .. }) => "token_invalid",
            Self::Token(TokenError::Expired) => "token_expired",
            Self::Token(TokenError::NotYetValid) => "token_not_yet_valid",
            Self::Token(TokenError::KeysUnavailable) => "keys_unavailable",
            Self::AppId(_) => "invalid_app_id",
            Self::Inactive => "sync_inactive",
            Self::ServiceKey => "service_key_invalid",
            Self::NoMemberships => "memberships_off",
            Self::Memberships => "memberships_unavailable",
            Self::ClientId(_) => "invalid_client_id",
            Self::Parameter(_) => "invalid_parameter",
            Self::Coding => "unsupported_encoding",
            Self::TooLarge => "body_too_large",
            Self::SlowBody => "body_too_slow",
            Self::Busy => "server_busy",
            Self::Crowded | Self::CrowdedAddress => "too_many_connections",
            Self::TooOften(..) => "rate_limited",
            Self::NoWebSocket(_) => "upgrade_required",
            Self::Origin => "origin_not_allowed",
            Self::BrokenBody => "body_broken",
            Self::Changeset(ChangesetError::Json(_)) => "invalid_json",
            Self::Changeset(ChangesetError::Invalid(_)) => "invalid_changeset",
            Self::Request(_) => "invalid_request",
            Self::RetryBusy => "retry_in_progress",
            Self::NoHandler(..) => "retry_failed",
            Self::Store(StoreError::Unavailable(_)) => "store_unavailable",
            Self::Store(StoreError::TooLarge(_)) => "too_large",
            Self::TimeLimit => "time_limit",
            Self::NotReady(_) => "not_ready",
            Self::Store(StoreError::Fault(_)) | Self::Broken(_) => "internal_error",
        }
    }

    /// What is for the log alone.
    fn detail(&self) -> Option<String> {
        match self {
            Self::Token(error) => Some(error.to_string()),
            Self::Store(error) => Some(error.to_string()),
            Self::NotReady(detail) | Self::Broken(detail) => Some(detail.clone()),
            Self::TooOften(_, hint) => hint.map(str::to_owned),
            _ => None,
        }
    }

    /// When to come again, with what passes by itself.
    fn retry_after(&self) -> Option<HeaderValue> {
        match (self, self.status()) {
            (Self::TooOften(over, _), _) => Some(over.seconds().into()),
            (_, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) => {
                Some(RETRY_AFTER_SECONDS)
            }
            _ => None,
        }
    }

    /// What a 401 asks for (RFC 6750, 3).
    fn challenge(&self) -> Option<HeaderValue> {
        let challenge = match self {
            Self::Token(TokenError::KeysUnavailable) => return None,
            Self::Token(TokenError::Missing) => r#"Bearer realm="sync""#.to_owned(),
            Self::ServiceKey => r#"ServiceKey realm="sync""#.to_owned(),
            Self::Token(error) => format!(
                r#"Bearer realm="sync", error="invalid_token", error_description="{}""#,
                error.client_message()
            ),
            _ => return None,
        };
        HeaderValue::from_str(&challenge).ok()
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, code) = (self.status(), self.code());
        let body = ErrorBody {
            error: code.to_owned(),
            message: self.to_string(),
        };
        let mut response = reply::with_status(status, &body);
        let headers = response.headers_mut();
        if let Some(challenge) = self.challenge() {
            headers.insert(WWW_AUTHENTICATE, challenge);
        }
        if let Some(seconds) = self.retry_after() {
            headers.insert(RETRY_AFTER, seconds);
        }
        if let Self::NotGet = &self {
            headers.insert(ALLOW, HeaderValue::from_static("GET"));
        }
        if let Self::NoWebSocket(_) = &self {
            headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        }
        let detail = self.detail();
        response.extensions_mut().insert(Failure { code, detail });
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_outcome_of_a_retry_has_the_status_that_rows_clients_know() {
        let app = || AppId::new("business").expect("a name");
        let table = || TableName::new("users").expect("a name");
        for (refusal, status, code) in [
            (Refusal::UnknownFailure, 404, "not_found"),
            (Refusal::RetryBusy, 409, "retry_in_progress"),
            (Refusal::NoHandler(app(), table()), 500, "retry_failed"),
        ] {
            assert_eq!((refusal.status().as_u16(), refusal.code()), (status, code));
        }
        let text = Refusal::NoHandler(app(), table()).to_string();
        assert!(text.contains("business.users") && text.contains("SYNC_TABLES"));
    }
}
