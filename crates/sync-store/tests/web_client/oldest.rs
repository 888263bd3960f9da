//! The oldest generation of clients: it applies what comes without comparing anything.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use super::client::fault;

/// A reader of the oldest generation.
#[derive(Clone, Debug, Default)]
pub(crate) struct OldestClient {
    pub(crate) records: BTreeMap<(String, String), Map<String, Json>>,
    pub(crate) cursors: BTreeMap<String, String>,
}

impl OldestClient {
    /// Takes one page; it goes on at the next interval, whatever `hasMore` says.
    pub(crate) fn take_page(&mut self, table: &str, answer: &str) {
        let answer: Json = serde_json::from_str(answer).expect("an answer is JSON");
        for change in answer["serverChanges"]
            .as_array()
            .expect("a list of changes")
        {
            assert_eq!(fault(change), None, "{change}");
            self.apply(change);
        }
        let cursor = answer["syncedUntil"].as_str().expect("a cursor");
        self.cursors.insert(table.to_owned(), cursor.to_owned());
    }

    fn apply(&mut self, change: &Json) {
        let text = |name: &str| change[name].as_str().expect("checked before").to_owned();
        let key = (text("table"), text("id"));
        let data = change.get("data").and_then(Json::as_object);
        match change["op"].as_str() {
            Some("insert") => {
                self.records.insert(key, data.cloned().unwrap_or_default());
            }
            Some("delete") => {
                self.records.remove(&key);
            }
            _ => {
                let fields = change["fields"].as_object().cloned().unwrap_or_default();
                if let Some(record) = self.records.get_mut(&key) {
                    record.extend(
                        fields
                            .into_iter()
                            .map(|(name, field)| (name, field["value"].clone())),
                    );
                } else if let Some(data) = data {
                    self.records.insert(key, data.clone());
                }
            }
        }
    }
}
