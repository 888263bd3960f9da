//! What a client holds that applies what it is given, field by field, by the rule of the clients: the later time wins.

use std::collections::BTreeMap;

use sync_client::{Client, ServerChange};

const NO_TIME: &str = "1970-01-01T00:00:00.000Z";
const DELETED: &str = "deletedAt";

type Record = (String, String);
/// Times and values, by name.
type Fields = BTreeMap<String, (String, String)>;

/// The records of one user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Replica {
    records: BTreeMap<Record, Fields>,
}

impl Replica {
    /// What a client that has nothing is given from the beginning to the head, of all tables.
    pub(crate) async fn pulled(client: &Client) -> Self {
        let mut replica = Self::default();
        let mut cursor = String::new();
        loop {
            // A push of nothing pulls all tables.
            let answer = client.push(&cursor, &[]).await.unwrap();
            replica.apply(&answer.server_changes);
            cursor = answer.synced_until;
            if !answer.has_more {
                return replica;
            }
        }
    }

    /// The same of these tables only, table by table.
    pub(crate) async fn pulled_by_table(client: &Client, tables: &[&str]) -> Self {
        let mut replica = Self::default();
        for table in tables {
            let page = |answer: sync_client::Answer| replica.apply(&answer.server_changes);
            client.pull_to_head(table, "", page).await.unwrap();
        }
        replica
    }

    /// Takes changes in.
    pub(crate) fn apply(&mut self, changes: &[ServerChange]) {
        changes.iter().for_each(|change| self.take(change));
    }

    /// Whether it has anything of a table.
    pub(crate) fn has(&self, table: &str) -> bool {
        let mut records = self.records.keys();
        records.any(|(own, _)| own == table)
    }

    /// What it holds in the end: of a deleted record only that it is.
    pub(crate) fn settled(&self) -> Self {
        let mut settled = self.clone();
        for fields in settled.records.values_mut() {
            if fields.contains_key(DELETED) {
                fields.retain(|name, _| name == DELETED);
            }
        }
        settled
    }

    /// The same without the tables that are not named.
    pub(crate) fn only(mut self, tables: &[&str]) -> Self {
        self.records
            .retain(|(table, _), _| tables.contains(&table.as_str()));
        self
    }

    /// In which records two differ.
    pub(crate) fn differences(&self, other: &Self) -> Vec<Record> {
        let all = self.records.keys().chain(other.records.keys());
        let differ = |record: &&Record| self.records.get(record) != other.records.get(record);
        all.filter(differ).cloned().collect()
    }

    fn take(&mut self, change: &ServerChange) {
        let record = (change.table.to_string(), change.id.to_string());
        let own = self.records.entry(record).or_default();
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
            let time = time.as_deref().unwrap_or(NO_TIME);
            for (name, value) in &data.0 {
                set(name.as_ref(), time, value.as_str());
            }
        }
        if let Some(at) = &change.deleted_at {
            set(DELETED, at, at);
        }
    }
}
