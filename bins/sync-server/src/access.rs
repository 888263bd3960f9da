//! Who may: the services that are asked, and the keys by which services call.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

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
    if let Some(key) = shared.filter(|key| key.len() >= LEAST_KEY_BYTES) {
        let entry = format!("{MANA}:{key}");
        // One that cannot be sent as it is, or is there already, is for calling out only.
        entries.push(entry);
        if parse(&entries.join("\n")).is_err() {
            entries.pop();
        }
    }
    let all = parse(&entries.join("\n"));
    all.map_err(|error| format!("SYNC_SERVICE_KEYS: {error}"))
}

/// Reads the file of service keys again and again, so that keys come and go without a restart. What cannot be read changes
/// nothing.
pub(crate) async fn follow_keys(command: Command, settings: Settings, service: Arc<Service>) {
    let Some(path) = settings.sync_service_keys_file.clone() else {
        return;
    };
    let mut known = read(&path);
    loop {
        tokio::time::sleep(READ_AGAIN).await;
        let found = read(&path);
        if found == known {
            continue;
        }
        match service_keys(&command, &settings) {
            Ok(keys) => {
                let names = keys.names();
                service.service_keys.replace(keys);
                tracing::info!(
                    keys = names.len(),
                    "the file of service keys was read again"
                );
            }
            Err(error) => tracing::warn!(%error, "the service keys stay as they were"),
        }
        known = found;
    }
}

fn read(path: &Path) -> Option<Vec<u8>> {
    std::fs::read(path).ok()
}
