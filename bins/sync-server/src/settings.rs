//! Settings: environment variables, each with a flag of the same name that wins. What is wrong is said by name, before
//! anything starts.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use sync_protocol::AppId;
use sync_store::Rules;
use sync_transport::Origins;

use crate::commands::Command;
use crate::limits::LimitSettings;
use crate::rows::RowSettings;

/// The database that is used when none is named.
const DEFAULT_DATABASE: &str = "sqlite:sync-data/sync.db";
const MILLIS_PER_DAY: i64 = 24 * 60 * 60 * 1000;

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Whether a server brings its database to its schema when it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Migration {
    /// It does.
    Auto,
    /// It refuses to start on another schema; `sync-server migrate` is run by hand.
    Manual,
}

/// Which hosts keys may come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum KeyHosts {
    /// Public addresses by https, and this machine.
    Guarded,
    /// Any host, also by plain http and in private networks: who can change the answer on its way can be any user.
    Anywhere,
}

/// It holds secrets, and so has no `Debug`.
#[derive(Clone, Args)]
pub(crate) struct Settings {
    /// The port to listen on
    #[arg(
        long,
        env = "PORT",
        default_value_t = 3050,
        global = true,
        hide_env_values = true
    )]
    pub(crate) port: u16,
    /// The address to listen on [default: 0.0.0.0; `dev` listens on 127.0.0.1 only]
    #[arg(long, env = "SYNC_HOST", global = true, hide_env_values = true)]
    pub(crate) sync_host: Option<IpAddr>,
    /// The database: `sqlite:PATH` or `postgresql://USER:PASSWORD@HOST/NAME`; `dev` takes a `sqlite:` flag only
    #[arg(long, env = "DATABASE_URL", default_value = DEFAULT_DATABASE, global = true, hide_env_values = true)]
    pub(crate) database_url: String,
    /// Where the public keys of token issuers are (JWKS); required by `serve`, not read by `dev`
    #[arg(long, env = "JWKS_URL", global = true, hide_env_values = true)]
    pub(crate) jwks_url: Option<String>,
    /// What the `iss` of a token must be; not looked at if unset
    #[arg(long, env = "JWT_ISSUER", global = true, hide_env_values = true)]
    pub(crate) jwt_issuer: Option<String>,
    /// What the `aud` of a token must be or hold; not looked at if unset
    #[arg(long, env = "JWT_AUDIENCE", global = true, hide_env_values = true)]
    pub(crate) jwt_audience: Option<String>,
    /// A secret of at least 32 bytes by which tokens of rows clients may be signed (HS256); `dev` takes a flag only
    #[arg(long, env = "JWT_SECRET", global = true, hide_env_values = true)]
    pub(crate) jwt_secret: Option<String>,
    /// The membership service, which says who is in which space; `dev` takes a flag only
    #[arg(long, env = "MANA_AUTH_URL", global = true, hide_env_values = true)]
    pub(crate) mana_auth_url: Option<String>,
    /// The billing service, which says whose subscription is active; `dev` takes a flag only
    #[arg(long, env = "MANA_CREDITS_URL", global = true, hide_env_values = true)]
    pub(crate) mana_credits_url: Option<String>,
    /// The key for both services; from 16 bytes on, they may call this server with it, too; `dev` takes a flag only
    #[arg(long, env = "MANA_SERVICE_KEY", global = true, hide_env_values = true)]
    pub(crate) mana_service_key: Option<String>,
    /// Origins whose pages may call this server, separated by commas
    #[arg(
        long,
        env = "CORS_ORIGINS",
        default_value = "",
        hide_default_value = true,
        global = true,
        hide_env_values = true
    )]
    pub(crate) cors_origins: String,
    /// Roles that write into a space, separated by commas; all others read
    #[arg(
        long,
        env = "SYNC_WRITE_ROLES",
        value_delimiter = ',',
        default_value = "owner,admin,member",
        global = true,
        hide_env_values = true
    )]
    pub(crate) sync_write_roles: Vec<String>,
    /// Keys by which other services may call this server: `name:key`, separated by commas; `dev` takes a flag only
    #[arg(long, env = "SYNC_SERVICE_KEYS", global = true, hide_env_values = true)]
    pub(crate) sync_service_keys: Option<String>,
    /// A file of such keys, one a line; it is read again when it changes; `dev` takes a flag only
    #[arg(
        long,
        env = "SYNC_SERVICE_KEYS_FILE",
        global = true,
        hide_env_values = true
    )]
    pub(crate) sync_service_keys_file: Option<PathBuf>,
    /// Apps that need no subscription, separated by commas
    #[arg(
        long,
        env = "BILLING_EXEMPT_APPS",
        value_delimiter = ',',
        global = true,
        hide_env_values = true
    )]
    pub(crate) billing_exempt_apps: Vec<String>,
    /// A NATS server that carries notices between nodes instead of PostgreSQL: `nats://` or `tls://`, several with commas
    #[arg(long, env = "NATS_URL", global = true, hide_env_values = true)]
    pub(crate) nats_url: Option<String>,
    /// What the subjects of notices in NATS begin with: one for all nodes of a database, another for each database
    #[arg(long, env = "SYNC_NATS_SUBJECT", default_value = sync_notify_nats::DEFAULT_PREFIX, global = true, hide_env_values = true)]
    pub(crate) sync_nats_subject: String,
    /// How log lines are written
    #[arg(long, env = "SYNC_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text, global = true, hide_env_values = true)]
    pub(crate) sync_log_format: LogFormat,
    /// What is logged, as a filter like `info` or `sync_transport=debug,warn`
    #[arg(
        long,
        env = "SYNC_LOG",
        default_value = "info",
        global = true,
        hide_env_values = true
    )]
    pub(crate) sync_log: String,
    /// Whether `serve` brings the database to its schema when it starts
    #[arg(long, env = "SYNC_MIGRATE", value_enum, default_value_t = Migration::Auto, global = true, hide_env_values = true)]
    pub(crate) sync_migrate: Migration,
    /// Which hosts JWKS_URL may name
    #[arg(long, env = "SYNC_JWKS_HOSTS", value_enum, default_value_t = KeyHosts::Guarded, global = true, hide_env_values = true)]
    pub(crate) sync_jwks_hosts: KeyHosts,
    /// Connections to PostgreSQL
    #[arg(long, env = "SYNC_POOL_SIZE", default_value_t = 16, value_parser = clap::value_parser!(u16).range(2..=1000), global = true, hide_env_values = true)]
    pub(crate) sync_pool_size: u16,
    /// A file that describes the tables of rows clients: references, and business tables in PostgreSQL; `dev` takes a flag only
    #[arg(long, env = "SYNC_TABLES", global = true, hide_env_values = true)]
    pub(crate) sync_tables: Option<String>,
    #[command(flatten)]
    pub(crate) limits: LimitSettings,
    #[command(flatten)]
    pub(crate) rows: RowSettings,
    /// Days for which dead rows and the values of deleted records are kept
    #[arg(long, env = "SYNC_HISTORY_DAYS", default_value_t = 30, value_parser = clap::value_parser!(u16).range(0..=3650), global = true, hide_env_values = true)]
    pub(crate) sync_history_days: u16,
    /// How far ahead of the server a client's clock may be, in seconds
    #[arg(long, env = "SYNC_CLOCK_SKEW_SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u32).range(0..=86_400), global = true, hide_env_values = true)]
    pub(crate) sync_clock_skew_seconds: u32,
}

/// The database that a URL names. `Debug` does not show the URL, which may hold a password.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Database {
    /// A file of the embedded database.
    Sqlite(PathBuf),
    /// A PostgreSQL server, by its URL.
    Postgres(String),
}

/// Which database it is, without users and passwords.
impl fmt::Display for Database {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(out, "the file {}", path.display()),
            Self::Postgres(url) => match place(url) {
                Some(place) => write!(out, "PostgreSQL at {place}"),
                None => out.write_str("PostgreSQL at DATABASE_URL"),
            },
        }
    }
}

/// Host and name in the URL of a database, if there is no doubt where the password ends.
fn place(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let place = match rest.split_once('@') {
        Some((_, place)) => place,
        None => rest,
    };
    let place = place.split('?').next().unwrap_or(place);
    (rest.matches('@').count() < 2).then_some(place)
}

impl fmt::Debug for Database {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Sqlite(_) => "Sqlite",
            Self::Postgres(_) => "Postgres",
        })
    }
}

impl Settings {
    /// Takes an empty text for none.
    pub(crate) fn drop_empty(&mut self) {
        for setting in [
            &mut self.jwks_url,
            &mut self.jwt_issuer,
            &mut self.jwt_audience,
            &mut self.jwt_secret,
            &mut self.mana_auth_url,
            &mut self.mana_credits_url,
            &mut self.mana_service_key,
            &mut self.sync_service_keys,
            &mut self.nats_url,
            &mut self.sync_tables,
        ] {
            setting.take_if(|text| text.is_empty());
        }
    }

    /// `dev` signs everybody in, so it must not open the database that the environment names, nor ask its key host or other
    /// services, nor let those in that have its keys.
    pub(crate) fn keep_to_this_machine(&mut self, is_flag: impl Fn(&str) -> bool) {
        if !is_flag("database_url") {
            self.database_url = DEFAULT_DATABASE.to_owned();
        }
        self.jwks_url = None;
        self.jwt_secret.take_if(|_| !is_flag("jwt_secret"));
        self.mana_auth_url.take_if(|_| !is_flag("mana_auth_url"));
        self.mana_credits_url
            .take_if(|_| !is_flag("mana_credits_url"));
        self.mana_service_key
            .take_if(|_| !is_flag("mana_service_key"));
        self.sync_service_keys
            .take_if(|_| !is_flag("sync_service_keys"));
        self.sync_service_keys_file
            .take_if(|_| !is_flag("sync_service_keys_file"));
        self.sync_tables.take_if(|_| !is_flag("sync_tables"));
    }

    /// The apps that need no subscription.
    ///
    /// # Errors
    ///
    /// A sentence that names the setting.
    pub(crate) fn exempt_apps(&self) -> Result<BTreeSet<AppId>, String> {
        let names = words(&self.billing_exempt_apps);
        let apps = names.map(AppId::new);
        let apps: Result<_, _> = apps.collect();
        apps.map_err(|error| format!("BILLING_EXEMPT_APPS: an app id {error}"))
    }

    /// The roles that write into a space.
    pub(crate) fn write_roles(&self) -> BTreeSet<String> {
        words(&self.sync_write_roles).map(str::to_owned).collect()
    }

    /// The database.
    ///
    /// # Errors
    ///
    /// A sentence that names the setting.
    pub(crate) fn database(&self) -> Result<Database, String> {
        let url = &self.database_url;
        if let Some(path) = url.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() {
                return Err("DATABASE_URL: `sqlite:` wants a path behind it, as in sqlite:sync-data/sync.db".to_owned());
            }
            return Ok(Database::Sqlite(PathBuf::from(path)));
        }
        if url.starts_with("postgresql://") || url.starts_with("postgres://") {
            return Ok(Database::Postgres(url.clone()));
        }
        Err("DATABASE_URL must begin with postgresql:// or sqlite:".to_owned())
    }

    /// The address to listen on, which without a setting is every one, or for `dev` this machine alone.
    ///
    /// # Errors
    ///
    /// A sentence that names the setting.
    pub(crate) fn address(&self, command: &Command) -> Result<SocketAddr, String> {
        let host = match (self.sync_host, command) {
            (Some(host), Command::Dev) if !host.is_loopback() => {
                return Err(
                    "SYNC_HOST: `dev` lets everybody in, so it listens on a loopback address only"
                        .to_owned(),
                );
            }
            (Some(host), _) => host,
            (None, Command::Dev) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            (None, _) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        };
        Ok(SocketAddr::new(host, self.port))
    }

    /// How NATS is used at this URL.
    pub(crate) fn nats(&self, url: &str) -> sync_notify_nats::Config {
        sync_notify_nats::Config {
            prefix: self.sync_nats_subject.clone(),
            ..sync_notify_nats::Config::new(url)
        }
    }

    /// The origins whose pages may call.
    ///
    /// # Errors
    ///
    /// A sentence that names the setting.
    pub(crate) fn origins(&self) -> Result<Origins, String> {
        Origins::parse(&self.cors_origins).map_err(|error| format!("CORS_ORIGINS: {error}"))
    }

    /// What stores go by.
    pub(crate) fn rules(&self) -> Rules {
        Rules {
            skew_millis: i64::from(self.sync_clock_skew_seconds) * 1000,
            history_millis: i64::from(self.sync_history_days) * MILLIS_PER_DAY,
        }
    }
}

/// The items of a list; white space around them does not count, and empty ones are none.
fn words(list: &[String]) -> impl Iterator<Item = &str> {
    let items = list.iter().map(|item| item.trim());
    items.filter(|item| !item.is_empty())
}

#[cfg(test)]
pub(crate) mod tests {
    use clap::Parser;

    use super::*;
    use crate::commands::Arguments;

    /// Good settings and those of the arguments.
    pub(crate) fn settings(arguments: &[&str]) -> Settings {
        let all = [
            "sync-server",
            "--jwks-url",
            "https://keys.example.org/jwks.json",
        ]
        .iter()
        .chain(arguments);
        Arguments::try_parse_from(all)
            .expect("good arguments")
            .settings
    }

    #[test]
    fn a_url_names_its_database() {
        let database = |url: &str| settings(&["--database-url", url]).database();
        assert_eq!(
            database("sqlite:a/b.db"),
            Ok(Database::Sqlite(PathBuf::from("a/b.db")))
        );
        assert_eq!(
            database("sqlite:///a/b.db"),
            Ok(Database::Sqlite(PathBuf::from("/a/b.db")))
        );
        let url = "postgresql://user@host/name";
        assert_eq!(database(url), Ok(Database::Postgres(url.to_owned())));
        for bad in ["mysql://host/name", "", "sqlite:"] {
            assert!(
                database(bad).is_err_and(|fault| fault.contains("DATABASE_URL")),
                "{bad}"
            );
        }
    }

    #[test]
    fn which_database_it_is_can_be_told_without_its_password() {
        for (url, told) in [
            ("sqlite:a/b.db", "the file a/b.db"),
            (
                "postgresql://u:secret@h:5432/n?sslmode=require",
                "PostgreSQL at h:5432/n",
            ),
            ("postgresql://u:se?cr/et@h/n", "PostgreSQL at h/n"),
            (
                "postgresql://h/n?user=u&password=secret",
                "PostgreSQL at h/n",
            ),
            ("postgresql://u:se@cret@h/n", "PostgreSQL at DATABASE_URL"),
            (
                "postgresql://u@h/n?password=se@cret",
                "PostgreSQL at DATABASE_URL",
            ),
        ] {
            let database = settings(&["--database-url", url]).database();
            assert_eq!(database.map(|it| it.to_string()), Ok(told.to_owned()));
        }
    }

    #[test]
    fn dev_listens_on_loopback_only() {
        assert_eq!(
            settings(&[]).address(&Command::Dev),
            Ok(SocketAddr::from(([127, 0, 0, 1], 3050)))
        );
        assert!(
            settings(&["--sync-host", "0.0.0.0"])
                .address(&Command::Dev)
                .is_err()
        );
        assert_eq!(
            settings(&[]).address(&Command::Serve),
            Ok(SocketAddr::from(([0, 0, 0, 0], 3050)))
        );
    }
}
