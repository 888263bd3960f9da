//! A device that uploads rows into business tables, and what it is told.

use std::sync::Arc;

use serde_json::{Value as Json, json};
use sync_store::Store;
use sync_store::contract::RowDevice;

use super::support::{World, id};

/// A device of a user, which counts its changes.
pub(crate) struct Phone {
    device: RowDevice,
    sent: i64,
}

impl World {
    /// A device that knows the tables of this world.
    pub(crate) fn phone(&self, user: &str, name: &str) -> Phone {
        let store: Arc<dyn Store> = self.store.clone();
        let mut device = RowDevice::new(&store, user, name);
        device.tables = Arc::clone(&self.tables);
        Phone { device, sent: 0 }
    }

    /// Changes the business database.
    pub(crate) async fn alter(&self, sql: &str) {
        self.raw.batch_execute(sql).await.unwrap();
    }
}

impl Phone {
    /// What became of each of these changes: its status, and the version or the reason.
    pub(crate) async fn upload(&mut self, mut changes: Vec<Json>) -> Vec<String> {
        for change in &mut changes {
            self.sent += 1;
            change["source_change_id"] = json!(self.sent);
            change["schema"] = json!("business");
        }
        self.device.now.0 += 1000;
        let statuses = self.device.statuses(json!(changes)).await;
        statuses.iter().map(told).collect()
    }

    /// Uploads changes, which are all applied.
    pub(crate) async fn applies(&mut self, changes: Vec<Json>) {
        for told in self.upload(changes).await {
            assert!(told.starts_with("applied"), "{told}");
        }
    }
}

fn told(status: &Json) -> String {
    let text = |value: &Json| value.as_str().unwrap_or_default().to_owned();
    let reason = text(&status["invalid"]["reason"]);
    let version = status["new_server_version"].as_i64();
    let version = version.map(|version| format!("v{version}"));
    let more = version.unwrap_or(reason);
    format!("{} {more}", text(&status["status"]))
        .trim_end()
        .to_owned()
}

/// A row that is written over the version that its device knows; 0 if it knows none.
pub(crate) fn put(table: &str, number: u32, version: i64, payload: Json) -> Json {
    json!({"table": table, "op": "INSERT", "pk": id(number), "server_version": version, "payload": payload})
}

/// A row that is deleted.
pub(crate) fn delete(table: &str, number: u32, version: i64) -> Json {
    json!({"table": table, "op": "DELETE", "pk": id(number), "server_version": version})
}
