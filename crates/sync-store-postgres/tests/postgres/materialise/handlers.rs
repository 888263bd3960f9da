//! Handlers of programs that embed the store.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use sync_protocol::{AppId, TableName, UserId};
use sync_store::{RowAfter, RowTables, StoreError};
use sync_store_postgres::{BusinessConnection, Handler, HandlerError, HandlerWork};

use super::device::put;
use super::support::{TABLES, World, id, row};
use crate::support::{NOW, user};

/// Writes the names of users, and does what some names ask for instead.
struct Names {
    calls: Arc<AtomicUsize>,
}

impl Handler for Names {
    fn takes(&self, _: &AppId, table: &TableName) -> bool {
        table.as_str() == "users"
    }

    fn write<'a>(
        &'a self,
        connection: &'a BusinessConnection<'a>,
        user: &'a UserId,
        rows: &'a [RowAfter],
    ) -> HandlerWork<'a> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            for row in rows {
                write(connection, user, row).await?;
            }
            Ok(())
        })
    }
}

async fn write(
    connection: &BusinessConnection<'_>,
    user: &UserId,
    row: &RowAfter,
) -> Result<(), HandlerError> {
    let name = row
        .payload
        .as_ref()
        .and_then(|payload| payload.find("name"));
    let name = name.and_then(|name| name.text()).unwrap_or_default();
    let sql = match name.as_str() {
        "panic" => panic!("no such name"),
        "refuse" => return Err(HandlerError::new("not\0this")),
        "quiet" => {
            // An error that is not passed on.
            let _ = connection.execute("select 1 / 0", &[]).await;
            return Ok(());
        }
        "number" => {
            connection.query("select $1::integer", &[&"x"]).await?;
            return Ok(());
        }
        "serialize" => "do $$ begin raise sqlstate '40001'; end $$",
        "full" => "do $$ begin raise sqlstate '53100'; end $$",
        _ => {
            let sql =
                "insert into business.users (user_id, id, name) values ($1, $2::text::uuid, $3)
                       on conflict (user_id, id) do update set name = excluded.name";
            let record = row.record.as_str();
            connection
                .execute(sql, &[&user.as_str(), &record, &name])
                .await?;
            return Ok(());
        }
    };
    connection.execute(sql, &[]).await.map(|_| ())
}

async fn world() -> (World, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let handler: Arc<dyn Handler> = Arc::new(Names {
        calls: calls.clone(),
    });
    let world = World::new(TABLES, RowTables::default(), vec![handler]).await;
    (world, calls)
}

fn named(number: u32, name: &str) -> RowAfter {
    row("users", number, 1, &format!(r#"{{"name":"{name}"}}"#))
}

#[tokio::test]
async fn a_handler_gets_all_rows_at_once() {
    let (world, calls) = world().await;
    world.write("anna", &[named(1, "A"), named(2, "B")]).await;
    assert_eq!(world.authors().await, ["anna:A", "anna:B"]);
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn whatever_a_handler_does_wrong_costs_its_row_alone() {
    let (world, _) = world().await;
    let names = ["panic", "refuse", "quiet", "number", "A"];
    let rows: Vec<_> = (1..)
        .zip(names)
        .map(|(number, name)| named(number, name))
        .collect();
    world.write("anna", &rows).await;
    assert_eq!(world.authors().await, ["anna:A"]);
    let failures = world.failures("anna").await;
    let expected = [
        "users 1 v1 r0: the handler panicked: no such name",
        "users 2 v1 r0: not\u{fffd}this",
        "users 3 v1 r0: PostgreSQL says 25P02",
        "users 4 v1 r0: error serializing parameter 0",
    ];
    assert_eq!(failures.len(), expected.len());
    for (failure, expected) in failures.iter().zip(expected) {
        assert!(failure.starts_with(expected), "{failure}");
    }
}

#[tokio::test]
async fn a_handler_that_panics_costs_an_upload_nothing_else() {
    let (world, _) = world().await;
    let mut phone = world.phone("anna", "phone");
    let rows = ["panic", "refuse", "A"].iter().zip(1..);
    let rows = rows.map(|(name, number)| put("users", number, 0, json!({ "name": name })));
    assert_eq!(phone.upload(rows.collect()).await, ["applied v1"; 3]);
    assert_eq!(world.authors().await, ["anna:A"]);
    assert_eq!(
        world.failures("anna").await,
        [
            "users 1 v1 r0: the handler panicked: no such name",
            "users 2 v1 r0: not\u{fffd}this"
        ]
    );
}

#[tokio::test]
async fn what_passes_is_no_failure_of_a_row() {
    let (world, calls) = world().await;
    for (name, least) in [("serialize", 2), ("full", 1)] {
        calls.store(0, Ordering::SeqCst);
        let rows = [named(1, name), named(2, "B")];
        let outcome = world.store.materialise(&user("anna"), NOW, &rows).await;
        assert!(
            matches!(outcome, Err(StoreError::Unavailable(_))),
            "{name}: {outcome:?}"
        );
        assert!(calls.load(Ordering::SeqCst) >= least, "{name}");
    }
    assert_eq!(world.authors().await, Vec::<String>::new());
    assert_eq!(world.failures("anna").await, Vec::<String>::new());
    world.write("anna", &[named(3, "C")]).await;
    let key = format!("select name from business.users where id = '{}'", id(3));
    assert_eq!(world.texts(&key).await, ["C"]);
}
