//! A device of a clause that speaks the rows dialect.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde_json::{Value as Json, json};
use sync_protocol::rows::RowUpload;
use sync_protocol::{AppId, ClientId, EventIds, FieldName, Millis, TableName};

use super::device::{START, user_id};
use crate::{Caller, Download, OwnRows, RowTable, RowTables, Store, Upload, Uploaded};

/// A device of a user that keeps whole rows, in the app `todo`.
#[derive(Clone)]
pub struct RowDevice {
    store: Arc<dyn Store>,
    caller: Caller,
    /// What the server knows of tables.
    pub tables: Arc<RowTables>,
    /// The server's time at its next request.
    pub now: Millis,
    /// What it sends as `after` next.
    pub after: i64,
    /// What it has of each row by now: the version, and the row unless it is deleted.
    pub rows: BTreeMap<String, (i64, Option<Json>)>,
    requests: u64,
}

impl fmt::Debug for RowDevice {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} of {}", self.caller.client, self.caller.user)
    }
}

impl RowDevice {
    /// A device that has read nothing.
    #[must_use]
    pub fn new(store: &Arc<dyn Store>, user: &str, device: &str) -> Self {
        let caller = Caller {
            user: user_id(user),
            client: ClientId::new(device).expect("an identifier"),
        };
        Self {
            store: store.clone(),
            caller,
            tables: Arc::default(),
            now: START,
            after: 0,
            rows: BTreeMap::new(),
            requests: 0,
        }
    }

    /// The same device, where tables are described: their names, and what refers to what as `(table, column, parent)`.
    #[must_use]
    pub fn with_tables(mut self, names: &[&str], references: &[(&str, &str, &str)]) -> Self {
        let app = AppId::new("todo").expect("an identifier");
        let key = |name: &str| (app.clone(), TableName::new(name).expect("an identifier"));
        let table = |name: &&str| {
            let own = references.iter().filter(|(table, ..)| table == name);
            let own = own.map(|(_, column, parent)| {
                (FieldName::new(column).expect("an identifier"), key(parent))
            });
            let table = RowTable {
                references: own.collect(),
                business: None,
            };
            (key(name), table)
        };
        self.tables = Arc::new(RowTables {
            described: Some(names.iter().map(table).collect()),
            ..RowTables::default()
        });
        self
    }

    /// Uploads changes, given as a JSON array; those that name no schema are for `todo`.
    pub async fn upload(&mut self, mut changes: Json) -> Uploaded {
        for change in changes.as_array_mut().expect("changes are an array") {
            let change = change.as_object_mut().expect("a change is an object");
            change.entry("schema").or_insert_with(|| json!("todo"));
        }
        let body = json!({ "changes": changes }).to_string();
        let upload = RowUpload::parse(body.as_bytes()).expect("a clause uploads what can be read");
        self.requests += 1;
        let seed = format!("{:?}/{}/{body}", self.caller, self.requests);
        let upload = Upload {
            caller: self.caller.clone(),
            changes: upload.changes,
            tables: Arc::clone(&self.tables),
            now: self.now,
            ids: EventIds::new(self.now, u128::from(sync_merge::digest(seed.as_bytes()))),
        };
        self.store
            .upload(upload)
            .await
            .expect("the upload is taken")
    }

    /// What became of each change of an upload.
    pub async fn statuses(&mut self, changes: Json) -> Vec<Json> {
        let statuses = self.upload(changes).await.answer.statuses;
        statuses.iter().map(|status| json!(status)).collect()
    }

    /// One page behind a position, without own rows: the answer as it goes out, without times.
    pub async fn page(&self, after: i64, until: i64, limit: usize, own: OwnRows) -> Json {
        let download = Download {
            caller: self.caller.clone(),
            app: Some(AppId::new("todo").expect("an identifier")),
            after,
            until,
            limit,
            own,
            tables: Arc::clone(&self.tables),
        };
        let page = self.store.download(download).await;
        json!(page.expect("the download is answered"))
    }

    /// Reads all that is new, page by page, and keeps it: what was read, in order.
    pub async fn catch_up(&mut self, limit: usize, own: OwnRows) -> Vec<Json> {
        let mut read = Vec::new();
        loop {
            let page = self.page(self.after, 0, limit, own).await;
            let next = page["next_after"].as_i64().expect("a position");
            assert!(next >= self.after, "a position does not go back");
            let has_more = page["has_more"] == true;
            assert!(
                !has_more || next > self.after,
                "has_more implies that there is another page"
            );
            self.after = next;
            for row in page["changes"].as_array().expect("rows") {
                let pk = row["pk"].as_str().expect("a key").to_owned();
                let version = row["server_version"].as_i64().expect("a version");
                assert_eq!(
                    row["deleted"] == true,
                    row.get("payload").is_none(),
                    "{row}"
                );
                self.rows.insert(pk, (version, row.get("payload").cloned()));
                read.push(row.clone());
            }
            if !has_more {
                return read;
            }
        }
    }
}
