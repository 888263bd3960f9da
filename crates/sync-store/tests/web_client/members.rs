//! How users of a [`World`] join its space, leave it and get other roles, and what has to hold then.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;
use sync_protocol::Millis;
use sync_store::Role;

use super::client::is_deleted;
use super::world::TABLES;
use super::{Server, WebClient, World};

type Key = (String, String);
type Values = BTreeMap<Key, BTreeMap<String, Json>>;

impl<S: Server> World<S> {
    /// Somebody gets a role or loses it, or what was denied is looked through.
    pub(super) fn change_membership(&mut self) {
        let user = self.dice.pick(&["anna", "ben"]);
        let outside = if self.scenario.leaves {
            None
        } else {
            Some(Role::Reader)
        };
        let writer = Some(Role::Writer);
        let role = self
            .dice
            .pick(&[writer, writer, Some(Role::Reader), outside]);
        self.make(user, role);
        if self.dice.percent(70) {
            self.promote(user);
        }
    }

    pub(super) fn make(&mut self, user: &str, role: Option<Role>) {
        self.tell(|| format!("{user} becomes {role:?}"));
        self.last_number += 1;
        let asked = i64::try_from(self.last_number).expect("a small number");
        let now = self.server_now();
        self.server.announce(user, role, Millis(asked), now);
        self.roles.insert(user.to_owned(), role);
        // What was stored in the space may be denied when it is sent again.
        self.processed.clear();
    }

    pub(super) fn promote(&mut self, user: &str) {
        let now = self.server_now();
        self.tell(|| format!("what {user} was denied is looked through at {now}"));
        self.server.promote(user, now);
    }

    /// At the end everybody is a writer, or what they are.
    pub(super) fn settle_members(&mut self) {
        if self.dice.percent(50) {
            for user in ["anna", "ben"] {
                self.make(user, Some(Role::Writer));
            }
        }
    }

    fn role(&self, user: &str) -> Option<Role> {
        self.roles.get(user).copied().unwrap_or(Some(Role::Writer))
    }

    /// Only who is in the space reads of it: what comes out of it names its author.
    pub(super) fn check_members_only(&self, device: usize, answer: &Json) {
        let changes = answer["serverChanges"].as_array().into_iter().flatten();
        let mut foreign = changes.filter(|change| change.get("author").is_some());
        let role = self.role(&self.devices[device].client.user);
        assert!(
            role.is_some() || foreign.next().is_none(),
            "{device} is not in the space: {answer}"
        );
    }

    /// All who may read the space hold the same of every record of it.
    pub(super) fn compare_members(&mut self) {
        let mut known: Option<(Values, BTreeSet<Key>)> = None;
        for (place, user) in [(0, "anna"), (1, "ben")] {
            let newcomer = self.newcomer_of(place);
            assert_eq!(newcomer.dropped, Vec::<String>::new());
            let role = self.role(user);
            self.check_what_stayed(user, role, &newcomer);
            if role.is_none() {
                continue;
            }
            let kept = newcomer.personal.keys().cloned().collect();
            let shared = live(&newcomer, &kept);
            if let Some((others, skipped)) = &known {
                let both = kept.union(skipped).cloned().collect();
                let shared = live(&newcomer, &both);
                let others = others.iter().filter(|(key, _)| !both.contains(*key));
                let others: BTreeMap<_, _> = others
                    .map(|(key, fields)| (key.clone(), fields.clone()))
                    .collect();
                assert_eq!(shared, others, "a newcomer of {user} and one of another");
            }
            for (place, device) in self.devices.iter().enumerate() {
                if device.client.user == user {
                    assert_eq!(device.client.dropped, Vec::<String>::new());
                    let own = live(&device.client, &kept);
                    assert_eq!(own, shared, "device {place} and a newcomer of {user}");
                }
            }
            known = Some((shared, kept));
        }
    }

    /// What is kept for a writer alone was never meant for the space, or deletes a record of others.
    fn check_what_stayed(&self, user: &str, role: Option<Role>, newcomer: &WebClient) {
        let is_own = |id: &str| id.starts_with(user);
        for (key, fields) in &newcomer.personal {
            assert!(
                is_own(&key.1) || role != Some(Role::Writer) || fields.contains("deletedAt"),
                "{user} may write, and {key:?} is kept from the space: {fields:?}"
            );
        }
    }
}

/// The values of the records that are not deleted, without some.
fn live(client: &WebClient, without: &BTreeSet<Key>) -> Values {
    let records = client.records.iter();
    let records = records.filter(|(key, record)| {
        !without.contains(*key) && !is_deleted(record) && TABLES.contains(&key.0.as_str())
    });
    let values = records.map(|(key, record)| {
        let fields = record.iter().filter(|(name, _)| *name != "deletedAt");
        let values = fields.map(|(name, held)| (name.clone(), held.value.clone()));
        (key.clone(), values.collect())
    });
    values.collect()
}
