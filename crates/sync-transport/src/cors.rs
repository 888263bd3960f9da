//! Cross-origin requests of browsers: pages of the configured origins may call with credentials, others are not told
//! that they may.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::Response;

use crate::service::Shared;

const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST");
const HEADERS: HeaderValue =
    HeaderValue::from_static("authorization, content-type, last-event-id, x-client-id");
const EXPOSED: HeaderValue = HeaderValue::from_static("x-request-id, retry-after");
/// How many seconds a browser may remember the answer to a preflight.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");
const TRUE: HeaderValue = HeaderValue::from_static("true");
const VARY_PREFLIGHT: HeaderValue = HeaderValue::from_static(
    "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
);
const VARY_ORIGIN: HeaderValue = HeaderValue::from_static("Origin");

/// The origins of `CORS_ORIGINS`. The default has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins(Vec<HeaderValue>);

/// An entry of `CORS_ORIGINS` that is no origin, in words for the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no origin: name each as http(s)://host[:port], separated by commas")]
pub struct OriginError(String);

impl Origins {
    /// Reads a list separated by commas; empty entries are passed over, and a slash at the end of one.
    ///
    /// # Errors
    ///
    /// The first entry that is no origin. `*` is none: browsers refuse it with credentials.
    pub fn parse(list: &str) -> Result<Self, OriginError> {
        let entries = list.split(',').map(str::trim);
        let entries = entries.filter(|entry| !entry.is_empty());
        entries.map(origin).collect::<Result<_, _>>().map(Self)
    }

    /// Whether a socket with these headers may be opened: by a page of one of the origins, or by no page.
    pub(crate) fn allow(&self, headers: &HeaderMap) -> bool {
        !headers.contains_key(ORIGIN) || self.of(headers).is_some()
    }

    fn of<'a>(&self, headers: &'a HeaderMap) -> Option<&'a HeaderValue> {
        headers.get(ORIGIN).filter(|origin| self.0.contains(origin))
    }
}

/// Browsers write an origin in small letters.
fn origin(entry: &str) -> Result<HeaderValue, OriginError> {
    let refuse = || OriginError(entry.to_owned());
    let text = entry
        .strip_suffix('/')
        .unwrap_or(entry)
        .to_ascii_lowercase();
    let uri: Uri = text.parse().map_err(|_| refuse())?;
    let scheme = uri
        .scheme_str()
        .filter(|name| ["http", "https"].contains(name));
    let (Some(scheme), Some(authority)) = (scheme, uri.authority()) else {
        return Err(refuse());
    };
    if text != format!("{scheme}://{authority}") || authority.as_str().contains('@') {
        return Err(refuse());
    }
    HeaderValue::from_str(&text).map_err(|_| refuse())
}

/// Answers preflights, and says on every other answer whether the page may read it.
pub(crate) async fn cors(State(service): State<Shared>, request: Request, next: Next) -> Response {
    let origin = service.origins.of(request.headers()).cloned();
    if is_preflight(&request) {
        return preflight(origin);
    }
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.append(VARY, VARY_ORIGIN);
    if let Some(origin) = origin {
        allow(headers, origin);
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    }
    response
}

/// An `OPTIONS` that is no preflight is a method like any other.
fn is_preflight(request: &Request) -> bool {
    let asks = |name| request.headers().contains_key(name);
    request.method() == Method::OPTIONS && asks(ORIGIN) && asks(ACCESS_CONTROL_REQUEST_METHOD)
}

fn preflight(origin: Option<HeaderValue>) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(VARY, VARY_PREFLIGHT);
    if let Some(origin) = origin {
        allow(headers, origin);
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HEADERS);
        headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    }
    response
}

fn allow(headers: &mut HeaderMap, origin: HeaderValue) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, TRUE);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_origins_is_read() {
        let list = " https://App.example/ ,,http://localhost:5173";
        let origins = ["https://app.example", "http://localhost:5173"];
        let origins = Origins(origins.map(HeaderValue::from_static).to_vec());
        assert_eq!(Origins::parse(list), Ok(origins));
        assert_eq!(Origins::parse(""), Ok(Origins::default()));
    }

    #[test]
    fn what_is_no_origin_is_named() {
        for entry in [
            "*",
            "app.example",
            "null",
            "ftp://app.example",
            "https://",
            "https://app.example/path",
            "https://user@app.example",
            "https://app.example?x",
        ] {
            let list = format!("https://good.example, {entry}");
            assert_eq!(Origins::parse(&list), Err(OriginError(entry.to_owned())));
        }
    }
}
