//! Who may: the services that are asked, and the keys by which services call.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sync_access::{
    Billing, Clock, DevelopmentKeys, Memberships, ServiceKeys, Take, UpstreamSettings,
    is_known_to_everybody,
};
use sync_transport::Service;

use crate::address;
use crate::commands::Command;
use crate::serve::now;
use crate::settings::Settings;

/// How often the file of service keys is read again.
const READ_AGAIN: Duration = Duration::from_secs(10);
/// How often it is said at most that the file cannot be read.
const WARN_AGAIN: Duration = Duration::from_secs(60);
/// An address with which nothing is wrong, and where nobody is asked.
const NOWHERE: &str = "http://localhost";
/// Under which name the key that both services are called with is known when they call.
const MANA: &str = "mana";
/// `MANA_SERVICE_KEY` is also a key to call with if it has as many bytes.
const LEAST_KEY_BYTES: usize = 16;

/// Who says whose subscription is active.
///
/// # Errors
///
/// A sentence that names the setting.
pub(crate) fn billing(settings: &Settings, clock: &Clock) -> Result<Option<Billing>, String> {
    let url = settings.mana_credits_url.as_deref();
    let made = url.map(|url| Billing::new(&upstream(settings, url), clock.clone()));
    made.transpose()
        .map_err(|error| format!("MANA_CREDITS_URL: {error}"))
}

/// Who says who is in which space; answers go to `take`.
///
/// # Errors
///
/// A sentence that names the setting.
pub(crate) fn memberships(
    settings: &Settings,
    clock: &Clock,
    take: Take,
) -> Result<Option<Memberships>, String> {
    let url = settings.mana_auth_url.as_deref();
    let made = url.map(|url| Memberships::new(&upstream(settings, url), clock.clone(), take));
    made.transpose()
        .map_err(|error| format!("MANA_AUTH_URL: {error}"))
}

fn upstream(settings: &Settings, url: &str) -> UpstreamSettings {
    UpstreamSettings {
        service_key: settings.mana_service_key.clone(),
        ..UpstreamSettings::at(url)
    }
}

/// What keeps both services from being asked at their addresses, a sentence each.
pub(crate) fn faults(settings: &Settings) -> Vec<String> {
    let clock: Clock = Arc::new(now);
    // What is wrong with the key is told by `shared_key`.
    let keyless = Settings {
        mana_service_key: None,
        ..settings.clone()
    };
    let nobody: Take = Arc::new(|_| Box::pin(std::future::ready(None)));
    let memberships = address::web("MANA_AUTH_URL", settings.mana_auth_url.as_deref())
        .and_then(|()| memberships(&keyless, &clock, nobody));
    let billing = address::web("MANA_CREDITS_URL", settings.mana_credits_url.as_deref())
        .and_then(|()| billing(&keyless, &clock));
    [memberships.err(), billing.err()]
        .into_iter()
        .flatten()
        .collect()
}

/// Whether the key that both services are called with can be sent, and is one to rely on: what everybody knows is no key, unless this is a
/// development server.
///
/// # Errors
///
/// A sentence that names the setting.
pub(crate) fn shared_key(command: &Command, settings: &Settings) -> Result<(), String> {
    let Some(key) = &settings.mana_service_key else {
        return Ok(());
    };
    let sent = UpstreamSettings {
        service_key: Some(key.clone()),
        ..UpstreamSettings::at(NOWHERE)
    };
    Billing::new(&sent, Arc::new(now)).map_err(|error| format!("MANA_SERVICE_KEY: {error}"))?;
    if is_known_to_everybody(key) && !matches!(command, Command::Dev) {
        return Err(
            "MANA_SERVICE_KEY: the key is one for development, which everybody knows".to_owned(),
        );
    }
    Ok(())
}

/// The keys by which other services may call.
///
/// # Errors
///
/// A sentence that names the setting, never a key.
pub(crate) fn service_keys(command: &Command, settings: &Settings) -> Result<ServiceKeys, String> {
    let development = match command {
        Command::Dev => DevelopmentKeys::Allowed,
        _ => DevelopmentKeys::Refused,
    };
    let parse = |text: &str| ServiceKeys::parse(text, development);
    let mut entries = Vec::new();
    if let Some(keys) = &settings.sync_service_keys {
        parse(keys).map_err(|error| format!("SYNC_SERVICE_KEYS: {error}"))?;
        entries.push(keys.clone());
    }
    if let Some(path) = &settings.sync_service_keys_file {
        let told = |error: &dyn std::fmt::Display| {
            format!("SYNC_SERVICE_KEYS_FILE: {}: {error}", path.display())
        };
        let keys = std::fs::read_to_string(path).map_err(|error| told(&error))?;
        parse(&keys).map_err(|error| told(&error))?;
        entries.push(keys);
    }
    let shared = settings.mana_service_key.as_ref();
    if let Some(key) = shared.filter(|key| calls_out_only(key).is_none()) {
        let entry = format!("{MANA}:{key}");
        // One that is there by another name is known by that.
        entries.push(entry);
        if parse(&entries.join("\n")).is_err() {
            entries.pop();
        }
    }
    let all = parse(&entries.join("\n"));
    all.map_err(|error| format!("SYNC_SERVICE_KEYS: {error}"))
}

/// Why `MANA_SERVICE_KEY` is no key to call with, if it is none.
pub(crate) fn calls_out_only(key: &str) -> Option<&'static str> {
    match key {
        _ if key.len() < LEAST_KEY_BYTES => Some("it has fewer than 16 bytes"),
        // A comma ends a key.
        _ if key.contains(',') => Some("it holds a comma"),
        _ => None,
    }
}

/// Reads the file of service keys again and again, so that keys come and go without a restart. What cannot be read changes
/// nothing, and is tried again.
pub(crate) async fn follow_keys(command: Command, settings: Settings, service: Arc<Service>) {
    if settings.sync_service_keys_file.is_none() {
        return;
    }
    let told = Arc::new((command, settings));
    let mut warned: Option<Instant> = None;
    loop {
        tokio::time::sleep(READ_AGAIN).await;
        match read_again(Arc::clone(&told), &service.service_keys).await {
            Ok(Some(keys)) => tracing::info!(keys, "the file of service keys was read again"),
            Ok(None) => {}
            Err(_) if warned.is_some_and(|then| then.elapsed() < WARN_AGAIN) => {}
            Err(error) => {
                warned = Some(Instant::now());
                tracing::warn!(%error, "the service keys stay as they were");
            }
        }
    }
}

/// Lets the keys count that are written now: how many they are, if others counted before.
async fn read_again(
    told: Arc<(Command, Settings)>,
    counting: &ServiceKeys,
) -> Result<Option<usize>, String> {
    // Files are waited for.
    let reading = tokio::task::spawn_blocking(move || service_keys(&told.0, &told.1));
    let keys = reading.await.map_err(|error| error.to_string())??;
    let count = keys.names().len();
    Ok(counting.replace(keys).then_some(count))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::tests::settings;

    const KEY: &str = "0123456789abcdef";

    fn with_file(path: &std::path::Path, key: &str) -> Settings {
        let path = path.to_str().expect("a path is text");
        settings(&["--sync-service-keys-file", path, "--mana-service-key", key])
    }

    #[tokio::test]
    async fn a_file_that_was_away_or_wrong_is_read_when_it_is_well_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("keys");
        let write = |text: &str| std::fs::write(&path, text).expect("it is written");
        write("a:0123456789abcdef-a");
        let told = Arc::new((Command::Serve, with_file(&path, KEY)));
        let keys = service_keys(&told.0, &told.1).expect("good keys");
        let again = async || read_again(Arc::clone(&told), &keys).await;
        assert_eq!(again().await, Ok(None));
        std::fs::remove_file(&path).expect("it is gone");
        assert!(again().await.is_err() && again().await.is_err());
        write("a:0123456789abcdef-a\nb:short");
        assert!(again().await.is_err());
        assert_eq!(keys.names().len(), 2);
        write("a:0123456789abcdef-a\nb:0123456789abcdef-b");
        assert_eq!(again().await, Ok(Some(3)));
        assert_eq!(again().await, Ok(None));
    }

    #[test]
    fn a_key_for_calling_out_only_is_told_of_at_start() {
        let off = |key: &str| {
            let lines = settings(&["--mana-service-key", key]).off();
            lines
                .into_iter()
                .find(|line| line.contains("MANA_SERVICE_KEY"))
        };
        let unfit = |key: &str| {
            let names = service_keys(&Command::Serve, &settings(&["--mana-service-key", key]));
            assert!(names.is_ok_and(|keys| keys.is_empty()), "{key}");
            off(key).unwrap_or_default()
        };
        assert!(unfit("short").contains("fewer than 16 bytes"));
        assert!(unfit("0123456789abcdef,x:0123456789abcdefg").contains("a comma"));
        assert_eq!(off(KEY), None);
        let entry = format!("mana:{KEY}");
        let twice = settings(&["--sync-service-keys", &entry, "--mana-service-key", KEY]);
        let keys = service_keys(&Command::Serve, &twice).expect("good keys");
        assert_eq!(keys.names().len(), 1);
    }
}
