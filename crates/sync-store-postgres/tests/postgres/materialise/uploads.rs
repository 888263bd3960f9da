//! Uploads of rows that have a business table: what is written there, and what a row that cannot be costs.

use serde_json::json;
use sync_protocol::AppId;
use sync_store::{Download, OwnRows, Store};

use super::device::{delete, put};
use super::support::{TABLES, World, described, id};
use crate::support::caller;

/// What fails at the commit unless it is checked before.
const LATE: &str = "
create function business.late() returns trigger language plpgsql as
    $$ begin if new.name = 'late' then raise exception 'too late'; end if; return null; end $$;
create constraint trigger late after insert or update on business.users
    deferrable initially deferred for each row execute function business.late();";

fn none() -> Vec<String> {
    Vec::new()
}

#[tokio::test]
async fn one_bad_row_of_three_is_a_failure_until_a_later_upload_of_it_is_good() {
    let world = World::usual().await;
    let mut phone = world.phone("anna", "phone");
    let named = |number, version, name| put("users", number, version, json!({ "name": name }));
    let three = vec![
        named(1, 0, Some("A")),
        named(2, 0, None),
        named(3, 0, Some("C")),
    ];
    assert_eq!(phone.upload(three).await, ["applied v1"; 3]);
    assert_eq!(world.authors().await, ["anna:A", "anna:C"]);
    let failures = world.listed("anna").await;
    assert_eq!(failures.len(), 1, "{failures:?}");
    assert_eq!(failures[0].pk.as_str(), id(2));
    assert_eq!(failures[0].attempted_version, 1);
    assert_eq!(
        phone.upload(vec![named(2, 1, Some("B"))]).await,
        ["applied v2"]
    );
    assert_eq!(world.authors().await, ["anna:A", "anna:B", "anna:C"]);
    assert_eq!(world.failures("anna").await, none());
}

#[tokio::test]
async fn an_upload_with_a_row_that_cannot_be_written_reaches_other_devices() {
    let world = World::usual().await;
    let mut phone = world.phone("anna", "phone");
    let rows = vec![
        put("users", 1, 0, json!({"name": null})),
        put("users", 2, 0, json!({"name": "B"})),
    ];
    phone.applies(rows).await;
    assert_eq!(world.listed("anna").await.len(), 1);
    let download = Download {
        caller: caller("anna", "tablet"),
        app: Some(AppId::new("business").unwrap()),
        after: 0,
        until: 0,
        limit: 10,
        own: OwnRows::LeftOut,
        tables: world.tables.clone(),
    };
    let page = json!(world.store.download(download).await.unwrap());
    let rows = page["changes"].as_array().unwrap();
    let rows: Vec<_> = rows
        .iter()
        .map(|row| (&row["pk"], &row["payload"]))
        .collect();
    let names = [json!({"name": null}), json!({"name": "B"})];
    let ids = [json!(id(1)), json!(id(2))];
    assert_eq!(rows, ids.iter().zip(&names).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_child_before_its_parent_is_written_behind_it_whatever_the_foreign_key() {
    for kind in ["", " deferrable", " deferrable initially deferred"] {
        let sql = TABLES.replace(" deferrable initially deferred", kind);
        let world = World::new(&sql, described(), Vec::new()).await;
        let mut phone = world.phone("anna", "phone");
        let post = json!({"author_id": id(1), "title": "T"});
        let rows = vec![
            put("posts", 2, 0, post),
            put("users", 1, 0, json!({"name": "A"})),
        ];
        assert_eq!(phone.upload(rows).await, ["applied v1"; 2], "{kind}");
        assert_eq!(world.posts().await, ["anna:T"], "{kind}");
        assert_eq!(world.authors().await, ["anna:A"], "{kind}");
        // And both go, the parent first.
        let rows = vec![delete("users", 1, 1), delete("posts", 2, 1)];
        assert_eq!(phone.upload(rows).await, ["applied v2"; 2], "{kind}");
        assert_eq!(world.authors().await, none(), "{kind}");
        assert_eq!(world.failures("anna").await, none(), "{kind}");
    }
}

#[tokio::test]
async fn a_parent_that_others_need_is_deleted_for_devices_and_a_failure_here() {
    for kind in ["", " deferrable initially deferred"] {
        let sql = TABLES.replace(" deferrable initially deferred", kind);
        let world = World::new(&sql, described(), Vec::new()).await;
        let mut phone = world.phone("anna", "phone");
        let post = json!({"author_id": id(1), "title": "T"});
        let rows = vec![
            put("users", 1, 0, json!({"name": "A"})),
            put("posts", 2, 0, post),
        ];
        phone.applies(rows).await;
        let rows = vec![
            delete("users", 1, 1),
            put("users", 3, 0, json!({"name": "C"})),
        ];
        assert_eq!(
            phone.upload(rows).await,
            ["applied v2", "applied v1"],
            "{kind}"
        );
        assert_eq!(world.authors().await, ["anna:A", "anna:C"], "{kind}");
        let failures = world.failures("anna").await;
        assert!(
            failures.len() == 1 && failures[0].starts_with("users 1 v2 r0: PostgreSQL says 23503"),
            "{failures:?}"
        );
    }
}

#[tokio::test]
async fn a_reference_to_nothing_is_null() {
    let world = World::usual().await;
    let mut phone = world.phone("anna", "phone");
    let rows = vec![
        put("posts", 1, 0, json!({"author_id": null, "title": "null"})),
        put("posts", 2, 0, json!({"author_id": "", "title": "empty"})),
        put("posts", 3, 0, json!({"title": "absent"})),
    ];
    assert_eq!(phone.upload(rows).await, ["applied v1"; 3]);
    let written = world
        .texts("select title from business.posts where author_id is null order by id")
        .await;
    assert_eq!(written, ["null", "empty", "absent"]);
    assert_eq!(world.failures("anna").await, none());
}

#[tokio::test]
async fn whatever_is_wrong_with_a_row_costs_it_alone() {
    let sql = format!("{TABLES}{LATE}");
    let world = World::new(&sql, described(), Vec::new()).await;
    let mut phone = world.phone("anna", "phone");
    let bad = [
        (json!({"name": "a\u{0}b"}), "22P05"),
        (json!({"name": "A", "made": "soon"}), "22007"),
        (json!({"name": "A", "made": {"deep": []}}), "22007"),
        (json!({"name": null}), "23502"),
        (json!({}), "23502"),
        (json!({"name": "late"}), "too late"),
        (json!({"name": "B", "email": "same"}), "23505"),
    ];
    let mut rows = vec![put(
        "users",
        50,
        0,
        json!({"name": "first", "email": "same"}),
    )];
    let payloads = (51..).zip(&bad);
    rows.extend(payloads.map(|(number, (payload, _))| put("users", number, 0, payload.clone())));
    rows.push(put("users", 90, 0, json!({"name": "last"})));
    assert_eq!(phone.upload(rows).await, ["applied v1"; 9]);
    assert_eq!(world.authors().await, ["anna:first", "anna:last"]);
    let failures = world.listed("anna").await;
    for (number, (payload, error)) in (51..).zip(&bad) {
        let mut of_row = failures
            .iter()
            .filter(|failure| failure.pk.as_str() == id(number));
        let told = of_row.next().map(|failure| failure.error.as_str());
        assert!(
            told.is_some_and(|told| told.contains(error)),
            "{payload}: {told:?}"
        );
    }
    assert_eq!(failures.len(), bad.len());
    // The next upload of such a row is judged like any other.
    let rows = vec![
        put("users", 51, 0, json!({"name": "again"})),
        put("users", 51, 1, json!({"name": "B"})),
    ];
    assert_eq!(phone.upload(rows).await, ["conflict", "applied v2"]);
    assert_eq!(world.listed("anna").await.len(), bad.len() - 1);
}

#[tokio::test]
async fn two_users_have_rows_of_one_pk() {
    let world = World::usual().await;
    let mut annas = world.phone("anna", "phone");
    let mut bens = world.phone("ben", "phone");
    annas
        .applies(vec![put("users", 1, 0, json!({"name": "A"}))])
        .await;
    let rows = vec![put("users", 1, 0, json!({"name": "B", "user_id": "anna"}))];
    assert_eq!(bens.upload(rows).await, ["applied v1"]);
    assert_eq!(world.authors().await, ["anna:A", "ben:B"]);
    bens.applies(vec![delete("users", 1, 1)]).await;
    assert_eq!(world.authors().await, ["anna:A"]);
    for name in ["anna", "ben"] {
        assert_eq!(world.failures(name).await, none());
    }
}
