//! The neighbours of the server under test, billing and memberships, as a story tells them.

use std::collections::BTreeMap;

use serde::Deserialize;
use test_services::{Mood, Service, Services};
use tokio::runtime::Runtime;

use super::Fault;
use super::world::World;

/// A port at which nobody listens.
const NOBODY: &str = "http://127.0.0.1:1";

/// What the neighbours say; a step changes what it names.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Told {
    /// Per user what the membership service answers.
    memberships: Option<BTreeMap<String, Vec<Membership>>>,
    /// The users for whom it answers 500.
    memberships_failing: Option<Vec<String>>,
    /// The users whose subscription is not active.
    inactive: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Membership {
    organization_id: String,
    role: String,
}

/// The neighbours, for as long as this value lives.
pub(crate) struct Neighbours {
    services: Services,
    _runtime: Runtime,
}

impl Neighbours {
    /// Starts both.
    pub(crate) fn start() -> Result<Self, Fault> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(|error| error.to_string())?;
        let services = runtime.block_on(Services::start());
        Ok(Self {
            services: services.map_err(|error| error.to_string())?,
            _runtime: runtime,
        })
    }

    /// The environment of a server that asks them, but for those that cannot be reached.
    pub(crate) fn settings(&self, unreachable: &[String]) -> Vec<(String, String)> {
        let there = self.services.url();
        let named = [
            ("memberships", "MANA_AUTH_URL"),
            ("billing", "MANA_CREDITS_URL"),
        ];
        let setting = |(name, setting): (&str, &str)| {
            let is_away = unreachable.iter().any(|away| away == name);
            let url = if is_away { NOBODY } else { &there };
            (setting.to_owned(), url.to_owned())
        };
        named.map(setting).into()
    }

    /// Has them say what is told of these users; of the others what they said before.
    pub(crate) fn tell(
        &self,
        told: &Told,
        users: &[String],
        world: &mut World,
    ) -> Result<(), Fault> {
        for user in users {
            let id = world.resolve(&format!("{{{{user:{user}}}}}"))?;
            if let Some(inactive) = &told.inactive {
                match inactive.contains(user) {
                    true => self.services.set_inactive(&id),
                    false => self.services.set_active(&id),
                }
            }
            if let Some(failing) = &told.memberships_failing {
                let mood = match failing.contains(user) {
                    true => Mood::Status(500),
                    false => Mood::Well,
                };
                self.services.mood_of(Service::Memberships, &id, mood);
            }
            let Some(memberships) = &told.memberships else {
                continue;
            };
            let of_user = memberships.get(user).map_or(&[][..], Vec::as_slice);
            let mut spaces = Vec::new();
            for one in of_user {
                spaces.push((world.resolve(&one.organization_id)?, one.role.as_str()));
            }
            let spaces: Vec<_> = spaces
                .iter()
                .map(|(space, role)| (space.as_str(), *role))
                .collect();
            self.services.set_memberships(&id, &spaces);
        }
        Ok(())
    }
}
