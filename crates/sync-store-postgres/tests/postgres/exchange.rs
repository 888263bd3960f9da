//! What goes in comes out: pushes, pulls, spaces, pages.

use sync_store::{Role, Store};

use crate::support::{Database, grant, ids, insert, pull, push};

#[tokio::test]
async fn what_one_client_pushes_another_pulls() {
    let database = Database::migrated().await;
    let store = database.store().await;
    let pushed = store
        .push(push(
            "anna",
            "phone",
            "",
            &format!("[{}]", insert("t1", "milk")),
        ))
        .await
        .unwrap();
    assert_eq!(pushed.appended, 1);
    let answer = store.pull(pull("anna", "laptop", "")).await.unwrap();
    assert_eq!(ids(&answer), ["t1"]);
    assert!(!answer.has_more);
    assert_eq!(answer.synced_until, pushed.answer.synced_until);
    let nothing = store
        .pull(pull("anna", "laptop", &answer.synced_until))
        .await
        .unwrap();
    assert_eq!(ids(&nothing), Vec::<String>::new());
    let stranger = store.pull(pull("ben", "laptop", "")).await.unwrap();
    assert_eq!(ids(&stranger), Vec::<String>::new());
}

#[tokio::test]
async fn members_read_what_writers_of_their_space_push() {
    let database = Database::migrated().await;
    let store = database.store().await;
    grant(
        &*store,
        "home",
        &[("anna", Role::Writer), ("ben", Role::Reader)],
    )
    .await;
    let change =
        r#"[{"table":"tasks","id":"t1","op":"insert","data":{"spaceId":"home","title":"x"}}]"#;
    store.push(push("anna", "a", "", change)).await.unwrap();
    let read = store.pull(pull("ben", "b", "")).await.unwrap();
    assert_eq!(ids(&read), ["t1"]);
    // The update does not say where the record is.
    let update = r#"[{"table":"tasks","id":"t1","op":"update","fields":{"title":{"value":"y","updatedAt":"2025-01-04T10:00:00Z"}}}]"#;
    let pushed = store
        .push(push("anna", "a", &read.synced_until, update))
        .await
        .unwrap();
    assert_eq!(pushed.appended, 1);
    let read = store
        .pull(pull("ben", "b", &read.synced_until))
        .await
        .unwrap();
    assert_eq!(ids(&read), ["t1"]);
}
