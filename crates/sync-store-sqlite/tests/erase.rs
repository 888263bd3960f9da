//! What is left in the file of a user who was erased.

use std::sync::Arc;

use serde_json::json;
use sync_protocol::{Audience, UserId};
use sync_store::contract::{Device, erase_all};
use sync_store::{Role, Rules, Store};
use sync_store_sqlite::SqliteStore;

#[tokio::test]
async fn nothing_in_the_file_names_an_erased_user() {
    const NAME: &str = "anna-who-is-to-be-forgotten";
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sync.db");
    let store =
        || -> Arc<dyn Store> { Arc::new(SqliteStore::open(&path, Rules::default()).unwrap()) };
    let open = store();
    let mut anna = Device::new(&open, NAME, "phone");
    anna.grant("club", Some(Role::Writer)).await;
    let mut ben = Device::new(&open, "ben", "tablet");
    ben.grant("club", Some(Role::Reader)).await;
    for round in 0..3 {
        let fields = json!({"note": {"value": "hers alone", "at": "2027-01-01T00:00:00Z"}});
        let ahead = json!({"table": "tasks", "id": format!("shared-{round}"), "op": "update",
            "fields": fields, "actor": {"id": NAME}, "spaceId": "club"});
        let mut own = ahead.clone();
        own["spaceId"] = json!(null);
        let parked = json!({"table": "tasks", "id": "a\u{1}", "op": "insert", "data": {}});
        anna.push(json!([ahead, own, parked])).await;
    }
    let read = ben.pull().await;
    let erased = erase_all(&open, &Audience::User(UserId::new(NAME).unwrap())).await;
    assert_eq!((erased.grants, erased.parked), (1, 1));
    assert!(erased.renamed == 3 && erased.claims == 3, "{erased:?}");
    let mut anew = Device::new(&open, "ben", "new");
    assert_eq!(
        anew.pull().await.as_array().map(Vec::len),
        read.as_array().map(Vec::len)
    );
    drop((anna, ben, anew, open));
    // The last connection has copied the write-ahead log back.
    let bytes = std::fs::read(&path).unwrap();
    assert!(bytes.windows(8).any(|bytes| bytes == b"shared-0"));
    assert!(
        !bytes
            .windows(NAME.len())
            .any(|bytes| bytes == NAME.as_bytes())
    );
}
