//! A device that keeps what it has.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::change::{delete, update};
use crate::device::Device;

/// A device that keeps rows as clients of this dialect do: edits wait under the number that they were given first, what is
/// applied or downloaded is taken with its version, and a conflict is resolved in favour of the device.
pub(crate) struct Replica {
    device: Device,
    /// The version of each row, and the row unless it is deleted.
    pub(crate) rows: BTreeMap<String, (i64, Option<Value>)>,
    waiting: BTreeMap<String, (i64, Option<Value>)>,
    after: i64,
    next: i64,
}

impl Replica {
    pub(crate) fn new(device: Device) -> Self {
        Self {
            device,
            rows: BTreeMap::new(),
            waiting: BTreeMap::new(),
            after: 0,
            next: 1,
        }
    }

    pub(crate) fn edit(&mut self, pk: &str, payload: Option<Value>) {
        let next = self.next;
        let waiting = self.waiting.entry(pk.to_owned());
        waiting.or_insert((next, None)).1 = payload;
        self.next += 1;
    }

    /// Uploads all that waits, in one request; whether something waits still.
    pub(crate) async fn upload(&mut self) -> bool {
        let pending: Vec<_> = self.waiting.clone().into_iter().collect();
        let changes = pending.iter().map(|(pk, (id, payload))| {
            let version = self.rows.get(pk).map_or(0, |(version, _)| *version);
            match payload {
                Some(payload) => update(*id, pk, version, payload.clone()),
                None => delete(*id, pk, version),
            }
        });
        let changes: Vec<Value> = changes.collect();
        let statuses = self.device.statuses(&changes).await;
        for ((pk, (_, payload)), status) in pending.into_iter().zip(&statuses) {
            if status["status"] == "applied" {
                let version = status["new_server_version"].as_i64().unwrap();
                self.waiting.remove(&pk);
                self.rows.insert(pk, (version, payload));
            } else {
                let told = &status["server_row"];
                let version = told["server_version"].as_i64().unwrap();
                let payload = Some(told["payload"].clone()).filter(|payload| !payload.is_null());
                self.rows.insert(pk, (version, payload));
            }
        }
        !self.waiting.is_empty()
    }

    pub(crate) async fn download(&mut self) {
        loop {
            let query = format!("after={}&limit=2", self.after);
            let page = self.device.download(&query).await;
            for row in page.rows() {
                let pk = row["pk"].as_str().unwrap().to_owned();
                let version = row["server_version"].as_i64().unwrap();
                let payload = row.get("payload").cloned();
                let known = self.rows.get(&pk).map_or(0, |(version, _)| *version);
                if version > known && !self.waiting.contains_key(&pk) {
                    self.rows.insert(pk, (version, payload));
                }
            }
            self.after = page.next_after();
            if !page.has_more() {
                return;
            }
        }
    }
}
