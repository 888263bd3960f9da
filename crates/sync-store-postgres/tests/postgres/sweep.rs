//! What a sweep takes up at once, and whose.

use sync_protocol::Millis;
use sync_store::{Rules, Store, Swept, personal};
use sync_store_postgres::{Config, PostgresStore};

use crate::support::{Database, NOW, insert, push, user};

/// A store that keeps no history, and a moment at which everything is due.
async fn forgetful(database: &Database) -> (PostgresStore, Millis) {
    let config = Config {
        rules: Rules {
            history_millis: 0,
            ..Rules::default()
        },
        ..database.config()
    };
    let store = PostgresStore::connect(config).await.unwrap();
    (store, Millis(NOW.0 + 1))
}

/// Makes records, and deletes them: the delete comes with a value, which is in the row of the tombstone.
async fn make_and_delete(store: &dyn Store, name: &str, records: &[String]) {
    let made: Vec<String> = records.iter().map(|id| insert(id, "x")).collect();
    let deleted = records.iter().map(|id| {
        format!(
            r#"{{"table":"tasks","id":"{id}","op":"delete","deletedAt":"2025-01-02T10:00:00.000Z",
                "fields":{{"note":{{"value":"secret","at":"2025-01-02T10:00:00Z"}}}}}}"#
        )
    });
    for changes in [made, deleted.collect()] {
        let changes = format!("[{}]", changes.join(","));
        store.push(push(name, "phone", "", &changes)).await.unwrap();
    }
}

fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("t{number}")).collect()
}

#[tokio::test]
async fn a_scope_that_is_always_busy_keeps_no_other_from_being_swept() {
    let database = Database::migrated().await;
    let (store, later) = forgetful(&database).await;
    make_and_delete(&store, "busy", &numbered(101)).await;
    make_and_delete(&store, "anna", &numbered(1)).await;
    let raw = database.raw().await;
    let key = personal(&user("busy")).lock_key();
    raw.execute("select pg_advisory_lock_shared($1)", &[&key])
        .await
        .unwrap();
    let anna = Swept {
        rows: 1,
        records: 1,
        more: false,
    };
    assert_eq!(store.sweep(later).await.unwrap(), anna);
    assert_eq!(store.sweep(later).await.unwrap(), Swept::default());
    raw.execute("select pg_advisory_unlock_shared($1)", &[&key])
        .await
        .unwrap();
    let busy = Swept {
        rows: 100,
        records: 100,
        more: true,
    };
    assert_eq!(store.sweep(later).await.unwrap(), busy);
    assert_eq!(store.sweep(later).await.unwrap(), anna);
}

#[tokio::test]
async fn a_sweep_takes_up_few_large_records_at_once() {
    let database = Database::migrated().await;
    let (store, later) = forgetful(&database).await;
    make_and_delete(&store, "anna", &numbered(6)).await;
    let raw = database.raw().await;
    // Large is what the log says is large.
    raw.batch_execute(
        "update sync_changes
         set size = (array[0, 3, 7, 5, 4, 100])[substr(record_id, 2)::integer + 1] * 1024 * 1024
         where data like '%deletedAt%';
         update sync_records
         set deleted_since = deleted_since + substr(record_id, 2)::integer * interval '1 microsecond'",
    )
    .await
    .unwrap();
    let mut swept = Vec::new();
    loop {
        let batch = store.sweep(later).await.unwrap();
        swept.push(batch.records);
        if !batch.more {
            break;
        }
    }
    assert_eq!(swept, [4, 1, 1]);
}

#[tokio::test]
async fn a_tombstone_takes_as_much_room_on_a_page_as_is_left_of_it() {
    let database = Database::migrated().await;
    let (store, later) = forgetful(&database).await;
    make_and_delete(&store, "anna", &numbered(1)).await;
    let raw = database.raw().await;
    let left = "select size, data from sync_changes";
    let before: i32 = raw.query(left, &[]).await.unwrap()[0].get(0);
    store.sweep(later).await.unwrap();
    let row = raw.query_one(left, &[]).await.unwrap();
    let data: &str = row.get(1);
    assert_eq!(data, r#"{"deletedAt":"2025-01-02T10:00:00.000Z"}"#);
    let size: i32 = row.get(0);
    assert!(size < before, "{size} of {before}");
}

#[tokio::test]
async fn a_sweep_leaves_rows_alone_that_a_record_of_another_scope_points_at() {
    let database = Database::migrated().await;
    let (store, later) = forgetful(&database).await;
    make_and_delete(&store, "anna", &numbered(1)).await;
    for id in ["b1", "b2"] {
        let changes = format!("[{}]", insert(id, "x"));
        store
            .push(push("ben", "phone", "", &changes))
            .await
            .unwrap();
    }
    let raw = database.raw().await;
    let bens = "select position, data, size, dead_since is null
                from sync_changes
                where scope = 'u:ben'
                order by position";
    let texts = |rows: Vec<tokio_postgres::Row>| -> Vec<(i64, String, i32, bool)> {
        let read = |row: &tokio_postgres::Row| (row.get(0), row.get(1), row.get(2), row.get(3));
        rows.iter().map(read).collect()
    };
    let before = texts(raw.query(bens, &[]).await.unwrap());
    // The record's own positions, both for those of Ben's rows: one that dies with its values, one that is the tombstone.
    raw.batch_execute(
        "update sync_records as broken
         set
             rows = array[bens.positions[1], bens.positions[2]],
             state = replace(
                 replace(state, broken.rows[1]::text, bens.positions[1]::text),
                 broken.rows[2]::text,
                 bens.positions[2]::text
             )
         from (
             select array_agg(position order by position) as positions
             from sync_changes
             where scope = 'u:ben'
         ) as bens
         where scope = 'u:anna'",
    )
    .await
    .unwrap();
    assert_eq!(store.sweep(later).await.unwrap().records, 1);
    assert_eq!(texts(raw.query(bens, &[]).await.unwrap()), before);
}
