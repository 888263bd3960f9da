//! The oldest generation of clients: it applies what comes without comparing anything.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use super::client::fault;

/// A reader of the oldest generation.
#[derive(Clone, Debug, Default)]
pub(crate) struct OldestClient {
    pub(crate) records: BTreeMap<(String, String), Map<String, Json>>,
}

impl OldestClient {
    /// Takes one page; it goes on at the next interval, whatever `hasMore` says.
    pub(crate) fn take_page(&mut self, answer: &str) {
        let answer: Json = serde_json::from_str(answer).expect("an answer is JSON");
        for change in answer["serverChanges"]
            .as_array()
            .expect("a list of changes")
        {
            assert_eq!(fault(change), None, "{change}");
            self.apply(change);
        }
    }

    /// The records that are not marked as deleted.
    pub(crate) fn live(&self) -> impl Iterator<Item = &(String, String)> {
        let live = |(_, record): &(_, &Map<String, Json>)| {
            record.get("deletedAt").is_none_or(Json::is_null)
        };
        self.records.iter().filter(live).map(|(key, _)| key)
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
