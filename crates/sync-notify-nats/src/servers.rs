//! The list of servers, and how to log in to them: read from URLs, and from then on apart, so that an address can be
//! logged.

use std::fmt;

use async_nats::ServerAddr;
use percent_encoding::percent_decode_str;

use crate::NatsError;

/// The servers of one cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Servers {
    /// One or more, without login.
    pub(crate) addresses: Vec<ServerAddr>,
    pub(crate) login: Login,
}

/// How to log in.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) enum Login {
    #[default]
    None,
    User {
        name: String,
        password: String,
    },
    Token(String),
}

impl Servers {
    /// Reads a list of URLs with commas between them.
    pub(crate) fn parse(list: &str) -> Result<Self, NatsError> {
        let mut addresses = Vec::new();
        let mut login = Login::None;
        for (place, text) in (1..).zip(list.split(',')) {
            let (address, own) =
                server(text.trim()).map_err(|reason| NatsError::Url { place, reason })?;
            addresses.push(address);
            if own == Login::None {
                continue;
            }
            if login != Login::None && login != own {
                return Err(NatsError::Logins);
            }
            login = own;
        }
        Ok(Self { addresses, login })
    }
}

/// Reads one URL, and takes the login out of it.
fn server(text: &str) -> Result<(ServerAddr, Login), &'static str> {
    if text.is_empty() {
        return Err("is empty");
    }
    let address: ServerAddr = text
        .parse()
        .map_err(|_| "is no URL of a NATS server: nats://host:port or tls://host:port")?;
    if !matches!(address.scheme(), "nats" | "tls") {
        return Err("has another scheme than nats or tls");
    }
    if address.host().is_empty() {
        return Err("names no host");
    }
    let login = login(&address)?;
    let mut url = address.into_inner();
    let stripped = url.set_username("").and_then(|()| url.set_password(None));
    stripped.map_err(|()| "names no host")?;
    url.set_path("");
    url.set_query(None);
    url.set_fragment(None);
    let address = ServerAddr::from_url(url).map_err(|_| "is no URL of a NATS server")?;
    Ok((address, login))
}

/// A name alone is a token, as all NATS clients have it.
fn login(address: &ServerAddr) -> Result<Login, &'static str> {
    let plain = |text: &str| {
        let text = percent_decode_str(text).decode_utf8();
        text.map(String::from)
            .map_err(|_| "has a user or password that is not UTF-8")
    };
    match (address.username(), address.password()) {
        (None, None) => Ok(Login::None),
        (None, Some(_)) => Err("has a password without a user"),
        (Some(token), None) => plain(token).map(Login::Token),
        (Some(name), Some(password)) => Ok(Login::User {
            name: plain(name)?,
            password: plain(password)?,
        }),
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::None => "None",
            Self::User { .. } => "User(hidden)",
            Self::Token(_) => "Token(hidden)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str, password: &str) -> Login {
        Login::User {
            name: name.to_owned(),
            password: password.to_owned(),
        }
    }

    fn parsed(list: &str) -> (Vec<String>, Login) {
        let servers = Servers::parse(list).unwrap();
        let addresses = servers.addresses.iter();
        let addresses = addresses.map(|address| address.as_url_str().to_owned());
        (addresses.collect(), servers.login)
    }

    #[test]
    fn one_url_or_several_are_read_and_the_port_may_be_left_out() {
        let servers = Servers::parse("nats://one.example, tls://two.example:4333 ,[::1]").unwrap();
        let seen: Vec<_> = servers
            .addresses
            .iter()
            .map(|address| (address.host(), address.port(), address.tls_required()))
            .collect();
        assert_eq!(
            seen,
            [
                ("one.example", 4222, false),
                ("two.example", 4333, true),
                ("::1", 4222, false)
            ]
        );
        assert_eq!(servers.login, Login::None);
    }

    #[test]
    fn the_login_is_decoded_and_taken_out_of_the_address() {
        assert_eq!(
            parsed("nats://j%C3%B6rg:a%40b%2Cc%3Ad@host:1/path?token=x#y"),
            (vec!["nats://host:1".to_owned()], user("jörg", "a@b,c:d"))
        );
        assert_eq!(
            parsed("t0ken@host"),
            (
                vec!["nats://host".to_owned()],
                Login::Token("t0ken".to_owned())
            )
        );
    }

    #[test]
    fn one_login_counts_for_the_whole_list() {
        assert_eq!(
            parsed("nats://a,nats://u:p@b,nats://u:p@c").1,
            user("u", "p")
        );
        let error = Servers::parse("nats://u:p@b,nats://u:q@c").unwrap_err();
        assert!(matches!(error, NatsError::Logins));
    }

    #[test]
    fn a_url_that_cannot_be_used_is_named_by_its_place_and_not_by_its_text() {
        let bad = [
            ("", 1),
            ("nats://good,", 2),
            ("nats://good,http://u:secret@host", 2),
            ("ws://u:secret@host", 1),
            ("nats://u:secret@", 1),
            ("nats://:secret@host", 1),
            ("nats://u:secret@host:port", 1),
            ("nats://u:secret%FF@host", 1),
            ("nats:secret", 1),
        ];
        for (list, expected) in bad {
            let error = Servers::parse(list).unwrap_err();
            assert!(
                matches!(error, NatsError::Url { place, .. } if place == expected),
                "{list}: {error}"
            );
            assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
        }
    }

    #[test]
    fn nothing_that_can_be_printed_holds_a_secret() {
        for list in ["nats://name:secret@host", "nats://secret@host"] {
            let servers = Servers::parse(list).unwrap();
            assert!(!format!("{servers:?}").contains("secret"), "{servers:?}");
        }
    }
}
