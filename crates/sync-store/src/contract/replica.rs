//! A device of a clause that holds what it has read: of each field the latest write, at equal times the last to come.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value as Json, json};
use sync_protocol::Answer;

use super::device::{Device, list};
use crate::{Pushed, Store};

/// The fields of a record, with the time of each.
type Fields = BTreeMap<String, (Json, String)>;

/// A device and its records, as existing clients keep them.
#[derive(Clone)]
pub(super) struct Replica {
    pub(super) device: Device,
    records: BTreeMap<String, Fields>,
}

impl Replica {
    pub(super) fn new(store: &Arc<dyn Store>, user: &str, client: &str) -> Self {
        Self {
            device: Device::new(store, user, client),
            records: BTreeMap::new(),
        }
    }

    /// Pushes changes, which are its own writes from then on, and takes the answer.
    pub(super) async fn push(&mut self, changes: Json) -> Pushed {
        for change in changes.as_array().into_iter().flatten() {
            self.apply(change);
        }
        let pushed = self.device.push(changes).await;
        self.take(&pushed.answer);
        pushed
    }

    /// Reads to the head.
    pub(super) async fn pull(&mut self) -> &mut Self {
        loop {
            let answer = self.device.page("", 3).await;
            self.take(&answer);
            if !answer.has_more {
                return self;
            }
        }
    }

    fn take(&mut self, answer: &Answer) {
        list(answer).iter().for_each(|change| self.apply(change));
    }

    fn apply(&mut self, change: &Json) {
        let id = change["id"].as_str().expect("a change has an id");
        let is_known = self.records.contains_key(id);
        if change["op"] == "delete" {
            if is_known {
                let time = &change["deletedAt"];
                self.write(id, "deletedAt", time, time.as_str().unwrap_or_default());
            }
            return;
        }
        if let Some(fields) = change["fields"].as_object() {
            for (name, field) in fields {
                self.write(
                    id,
                    name,
                    &field["value"],
                    field["at"].as_str().unwrap_or_default(),
                );
            }
            return;
        }
        let own_now = self.device.now.to_string();
        let data = &change["data"];
        let at = [&data["updatedAt"], &data["createdAt"]];
        let at = at.iter().find_map(|at| at.as_str()).unwrap_or(&own_now);
        self.records.entry(id.to_owned()).or_default();
        for (name, value) in data.as_object().into_iter().flatten() {
            self.write(id, name, value, at);
        }
    }

    fn write(&mut self, id: &str, name: &str, value: &Json, at: &str) {
        let record = self.records.entry(id.to_owned()).or_default();
        let held = record.get(name);
        if held.is_none_or(|(_, held)| at >= held.as_str()) {
            record.insert(name.to_owned(), (value.clone(), at.to_owned()));
        }
    }

    /// The values of the records that are not deleted.
    pub(super) fn live(&self) -> Json {
        let is_live = |fields: &&Fields| {
            let deletion = fields.get("deletedAt");
            deletion.is_none_or(|(value, _)| value.is_null())
        };
        let live = self.records.iter().filter(|(_, fields)| is_live(fields));
        live.map(|(id, fields)| {
            let values = fields
                .iter()
                .filter(|(name, _)| !["id", "deletedAt"].contains(&name.as_str()));
            let values: serde_json::Map<_, _> = values
                .map(|(name, (value, _))| (name.clone(), value.clone()))
                .collect();
            (id.clone(), json!(values))
        })
        .collect::<serde_json::Map<_, _>>()
        .into()
    }

    /// The time of a field that it holds.
    pub(super) fn time(&self, id: &str, name: &str) -> Option<&str> {
        Some(self.records.get(id)?.get(name)?.1.as_str())
    }
}

/// All of them, and a device of each of these users that has never been there, hold the same records.
pub(super) async fn all_hold(
    store: &Arc<dyn Store>,
    replicas: &mut [Replica],
    users: &[&str],
    expected: Json,
) {
    for replica in replicas {
        let place = format!("{:?}", replica.device);
        assert_eq!(replica.pull().await.live(), expected, "{place}");
    }
    for user in users {
        let mut newcomer = Replica::new(store, user, "newcomer");
        assert_eq!(
            newcomer.pull().await.live(),
            expected,
            "a newcomer of {user}"
        );
    }
}
