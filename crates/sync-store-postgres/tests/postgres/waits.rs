//! How often a request waits for the database, and how much it reads there.

use sync_protocol::{TableName, Tables};
use sync_store::{MemoryStore, Role, Rules, Store};
use sync_store_postgres::{Config, PostgresStore};

use crate::support::{Database, grant, ids, insert, pull, push};
use crate::wire::Wire;

#[tokio::test]
async fn a_push_waits_four_times_for_any_number_of_changes() {
    let database = Database::migrated().await;
    let wire = Wire::to(&database.url()).await;
    let store = PostgresStore::connect(Config {
        pool_size: 1,
        ..Config::new(wire.url(&database.url()))
    })
    .await
    .unwrap();
    grant(
        &store,
        "home",
        &[("anna", Role::Writer), ("ben", Role::Writer)],
    )
    .await;
    grant(&store, "work", &[("anna", Role::Writer)]).await;
    let mut counts = Vec::new();
    for changes in [1, 2, 200] {
        let insert = |id: usize| {
            let space = ["home", "work", "_personal:x"][id % 3];
            format!(
                r#"{{"table":"tasks","id":"{changes}-{id}","op":"insert","eventId":"0194c0ff-ee00-7abc-8def-{:012x}",
                "data":{{"spaceId":"{space}","title":"x"}}}}"#,
                changes * 1000 + id
            )
        };
        let all: Vec<String> = (0..changes).map(insert).collect();
        let request = push("anna", "phone", "", &format!("[{}]", all.join(",")));
        wire.waits();
        let pushed = store.push(request.clone()).await.unwrap();
        counts.push((pushed.appended, wire.waits()));
        // Sent again it draws nothing.
        let pushed = store.push(request).await.unwrap();
        counts.push((pushed.appended, wire.waits()));
    }
    assert_eq!(counts, [(1, 4), (0, 3), (2, 4), (0, 3), (200, 4), (0, 3)]);
    wire.waits();
    store.pull(pull("ben", "laptop", "")).await.unwrap();
    assert_eq!(wire.waits(), 2);
}

#[tokio::test]
async fn a_page_reads_no_more_rows_than_it_holds() {
    let database = Database::migrated().await;
    let raw = database.raw().await;
    raw.batch_execute(
        "insert into sync_changes (position, created_at, dead_since, id, schema_version, size, opens, to_everyone, undated,
             scope, app_id, table_name, record_id, user_id, client_id, op, data, field_timestamps)
         select number, now(), case when number % 10 > 0 then now() end, gen_random_uuid(), 1, 300, true, false, false,
             'u:anna', 'app', 'tasks', number::text, 'anna', 'phone', 'insert', '{}', '{}'
         from generate_series(1, 50000) as number;
         analyze sync_changes",
    )
    .await
    .unwrap();
    raw.batch_execute("select pg_stat_reset()").await.unwrap();
    let store = database.store().await;
    let mut request = pull("anna", "laptop", "");
    request.limit = 20;
    let answer = store.pull(request.clone()).await.unwrap();
    assert_eq!(ids(&answer).last().map(String::as_str), Some("200"));
    request.tables = Tables::one(TableName::new("tasks").unwrap());
    assert_eq!(ids(&store.pull(request).await.unwrap()), ids(&answer));
    // Connections report what they have read when they end.
    drop(store);
    let read = "select coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0)
                from pg_stat_user_tables
                where relname = 'sync_changes'";
    let mut rows: i64 = 0;
    for _ in 0..500 {
        rows = raw.query_one(read, &[]).await.unwrap().get(0);
        if rows > 0 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert!((42..=60).contains(&rows), "{rows} rows were read");
}

#[tokio::test]
async fn pages_of_large_values_end_where_those_of_the_store_in_memory_end() {
    let database = Database::migrated().await;
    let (store, oracle) = (database.store().await, MemoryStore::new(Rules::default()));
    for (id, size) in [
        ("a", 900_000),
        ("b", 3_000_000),
        ("c", 10),
        ("d", 1_200_000),
        ("e", 10),
    ] {
        let change = format!("[{}]", insert(id, &"x".repeat(size)));
        store
            .push(push("anna", "phone", "", &change))
            .await
            .unwrap();
        oracle
            .push(push("anna", "phone", "", &change))
            .await
            .unwrap();
    }
    let pages = pages(&*store).await;
    assert!(pages.len() > 1, "{pages:?}");
    assert_eq!(pages, self::pages(&oracle).await);
}

#[tokio::test]
async fn a_record_with_many_rows_is_described_once() {
    let database = Database::migrated().await;
    let store = database.store().await;
    let update = |row: usize| {
        let fields: Vec<String> = (0..20)
            .map(|field| {
                let name = format!("{row}-{field}-{}", "n".repeat(90));
                format!(r#""{name}":{{"value":1,"at":"2025-01-01T10:00:00Z"}}"#)
            })
            .collect();
        let fields = fields.join(",");
        format!(r#"[{{"table":"tasks","id":"t1","op":"update","fields":{{{fields}}}}}]"#)
    };
    for row in 0..50 {
        let request = push("anna", "phone", "", &update(row));
        assert_eq!(store.push(request).await.unwrap().appended, 1);
    }
    let wire = Wire::to(&database.url()).await;
    let store = PostgresStore::connect(Config::new(wire.url(&database.url())))
        .await
        .unwrap();
    let request = push("anna", "phone", "2200-01-01T00:00:00Z", &update(50));
    assert_eq!(store.push(request).await.unwrap().appended, 1);
    let heard = wire.heard();
    assert!(heard < 1024 * 1024, "{heard} bytes for a record");
}

#[tokio::test]
async fn a_page_says_that_there_is_more_whenever_rows_were_cut_off() {
    let database = Database::migrated().await;
    let store = database.store().await;
    let all: Vec<String> = (1..=9).map(|number| format!("t{number}")).collect();
    let changes: Vec<String> = all.iter().map(|id| insert(id, "x")).collect();
    store
        .push(push(
            "anna",
            "phone",
            "",
            &format!("[{}]", changes.join(",")),
        ))
        .await
        .unwrap();
    let raw = database.raw().await;
    let page = i32::try_from(sync_store::PAGE_BYTES).unwrap();
    for (sizes, whole) in [
        (
            vec![page + 1, 1, page - 1, 1, i32::MAX, i32::MAX, 1, 1, 1],
            vec![1, 2, 1, 1, 1, 3],
        ),
        (vec![page, 1, 1, 1, 1, 1, 1, 1, page], vec![1, 7, 1]),
        (vec![1, 1, 1, 1, 1, 1, 1, 1, page - 8], vec![9]),
    ] {
        raw.execute(
            "update sync_changes
             set size = ($1::integer[])[substr(record_id, 2)::integer]",
            &[&sizes],
        )
        .await
        .unwrap();
        let pages = pages(&*store).await;
        assert_eq!(pages.concat(), all);
        assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), whole);
        for limit in 1..=9 {
            let (mut since, mut seen) = (String::new(), Vec::new());
            loop {
                let mut request = pull("anna", "laptop", &since);
                request.limit = limit;
                let answer = store.pull(request).await.unwrap();
                seen.extend(ids(&answer));
                since = answer.synced_until;
                if !answer.has_more {
                    break;
                }
            }
            assert_eq!(seen, all, "{limit} of {sizes:?}");
        }
    }
}

/// The ids on each page of a new device.
async fn pages(store: &dyn Store) -> Vec<Vec<String>> {
    let (mut since, mut pages) = (String::new(), Vec::new());
    loop {
        let answer = store.pull(pull("anna", "laptop", &since)).await.unwrap();
        pages.push(ids(&answer));
        since = answer.synced_until;
        if !answer.has_more {
            return pages;
        }
    }
}

#[tokio::test]
async fn a_push_that_starts_over_for_a_scope_waits_twice_more() {
    let database = Database::migrated().await;
    let wire = Wire::to(&database.url()).await;
    let config = Config {
        pool_size: 1,
        ..Config::new(wire.url(&database.url()))
    };
    let store = PostgresStore::connect(config).await.unwrap();
    grant(&store, "home", &[("anna", Role::Writer)]).await;
    let made = r#"[{"table":"tasks","id":"t1","op":"insert","data":{"spaceId":"home"}}]"#;
    store.push(push("anna", "phone", "", made)).await.unwrap();
    wire.waits();
    let change = r#"[{"table":"tasks","id":"t1","op":"update","fields":{"title":{"value":"x","at":"2025-01-01T10:00:00Z"}}}]"#;
    let pushed = store.push(push("anna", "phone", "", change)).await.unwrap();
    assert_eq!((pushed.appended, wire.waits()), (1, 6));
}
