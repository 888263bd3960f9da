//! Nothing is skipped and nothing comes twice: cursors, pages, hydrations, clocks, concurrent writers (P3).

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value as Json, json};

use super::device::{Device, TIMES, changes, insert, update};
use crate::{Cursor, Role, Store};

/// At the head there is nothing more, and the cursor does not move.
pub async fn a_cursor_at_the_head_brings_nothing_and_stays(store: Arc<dyn Store>) {
    let mut phone = Device::new(&store, "anna", "phone");
    assert_eq!(
        phone.page("tasks", 10).await.synced_until,
        "1970-01-01T00:00:00.000000000Z"
    );
    phone.push(json!([insert("a", "1")])).await;
    let mut tab = Device::new(&store, "anna", "tab");
    tab.pull().await;
    let cursor = tab.since.clone();
    assert_eq!(cursor, phone.since);
    assert_eq!(cursor.len(), "2026-01-01T00:00:00.000000000Z".len());
    tab.wait(60_000);
    for table in ["tasks", "others", ""] {
        let answer = tab.page(table, 10).await;
        assert_eq!(
            (answer.server_changes.len(), &answer.synced_until),
            (0, &cursor)
        );
    }
}

/// Pages of any size bring each row once, in order.
pub async fn small_pages_bring_every_row_once(store: Arc<dyn Store>) {
    let all: Vec<_> = (0..25).map(|n| insert(&format!("r{n:02}"), "x")).collect();
    Device::new(&store, "anna", "phone").push(json!(all)).await;
    for limit in [1, 2, 7, 24, 25, 26] {
        let mut tab = Device::new(&store, "anna", "tab");
        let mut read: Vec<Json> = Vec::new();
        loop {
            let answer = tab.page("tasks", limit).await;
            assert!(answer.server_changes.len() <= limit);
            read.extend(
                changes(&answer.server_changes)
                    .as_array()
                    .expect("a list")
                    .iter()
                    .cloned(),
            );
            if !answer.has_more {
                break;
            }
        }
        assert_eq!(read, all, "in pages of {limit}");
    }
}

/// A pull of one table does not stop at the rows of others, and its cursor passes them.
pub async fn a_page_of_one_table_passes_the_rows_of_the_others(store: Arc<dyn Store>) {
    let other = |n: usize| json!({"table": "others", "id": format!("o{n}"), "op": "insert", "data": {"n": n}});
    let mut phone = Device::new(&store, "anna", "phone");
    phone
        .push(json!([
            other(0),
            insert("a", "1"),
            other(1),
            insert("b", "2"),
            other(2)
        ]))
        .await;
    let mut tab = Device::new(&store, "anna", "tab");
    let first = tab.page("tasks", 1).await;
    assert_eq!(
        (changes(&first.server_changes), first.has_more),
        (json!([insert("a", "1")]), true)
    );
    let second = tab.page("tasks", 1).await;
    assert_eq!(
        (changes(&second.server_changes), second.has_more),
        (json!([insert("b", "2")]), false)
    );
    assert_eq!(tab.since, phone.since);
}

/// A page of some tables is in order of position over all of them, in whatever scope, and passes the rows of the others.
pub async fn a_page_of_some_tables_is_in_order_over_all_of_them(store: Arc<dyn Store>) {
    let mut phone = Device::new(&store, "anna", "phone");
    phone.grant("team", Some(Role::Writer)).await;
    let tables = ["tasks", "notes", "others"];
    let rows: Vec<_> = (0..30)
        .map(|n| {
            let mut row = json!({"table": tables[n % 3], "id": format!("r{n:02}"), "op": "insert", "data": {"n": n}});
            if n % 4 == 0 {
                row["spaceId"] = json!("team");
            }
            row
        })
        .collect();
    phone.push(json!(rows)).await;
    let wanted: Vec<_> = rows
        .iter()
        .filter(|row| row["table"] != "others")
        .map(|row| row["id"].clone())
        .collect();
    // Few tables, and more: stores may read them in other ways.
    for names in [
        "notes,tasks",
        "notes,nothing,tasks",
        "notes,tasks,a,b,c,d,e",
    ] {
        for limit in [1, 3, 19, 20, 21] {
            let mut tab = Device::new(&store, "anna", "tab");
            let mut read = Vec::new();
            loop {
                let answer = tab.page(names, limit).await;
                read.extend(answer.server_changes.iter().map(|change| json!(change.id)));
                if !answer.has_more {
                    break;
                }
            }
            assert_eq!(read, wanted, "{names} in pages of {limit}");
            assert_eq!(tab.since, phone.since);
        }
    }
}

/// A push says in which scopes and tables it has appended rows, up to which position; a replay nowhere.
pub async fn a_push_says_where_it_has_appended(store: Arc<dyn Store>) {
    let mut phone = Device::new(&store, "anna", "phone");
    phone.grant("team", Some(Role::Writer)).await;
    let in_table = |table: &str, id: &str| json!({"table": table, "id": id, "op": "insert", "data": {"n": 1, "updatedAt": TIMES[0]}});
    let mut shared = in_table("lists", "c");
    shared["spaceId"] = json!("team");
    let changes = json!([in_table("tasks", "a"), in_table("notes", "b"), shared]);
    let before = phone.since.clone();
    let touched = phone.push(changes.clone()).await.touched;
    let told: Vec<_> = touched
        .iter()
        .map(|touched| {
            let tables: Vec<_> = touched.tables.iter().map(|table| table.as_str()).collect();
            (touched.scope.key(), tables.join(","), touched.to_everyone)
        })
        .collect();
    assert_eq!(
        told,
        [
            ("u:anna".to_owned(), "notes,tasks".to_owned(), false),
            ("s:team".to_owned(), "lists".to_owned(), false),
        ]
    );
    // The last of the rows is the last of the push.
    let last = touched.iter().map(|touched| touched.position).max();
    assert_eq!(last, Some(Cursor::parse(&phone.since).position()));
    phone.since = before;
    assert_eq!(phone.push(changes).await.touched, []);
}

/// A cursor above everything committed counts as the greatest committed position: what comes later is not skipped.
pub async fn a_cursor_from_the_future_is_lowered(store: Arc<dyn Store>) {
    let mut phone = Device::new(&store, "anna", "phone");
    phone.push(json!([insert("a", "1")])).await;
    let mut tab = Device::new(&store, "anna", "tab");
    tab.since = "2099-01-01T00:00:00Z".to_owned();
    assert_eq!(tab.pull().await, json!([]));
    assert_eq!(tab.since, phone.since);
    phone.push(json!([insert("b", "2")])).await;
    assert_eq!(tab.pull().await, json!([insert("b", "2")]));
    // In an app (or a table, or for a user) that has nothing yet, the database as a whole is the bound.
    let mut stranger = Device::new(&store, "ben", "phone");
    stranger.since = "2099-01-01T00:00:00Z".to_owned();
    stranger.page("tasks", 10).await;
    assert_eq!(stranger.since, phone.since);
    let mut other = Device::new(&store, "ben", "tab");
    other.push(json!([insert("c", "3")])).await;
    assert_eq!(stranger.pull().await, json!([insert("c", "3")]));
}

/// A wall clock that steps back by an hour changes nothing: positions go on rising.
pub async fn a_clock_that_steps_back_skips_nothing(store: Arc<dyn Store>) {
    let mut phone = Device::new(&store, "anna", "phone");
    let mut tab = Device::new(&store, "anna", "tab");
    for (n, step) in [0, 1000, -3_600_000, 1, -3_600_000, 10_000_000]
        .into_iter()
        .enumerate()
    {
        phone.wait(step);
        tab.now = phone.now;
        phone.push(json!([insert(&format!("r{n}"), "x")])).await;
        assert_eq!(tab.pull().await, json!([insert(&format!("r{n}"), "x")]));
        assert_eq!(tab.since, phone.since);
    }
}

/// Writers of one user and of a space they share push side by side; readers that page along miss nothing and get
/// nothing twice.
pub async fn concurrent_writers_are_read_without_a_gap(store: Arc<dyn Store>) {
    const WRITERS: usize = 6;
    const PUSHES: usize = 40;
    for user in ["anna", "ben"] {
        Device::new(&store, user, "setup")
            .grant("club", Some(crate::Role::Writer))
            .await;
    }
    let written = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| tokio::spawn(write(store.clone(), writer, PUSHES)))
        .collect();
    let readers: Vec<_> = (0..3)
        .map(|reader| tokio::spawn(read(store.clone(), written.clone(), reader)))
        .collect();
    for writer in writers {
        writer.await.expect("a writer ends");
    }
    written.store(true, Ordering::SeqCst);
    for reader in readers {
        let seen = reader.await.expect("a reader ends");
        let twice = seen.values().filter(|times| **times != 1).count();
        assert_eq!((seen.len(), twice), (WRITERS * PUSHES, 0));
    }
}

async fn write(store: Arc<dyn Store>, writer: usize, pushes: usize) {
    let user = ["anna", "ben"][writer % 2];
    let mut device = Device::new(&store, user, &format!("w{writer}"));
    for n in 0..pushes {
        let mut change = insert(&format!("w{writer}-{n}"), "x");
        change["spaceId"] = json!("club");
        device.push(json!([change])).await;
    }
}

/// Reads along in small pages until all is written and read: how often it has seen each record.
async fn read(
    store: Arc<dyn Store>,
    written: Arc<AtomicBool>,
    reader: usize,
) -> HashMap<String, usize> {
    let user = ["anna", "ben"][reader % 2];
    let mut device = Device::new(&store, user, &format!("r{reader}"));
    let mut seen: HashMap<String, usize> = HashMap::new();
    loop {
        let all_is_written = written.load(Ordering::SeqCst);
        let answer = device.page("tasks", 3).await;
        if all_is_written && answer.server_changes.is_empty() {
            return seen;
        }
        for change in answer.server_changes {
            *seen.entry(change.id.to_string()).or_default() += 1;
        }
        tokio::task::yield_now().await;
    }
}

/// A device that lost its database but kept its id gets its own changes back, on every page.
pub async fn a_hydration_brings_own_changes_on_every_page(store: Arc<dyn Store>) {
    let all: Vec<_> = (0..5).map(|n| insert(&format!("r{n}"), "x")).collect();
    let mut phone = Device::new(&store, "anna", "phone");
    phone.push(json!(all)).await;
    let bare = phone.since.clone();
    phone.since = "1970-01-01T00:00:00.000Z".to_owned();
    let mut read = Vec::new();
    loop {
        let answer = phone.page("tasks", 2).await;
        read.extend(
            changes(&answer.server_changes)
                .as_array()
                .expect("a list")
                .iter()
                .cloned(),
        );
        if !answer.has_more {
            break;
        }
        assert!(phone.since.len() > bare.len() && phone.since[..bare.len()] <= bare[..]);
    }
    assert_eq!(read, all);
    assert_eq!(phone.since, bare, "at the head the cursor is bare");
    // A push from the beginning hydrates as well, without the rows of the very push.
    phone.since = String::new();
    let pushed = phone.push(json!([insert("new", "x")])).await;
    assert_eq!(changes(&pushed.answer.server_changes), json!(all));
}

/// More than a page waits for a push: `hasMore`, and a cursor behind the last row that the answer holds.
pub async fn a_cursor_of_a_push_passes_nothing_that_the_answer_lacks(store: Arc<dyn Store>) {
    let all: Vec<_> = (0..1500)
        .map(|n| insert(&format!("r{n:04}"), "x"))
        .collect();
    Device::new(&store, "anna", "phone").push(json!(all)).await;
    let mut tab = Device::new(&store, "anna", "tab");
    tab.since = "2025-01-01T00:00:00Z".to_owned();
    let pushed = tab
        .push(json!([update("mine", "title", "x", TIMES[0])]))
        .await;
    assert_eq!(
        (pushed.answer.server_changes.len(), pushed.answer.has_more),
        (1000, true)
    );
    assert_eq!(changes(&pushed.answer.server_changes), json!(all[..1000]));
    assert_eq!(tab.pull().await, json!(all[1000..]));
}
