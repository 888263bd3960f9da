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

#[tokio::test]
async fn values_come_back_digit_for_digit() {
    let database = Database::migrated().await;
    let store = database.store().await;
    let data = r#"{"z":1e400,"a":-0.10,"n":12345678901234567890123,"nul":"\u0000","half":"\ud800 \udc00x","deep":{"b":1,"a":2},"quote":"\"\\{}é"}"#;
    let change = format!(
        r#"[{{"table":"tasks","id":"t1","op":"insert","data":{data},"actor":{{"b":1.0,"a":"\u0000"}},"origin":"\ud800"}}]"#
    );
    store
        .push(push("anna", "phone", "", &change))
        .await
        .unwrap();
    let answer = store.pull(pull("anna", "laptop", "")).await.unwrap();
    let [change] = &answer.server_changes[..] else {
        panic!("one change");
    };
    let sent = serde_json::to_string(change).unwrap();
    assert!(sent.contains(data), "{sent}");
    assert!(
        sent.contains(r#""actor":{"b":1.0,"a":"\u0000"},"origin":"\ud800""#),
        "{sent}"
    );
}

#[tokio::test]
async fn what_is_kept_aside_is_kept_once_and_listed_oldest_first() {
    let database = Database::migrated().await;
    let store = database.store().await;
    let changes = r#"[{"table":"tasks","id":"b\u0001","op":"insert","data":{}},{"table":"a\u0001","id":"a","op":"insert","data":{}}]"#;
    for _ in 0..2 {
        let pushed = store
            .push(push("anna", "phone", "", changes))
            .await
            .unwrap();
        assert_eq!(pushed.answer.warnings.len(), 2);
    }
    let parked = store
        .parked(crate::support::user("anna"), crate::support::app())
        .await
        .unwrap();
    let texts: Vec<_> = parked.iter().map(|parked| parked.raw.as_str()).collect();
    assert_eq!(
        texts,
        [
            r#"{"table":"tasks","id":"b\u0001","op":"insert","data":{}}"#,
            r#"{"table":"a\u0001","id":"a","op":"insert","data":{}}"#,
        ]
    );
    let others = store
        .parked(crate::support::user("ben"), crate::support::app())
        .await
        .unwrap();
    assert_eq!(others, []);
}

#[tokio::test]
async fn dead_rows_and_values_of_deleted_records_go_after_the_history_window() {
    use sync_store::{Rules, Swept};
    use sync_store_postgres::{Config, PostgresStore};
    let database = Database::migrated().await;
    let config = Config {
        rules: Rules {
            history_millis: 1000,
            ..Rules::default()
        },
        ..database.config()
    };
    let store = PostgresStore::connect(config).await.unwrap();
    let update = |at: u8| {
        format!(
            r#"[{{"table":"tasks","id":"t1","op":"update","fields":{{"title":{{"value":"x","at":"2025-01-0{at}T10:00:00Z"}}}}}}]"#
        )
    };
    for at in [1, 2, 3] {
        store
            .push(push("anna", "phone", "", &update(at)))
            .await
            .unwrap();
    }
    assert_eq!(store.stats().await.unwrap().dead_rows, 2);
    let now = crate::support::NOW;
    let later = sync_protocol::Millis(now.0 + 1000);
    let nothing = Swept::default();
    assert_eq!(store.sweep(now).await.unwrap(), nothing);
    assert_eq!(
        store.sweep(later).await.unwrap(),
        Swept { rows: 2, ..nothing }
    );
    let delete =
        r#"[{"table":"tasks","id":"t1","op":"delete","deletedAt":"2025-01-04T00:00:00Z"}]"#;
    store.push(push("anna", "phone", "", delete)).await.unwrap();
    assert_eq!(
        store.sweep(later).await.unwrap(),
        Swept {
            rows: 1,
            records: 1,
            more: false
        }
    );
    assert_eq!(store.sweep(later).await.unwrap(), nothing);
    let answer = store.pull(pull("anna", "laptop", "")).await.unwrap();
    assert_eq!(ids(&answer), ["t1"]);
    // What is deleted can come back.
    let undelete = r#"[{"table":"tasks","id":"t1","op":"update","fields":{"deletedAt":{"value":null,"at":"2025-01-05T10:00:00Z"}}}]"#;
    assert_eq!(
        store
            .push(push("anna", "phone", "", undelete))
            .await
            .unwrap()
            .appended,
        1
    );
}
