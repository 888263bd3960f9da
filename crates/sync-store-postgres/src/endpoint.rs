//! Where the database is and how it is spoken to: the URL, its TLS modes, and the time limits of a connection.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use openssl::error::ErrorStack;
use openssl::ssl::{SslConnector, SslMethod, SslVerifyMode};
use postgres_openssl::MakeTlsConnector;
use sync_store::StoreError;
use tokio::task::JoinHandle;
use tokio_postgres::Client;
use tokio_postgres::config::SslMode;

use crate::failure::store_error;
use crate::pool::CREATE_LIMIT;

/// How long connecting may take, per address.
pub(crate) const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How long sent bytes may stay without the other side's receipt before the connection counts as lost.
const RECEIPT_LIMIT: Duration = Duration::from_secs(10);
/// How long a connection is silent before the other side is asked whether it is there.
const SILENCE_LIMIT: Duration = Duration::from_secs(30);
/// What the database's own lists call us, unless the URL says otherwise.
const APPLICATION_NAME: &str = "sync-server";

/// A parsed URL.
#[derive(Clone)]
pub(crate) struct Endpoint {
    pub(crate) config: tokio_postgres::Config,
    pub(crate) tls: MakeTlsConnector,
}

/// How much of the server's certificate is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Checks {
    Nothing,
    Issuer,
    IssuerAndName,
}

/// What of a URL is ours to read: the rest of it, the checks, and the file of certificates. `Debug` does not show the
/// rest, which may hold a password.
#[derive(PartialEq, Eq)]
struct Parts {
    url: String,
    checks: Checks,
    root_certificates: Option<String>,
}

impl Endpoint {
    /// Reads a URL.
    ///
    /// # Errors
    ///
    /// [`StoreError::Fault`] says what is wrong with it, without quoting it.
    pub(crate) fn parse(url: &str) -> Result<Self, StoreError> {
        let parts = Parts::of(url)?;
        let mut config: tokio_postgres::Config = parts
            .url
            .parse()
            .map_err(|error| StoreError::fault(format!("the database URL: {error}")))?;
        if parts.checks != Checks::Nothing {
            config.ssl_mode(SslMode::Require);
        }
        if config.get_application_name().is_none() {
            config.application_name(APPLICATION_NAME);
        }
        config
            .connect_timeout(CONNECT_LIMIT)
            .tcp_user_timeout(RECEIPT_LIMIT)
            .keepalives_idle(SILENCE_LIMIT);
        let tls = parts
            .connector()
            .map_err(|error| StoreError::fault(format!("TLS to the database: {error}")))?;
        Ok(Self { config, tls })
    }

    /// Opens one connection outside of any pool.
    pub(crate) async fn connect(&self) -> Result<Direct, StoreError> {
        let connecting = self.config.connect(self.tls.clone());
        let (client, connection) = tokio::time::timeout(CREATE_LIMIT, connecting)
            .await
            .map_err(|_| StoreError::unavailable("PostgreSQL did not let us in in time"))?
            .map_err(store_error)?;
        let task = tokio::spawn(async move {
            // Whoever waits for an answer is told of a lost connection.
            let _ = connection.await;
        });
        Ok(Direct { client, task })
    }
}

/// A connection of its own, which ends with this value.
pub(crate) struct Direct {
    client: Client,
    task: JoinHandle<()>,
}

impl Deref for Direct {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl DerefMut for Direct {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.client
    }
}

impl Drop for Direct {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for Parts {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Parts")
            .field("checks", &self.checks)
            .field("root_certificates", &self.root_certificates)
            .finish_non_exhaustive()
    }
}

impl Parts {
    /// Takes the parameters out of a URL that tokio-postgres does not know.
    fn of(url: &str) -> Result<Self, StoreError> {
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let (mut checks, mut root_certificates) = (Checks::Nothing, None);
        let mut others = Vec::new();
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            match parameter.split_once('=') {
                Some(("sslmode", "verify-ca")) => checks = Checks::Issuer,
                Some(("sslmode", "verify-full")) => checks = Checks::IssuerAndName,
                Some(("sslrootcert", file)) => root_certificates = Some(percent_decoded(file)?),
                _ => others.push(parameter),
            }
        }
        // As libpq does: whoever names an issuer and asks for TLS wants it checked.
        if root_certificates.is_some() && others.contains(&"sslmode=require") {
            checks = Checks::Issuer;
        }
        let url = if others.is_empty() {
            base.to_owned()
        } else {
            format!("{base}?{}", others.join("&"))
        };
        Ok(Self {
            url,
            checks,
            root_certificates,
        })
    }

    fn connector(&self) -> Result<MakeTlsConnector, ErrorStack> {
        let mut builder = SslConnector::builder(SslMethod::tls())?;
        match self.root_certificates.as_deref() {
            None | Some("system") => {}
            Some(file) => builder.set_ca_file(file)?,
        }
        if self.checks == Checks::Nothing {
            builder.set_verify(SslVerifyMode::NONE);
        }
        let by_name = self.checks == Checks::IssuerAndName;
        let mut connector = MakeTlsConnector::new(builder.build());
        connector.set_callback(move |connection, _| {
            connection.set_verify_hostname(by_name);
            Ok(())
        });
        Ok(connector)
    }
}

/// A value of a URL's query with its `%41` read.
fn percent_decoded(text: &str) -> Result<String, StoreError> {
    let malformed = || StoreError::fault("the database URL: sslrootcert is not percent-encoded");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, others)) = rest.split_first() {
        rest = others;
        if *first == b'%' {
            let digits = rest.get(..2).ok_or_else(malformed)?;
            let digits = std::str::from_utf8(digits).map_err(|_| malformed())?;
            bytes.push(u8::from_str_radix(digits, 16).map_err(|_| malformed())?);
            rest = &rest[2..];
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes).map_err(|_| malformed())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(url: &str, checks: Checks, root_certificates: Option<&str>) -> Parts {
        Parts {
            url: url.to_owned(),
            checks,
            root_certificates: root_certificates.map(str::to_owned),
        }
    }

    #[test]
    fn a_url_says_how_the_servers_certificate_is_checked() {
        let base = "postgresql://a:b@db:5432/sync";
        let expected = [
            ("", parts(base, Checks::Nothing, None)),
            (
                "?sslmode=require",
                parts(&format!("{base}?sslmode=require"), Checks::Nothing, None),
            ),
            (
                "?sslmode=require&sslrootcert=/ca.pem",
                parts(
                    &format!("{base}?sslmode=require"),
                    Checks::Issuer,
                    Some("/ca.pem"),
                ),
            ),
            (
                "?sslmode=verify-ca&application_name=x",
                parts(&format!("{base}?application_name=x"), Checks::Issuer, None),
            ),
            (
                "?sslmode=verify-full&sslrootcert=%2Fa%20b.pem",
                parts(base, Checks::IssuerAndName, Some("/a b.pem")),
            ),
        ];
        for (query, parts) in expected {
            assert_eq!(Parts::of(&format!("{base}{query}")), Ok(parts), "{query}");
        }
    }

    #[test]
    fn an_unreadable_url_is_not_quoted() {
        for url in [
            "postgresql://a:secret@db/x?sslmode=maybe",
            "postgresql://a:secret@db:port/x",
        ] {
            let Err(error) = Endpoint::parse(url) else {
                panic!("{url} was read");
            };
            assert!(!error.to_string().contains("secret"), "{error}");
        }
        let shown = format!("{:?}", Parts::of("postgresql://a:secret@db/x?y=z"));
        assert!(!shown.contains("secret"), "{shown}");
    }
}
