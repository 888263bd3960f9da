//! What is to be said of settings before anything starts: by what a command cannot run, and which parts they leave off.

use sync_access::MIN_SECRET_BYTES;
use sync_notify_nats::NatsError;

use crate::commands::Command;
use crate::settings::{Database, Settings};
use crate::{access, address, tables};

impl Settings {
    /// Everything in these settings that `command` cannot run with, a sentence each.
    pub(crate) fn faults(&self, command: &Command) -> Vec<String> {
        let mut faults: Vec<String> = self.database().err().into_iter().collect();
        match command {
            Command::Serve | Command::Dev | Command::Check => {
                faults.extend(self.faults_of_serving(command));
            }
            // They work on the database, and ask nobody.
            Command::Migrate
            | Command::Export { .. }
            | Command::Erase { .. }
            | Command::Import(_) => {}
        }
        faults
    }

    fn faults_of_serving(&self, command: &Command) -> Vec<String> {
        let mut faults: Vec<String> = self.address(command).err().into_iter().collect();
        if self.jwks_url.is_none() && !matches!(command, Command::Dev) {
            faults.push("JWKS_URL is not set: nobody could sign in. Set it to the address of your issuer's keys, or try `sync-server dev`".to_owned());
        }
        let secret = self.jwt_secret.as_ref();
        if secret.is_some_and(|secret| secret.len() < MIN_SECRET_BYTES) {
            faults.push(format!(
                "JWT_SECRET must have at least {MIN_SECRET_BYTES} bytes"
            ));
        }
        let database = self.database();
        if let (Command::Dev, Ok(Database::Postgres(_))) = (command, database) {
            faults.push(
                "DATABASE_URL: `dev` lets everybody in, so it takes `sqlite:` only".to_owned(),
            );
        }
        faults.extend(self.origins().err());
        faults.extend(self.limits.proxies().err());
        faults.extend(self.exempt_apps().err());
        faults.extend(access::service_keys(command, self).err());
        faults.extend(access::shared_key(command, self).err());
        faults.extend(access::faults(self));
        faults.extend(self.nats_fault().err());
        faults.extend(tables::tables(self).err());
        faults
    }

    fn nats_fault(&self) -> Result<(), String> {
        let Some(url) = self.nats_url.as_deref() else {
            return Ok(());
        };
        address::nats("NATS_URL", Some(url))?;
        self.nats(url).check().map_err(|error| match error {
            NatsError::Prefix { .. } => format!("SYNC_NATS_SUBJECT: {error}"),
            _ => format!("NATS_URL: {error}"),
        })
    }

    /// One line for each adapter that does not take part.
    pub(crate) fn off(&self) -> Vec<String> {
        let off = |adapter: &str, setting: &str, so: &str| {
            format!("{adapter}: off, {setting} is not set; {so}")
        };
        let unset = |setting: &Option<String>, line: String| setting.is_none().then_some(line);
        let adapters = [
            unset(
                &self.mana_credits_url,
                off("billing", "MANA_CREDITS_URL", "everybody may sync"),
            ),
            unset(
                &self.mana_auth_url,
                off(
                    "memberships",
                    "MANA_AUTH_URL",
                    "grants stay as they are, at first none",
                ),
            ),
            unset(
                &self.jwt_secret,
                off(
                    "rows tokens",
                    "JWT_SECRET",
                    "tokens are verified by JWKS_URL alone",
                ),
            ),
            self.calls_out_only(),
            self.nats_off(),
        ];
        adapters.into_iter().flatten().collect()
    }

    fn calls_out_only(&self) -> Option<String> {
        let why = access::calls_out_only(self.mana_service_key.as_deref()?)?;
        Some(format!(
            "calls by MANA_SERVICE_KEY: off, {why}; it is sent to others, and nobody may call with it"
        ))
    }

    fn nats_off(&self) -> Option<String> {
        match (&self.nats_url, self.database()) {
            (Some(_), Ok(Database::Postgres(_))) => None,
            (Some(_), _) => Some("NATS: off, SQLite serves one node alone".to_owned()),
            (None, Ok(Database::Postgres(_))) => {
                Some("NATS: off, NATS_URL is not set; PostgreSQL carries notices".to_owned())
            }
            (None, _) => {
                Some("NATS: off, NATS_URL is not set; one node needs no notices".to_owned())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::commands::Arguments;
    use crate::settings::tests::settings;

    #[test]
    fn a_bad_setting_is_named() {
        for (arguments, name) in [
            (["--jwt-secret", "short"], "JWT_SECRET"),
            (
                [
                    "--cors-origins",
                    "https://good.example.org,https://bad.example.org/path",
                ],
                "CORS_ORIGINS",
            ),
            (["--database-url", "oracle:x"], "DATABASE_URL"),
            (
                ["--sync-trusted-proxies", "10.0.0.1,proxy"],
                "SYNC_TRUSTED_PROXIES",
            ),
        ] {
            let faults = settings(&arguments).faults(&Command::Serve);
            assert!(faults.len() == 1 && faults[0].contains(name), "{faults:?}");
        }
        assert_eq!(settings(&[]).faults(&Command::Serve), Vec::<String>::new());
        for bad in [
            ["--port", "70000"],
            ["--sync-pool-size", "1"],
            ["--sync-log-format", "xml"],
            ["--sync-rate-per-user", "-1"],
        ] {
            assert!(
                Arguments::try_parse_from(["sync-server"].iter().chain(&bad)).is_err(),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn what_keeps_a_service_from_being_asked_is_named_once_and_not_shown() {
        let url = |of: &str, url: &str| settings(&[of, url, "--mana-service-key", "well"]);
        let key = |key: &str| {
            let urls = ["--mana-auth-url", "http://a", "--mana-credits-url=http://b"];
            settings(&[&urls[..], &["--mana-service-key", key]].concat())
        };
        for (settings, name) in [
            (url("--mana-auth-url", "http://u:secret@a"), "MANA_AUTH_URL"),
            (
                url("--mana-credits-url", "http://b?secret"),
                "MANA_CREDITS_URL",
            ),
            (key("secret secret"), "MANA_SERVICE_KEY"),
        ] {
            for command in [Command::Serve, Command::Check, Command::Dev] {
                let faults = settings.faults(&command);
                assert!(
                    faults.len() == 1 && faults[0].starts_with(name),
                    "{faults:?}"
                );
                assert!(!faults[0].contains("secret"), "{faults:?}");
            }
        }
        assert_eq!(key("well").faults(&Command::Check), Vec::<String>::new());
    }

    #[test]
    fn what_matters_to_a_server_only_keeps_nobody_from_working_on_the_database() {
        let bad = settings(&[
            "--jwt-secret=short",
            "--mana-service-key=dev-service-key",
            "--mana-auth-url=nowhere",
            "--sync-service-keys-file=/nowhere/keys",
            "--cors-origins=nowhere",
            "--nats-url=nowhere",
            "--sync-trusted-proxies=proxy",
            "--billing-exempt-apps=a/b",
        ]);
        for command in [
            &["migrate"][..],
            &["import", "--abandon"],
            &["export", "user", "anna"],
            &["erase", "space", "club"],
        ] {
            let all = ["sync-server"].iter().chain(command);
            let arguments = Arguments::try_parse_from(all).expect("good arguments");
            let command = arguments.command.expect("a command");
            assert_eq!(bad.faults(&command), Vec::<String>::new());
        }
        assert!(bad.faults(&Command::Serve).len() > 6);
    }
}
