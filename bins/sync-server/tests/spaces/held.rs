//! What a device holds: records by id, field by field the later time wins; what is of a space that was left, it purges.

use std::collections::BTreeMap;

use sync_client::{Answer, ServerChange};

const DELETED: &str = "deletedAt";

/// The time and the value of each field.
type Fields = BTreeMap<String, (String, String)>;

/// The records of one device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Held(BTreeMap<(Option<String>, String), Fields>);

impl Held {
    /// Takes an answer in.
    pub(crate) fn take(&mut self, answer: &Answer) {
        let is_left = |space: &str| {
            answer
                .removed_spaces
                .iter()
                .any(|left| left.as_str() == space)
        };
        self.0
            .retain(|(space, _), _| !space.as_deref().is_some_and(is_left));
        answer
            .server_changes
            .iter()
            .for_each(|change| self.apply(change));
    }

    /// The ids of the records of a space; of the person alone, if it is none.
    pub(crate) fn ids(&self, space: Option<&str>) -> Vec<&str> {
        let records = self.0.keys().filter(|(own, _)| own.as_deref() == space);
        records.map(|(_, id)| id.as_str()).collect()
    }

    /// The same without what is not of a space; of what was deleted there only that it is.
    pub(crate) fn only(&self, space: &str) -> Self {
        let mut own = self.clone();
        own.0.retain(|(own, _), _| own.as_deref() == Some(space));
        for fields in own.0.values_mut() {
            if fields.contains_key(DELETED) {
                fields.retain(|name, _| name == DELETED);
            }
        }
        own
    }

    /// The text of a field of a record.
    pub(crate) fn text(&self, space: Option<&str>, id: &str, field: &str) -> Option<String> {
        let fields = self.0.get(&(space.map(str::to_owned), id.to_owned()))?;
        let (_, value) = fields.get(field)?;
        serde_json::from_str(value).unwrap()
    }

    fn apply(&mut self, change: &ServerChange) {
        let space = change.space_id.as_ref().map(ToString::to_string);
        let own = self.0.entry((space, change.id.to_string())).or_default();
        let mut set = |name: &str, at: &str, value: &str| {
            let field = own.entry(name.to_owned()).or_default();
            if field.0.as_str() <= at {
                *field = (at.to_owned(), value.to_owned());
            }
        };
        if let Some(fields) = &change.fields {
            for (name, field) in &fields.0 {
                set(name.as_ref(), &field.at, field.value.as_str());
            }
        } else if let Some(data) = &change.data {
            let time = data.find("updatedAt").and_then(|time| time.text());
            for (name, value) in &data.0 {
                set(
                    name.as_ref(),
                    time.as_deref().unwrap_or_default(),
                    value.as_str(),
                );
            }
        }
        if let Some(at) = &change.deleted_at {
            set(DELETED, at, at);
        }
    }
}
