//! The rule of `semantics.md` (Which write wins) once more, as short as it can be: what a server must come to.

use std::collections::BTreeMap;

use serde_json::Value as Json;

type FieldKey = (String, String, String);

/// The winning write of each field, by table, record and name: its time, its client and its value.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    pub(crate) fields: BTreeMap<FieldKey, (String, String, String)>,
}

impl Oracle {
    /// Takes a push whose times the server does not have to give, all of them as the web client writes them.
    pub(crate) fn push(&mut self, client: &str, body: &str) {
        let body: Json = serde_json::from_str(body).expect("a body is JSON");
        let mut folded: BTreeMap<FieldKey, (String, String)> = BTreeMap::new();
        for change in body["changes"].as_array().expect("a list of changes") {
            for (name, value, at) in writes(change) {
                let text = |name: &str| change[name].as_str().expect("a text").to_owned();
                let key = (text("table"), text("id"), name);
                if folded.get(&key).is_none_or(|(known, _)| at >= *known) {
                    folded.insert(key, (at, value.to_string()));
                }
            }
        }
        for (key, (at, value)) in folded {
            let write = (at, client.to_owned(), value);
            if self.fields.get(&key).is_none_or(|known| write > *known) {
                self.fields.insert(key, write);
            }
        }
    }

    /// The records that are live, with the values of their fields.
    pub(crate) fn live(&self) -> BTreeMap<(String, String), BTreeMap<String, Json>> {
        let mut records: BTreeMap<(String, String), BTreeMap<String, Json>> = BTreeMap::new();
        for ((table, id, field), (.., value)) in &self.fields {
            let value = serde_json::from_str(value).expect("a value is JSON");
            let record = records.entry((table.clone(), id.clone())).or_default();
            record.insert(field.clone(), value);
        }
        records.retain(|_, record| record.get("deletedAt").is_none_or(Json::is_null));
        for record in records.values_mut() {
            record.remove("deletedAt");
        }
        records
    }
}

fn writes(change: &Json) -> Vec<(String, Json, String)> {
    let mut writes = Vec::new();
    if change["op"] == "insert" {
        let data = change["data"].as_object().expect("an object");
        let at = ["updatedAt", "createdAt"]
            .into_iter()
            .find_map(|name| data.get(name)?.as_str());
        let at = at.unwrap_or("1970-01-01T00:00:00.000Z");
        writes.extend(
            data.iter()
                .map(|(name, value)| (name.clone(), value.clone(), at.to_owned())),
        );
    } else if let Some(fields) = change["fields"].as_object() {
        let of_field = |(name, field): (&String, &Json)| {
            let at = field["at"].as_str().expect("a time").to_owned();
            (name.clone(), field["value"].clone(), at)
        };
        writes.extend(fields.iter().map(of_field));
    }
    if let Some(at) = change["deletedAt"].as_str() {
        writes.push(("deletedAt".to_owned(), Json::from(at), at.to_owned()));
    }
    writes
}
