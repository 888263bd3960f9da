//! What is said on a socket: one JSON object a message, with its `type`.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sync_protocol::{AppId, ClientId, TableName};

/// What a client says. `Debug` does not show a token.
#[derive(PartialEq, Eq)]
pub(crate) enum Heard {
    /// Who it is; again at any time, to extend.
    Auth {
        /// The bearer token.
        token: String,
        /// What the client calls itself, if it says so.
        client: Option<ClientId>,
    },
    /// Whether somebody is there.
    Ping,
}

/// What the server says.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub(crate) enum Said<'a> {
    /// The client is signed in, and told from now on.
    AuthOk,
    /// The answer to a ping.
    Pong,
    /// There are changes.
    SyncAvailable {
        /// The app.
        #[serde(rename = "appId")]
        app: &'a AppId,
        /// The tables.
        tables: &'a BTreeSet<TableName>,
    },
    /// Something was wrong; in words for the client.
    Error {
        /// What, and what to do.
        message: &'a str,
    },
}

impl fmt::Debug for Heard {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auth { client, .. } => out
                .debug_struct("Auth")
                .field("client", client)
                .finish_non_exhaustive(),
            Self::Ping => out.write_str("Ping"),
        }
    }
}

#[derive(Deserialize)]
struct Envelope {
    #[serde(default, rename = "type")]
    kind: Value,
    #[serde(default)]
    token: Value,
    #[serde(default, rename = "clientId")]
    client: Value,
}

impl Heard {
    /// Understands a message.
    ///
    /// # Errors
    ///
    /// What is wrong, in words for the client.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let envelope = object(text)?;
        match envelope.kind.as_str() {
            Some("ping") => Ok(Self::Ping),
            Some("auth") => envelope.auth(),
            Some(_) => Err("unknown message type: send auth or ping".to_owned()),
            None => Err(
                "missing message type: send {\"type\":\"auth\"} or {\"type\":\"ping\"}".to_owned(),
            ),
        }
    }
}

fn object(text: &str) -> Result<Envelope, String> {
    // An array would do for a struct, too.
    if !text.trim_start().starts_with('{') {
        return Err("a message is a JSON object".to_owned());
    }
    serde_json::from_str(text).map_err(|error| {
        // It names a place and a rule, and quotes none of the message.
        format!("the message cannot be read as JSON: {error}")
    })
}

impl Envelope {
    fn auth(self) -> Result<Heard, String> {
        let Value::String(token) = self.token else {
            return Err("missing token: send {\"type\":\"auth\",\"token\":\"…\"}".to_owned());
        };
        let client = match self.client {
            Value::Null => None,
            Value::String(client) => Some(client),
            _ => return Err("clientId is no text".to_owned()),
        };
        let client = client.map(|client| ClientId::new(&client)).transpose();
        let client = client.map_err(|error| format!("clientId {error}"))?;
        Ok(Heard::Auth {
            token,
            client: client.filter(|client| !client.is_empty()),
        })
    }
}

impl Said<'_> {
    /// As it travels.
    pub(crate) fn to_text(&self) -> String {
        serde_json::to_string(self).expect("names and texts are always JSON")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn auth(token: &str, client: Option<&str>) -> Heard {
        Heard::Auth {
            token: token.to_owned(),
            client: client.map(|client| ClientId::new(client).unwrap()),
        }
    }

    #[test]
    fn what_a_client_says_is_understood() {
        for (text, heard) in [
            (r#"{"type":"ping"}"#, Heard::Ping),
            (r#" {"x":[],"type":"ping","token":7}"#, Heard::Ping),
            (r#"{"type":"auth","token":"t"}"#, auth("t", None)),
            (
                r#"{"type":"auth","token":"t","clientId":""}"#,
                auth("t", None),
            ),
            (
                r#"{"type":"auth","token":"t","clientId":null}"#,
                auth("t", None),
            ),
            (
                r#"{"token":"t","clientId":"c","type":"auth"}"#,
                auth("t", Some("c")),
            ),
        ] {
            assert_eq!(Heard::parse(text), Ok(heard), "{text}");
        }
    }

    #[test]
    fn a_token_is_not_printed() {
        let heard = Heard::parse(r#"{"type":"auth","token":"secret","clientId":"c"}"#);
        let shown = format!("{heard:?}");
        assert!(
            shown.contains("Auth") && !shown.contains("secret"),
            "{shown}"
        );
    }

    #[test]
    fn what_is_wrong_with_a_message_is_said() {
        for (text, why) in [
            ("", "a message is a JSON object"),
            ("[]", "a message is a JSON object"),
            ("not json", "a message is a JSON object"),
            (
                "{",
                "the message cannot be read as JSON: EOF while parsing an object at line 1 column 1",
            ),
            (
                r#"{"type":"ping","type":"auth"}"#,
                "the message cannot be read as JSON: duplicate field `type` at line 1 column 21",
            ),
            (
                "{}",
                r#"missing message type: send {"type":"auth"} or {"type":"ping"}"#,
            ),
            (
                r#"{"type":5}"#,
                r#"missing message type: send {"type":"auth"} or {"type":"ping"}"#,
            ),
            (
                r#"{"type":"subscribe"}"#,
                "unknown message type: send auth or ping",
            ),
            (
                r#"{"type":"auth"}"#,
                r#"missing token: send {"type":"auth","token":"…"}"#,
            ),
            (
                r#"{"type":"auth","token":7}"#,
                r#"missing token: send {"type":"auth","token":"…"}"#,
            ),
            (
                r#"{"type":"auth","token":"t","clientId":7}"#,
                "clientId is no text",
            ),
            (
                r#"{"type":"auth","token":"t","clientId":"\u0000"}"#,
                "clientId has a control character or a lone surrogate",
            ),
        ] {
            assert_eq!(Heard::parse(text), Err(why.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_the_server_says_has_its_type() {
        let app = AppId::new("todo").unwrap();
        let tables = BTreeSet::from([TableName::new("tasks").unwrap()]);
        let tables = &tables;
        for (said, text) in [
            (Said::AuthOk, r#"{"type":"auth-ok"}"#),
            (Said::Pong, r#"{"type":"pong"}"#),
            (
                Said::SyncAvailable { app: &app, tables },
                r#"{"type":"sync-available","appId":"todo","tables":["tasks"]}"#,
            ),
            (
                Said::Error { message: "no" },
                r#"{"type":"error","message":"no"}"#,
            ),
        ] {
            assert_eq!(said.to_text(), text);
        }
    }
}
