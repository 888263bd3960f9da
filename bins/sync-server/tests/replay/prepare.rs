//! What goes out: requests and messages with something in the place of their placeholders.

use serde_json::Value;

use super::Fault;
use super::story::{Repeat, Request};
use super::world::World;

/// A request as it goes out.
pub(crate) struct Prepared {
    /// Path and query.
    pub(crate) path: String,
    /// The headers besides those of the connection.
    pub(crate) headers: Vec<(String, String)>,
    /// The body, if there is one.
    pub(crate) body: Option<Vec<u8>>,
}

/// What a body or a message is told as.
pub(crate) enum Content<'a> {
    /// JSON; white space and the order of names are the replay's.
    Json(&'a Value),
    /// These characters.
    Text(&'a str),
    /// A long text told in short.
    Repeat(&'a Repeat),
    /// These bytes.
    Base64(&'a str),
}

/// Puts what they stand for in the place of a request's placeholders.
pub(crate) fn prepare(request: &Request, world: &mut World) -> Result<Prepared, Fault> {
    let path = world.resolve_path(&request.path)?;
    let headers = request
        .headers
        .iter()
        .map(|(name, value)| Ok((name.clone(), world.resolve(value)?)));
    let headers = headers.collect::<Result<_, Fault>>()?;
    // A method that may have a body says so when it has none.
    let without = (!matches!(request.method.as_str(), "GET" | "HEAD" | "OPTIONS")).then(Vec::new);
    let body = content(request).map(|content| content.bytes(world));
    Ok(Prepared {
        path,
        headers,
        body: body.transpose()?.or(without),
    })
}

impl Content<'_> {
    /// The bytes that it stands for.
    pub(crate) fn bytes(&self, world: &mut World) -> Result<Vec<u8>, Fault> {
        match self {
            Self::Base64(bytes) => {
                openssl::base64::decode_block(bytes).map_err(|error| error.to_string())
            }
            Self::Json(value) => world.resolve(&value.to_string()).map(String::into_bytes),
            Self::Text(text) => world.resolve(text).map(String::into_bytes),
            Self::Repeat(repeat) => Ok(repeat.text().into_bytes()),
        }
    }
}

fn content(request: &Request) -> Option<Content<'_>> {
    let json = request.body.as_ref().map(Content::Json);
    json.or(request.text.as_deref().map(Content::Text))
        .or(request.repeat.as_ref().map(Content::Repeat))
        .or(request.base64.as_deref().map(Content::Base64))
}
