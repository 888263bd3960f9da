//! Whose rows are where, in which order they are written, and what a bad one costs.

use super::support::{World, gone, id, row};

#[tokio::test]
async fn rows_are_written_over_and_deleted() {
    let world = World::usual().await;
    world
        .write(
            "anna",
            &[
                row("users", 1, 1, r#"{"id":"x","name":"A","server_version":9}"#),
                row("users", 2, 1, r#"{"name":"B","loud":"no","made":0}"#),
            ],
        )
        .await;
    let made = "select made::date::text || ' ' || loud from business.users order by id";
    assert_eq!(world.texts(made).await, ["2020-01-01 A", "1970-01-01 B"]);
    world
        .write(
            "anna",
            &[
                row("users", 1, 2, r#"{"name":"A2"}"#),
                gone("users", 2, 2),
                gone("users", 3, 1),
            ],
        )
        .await;
    assert_eq!(world.authors().await, ["anna:A2"]);
    assert_eq!(world.failures("anna").await, Vec::<String>::new());
}

#[tokio::test]
async fn two_users_have_rows_of_one_key() {
    let world = World::usual().await;
    world
        .write("anna", &[row("users", 1, 1, r#"{"name":"A"}"#)])
        .await;
    world
        .write(
            "ben",
            &[row("users", 1, 1, r#"{"name":"B","user_id":"anna"}"#)],
        )
        .await;
    assert_eq!(world.authors().await, ["anna:A", "ben:B"]);
    world.write("ben", &[gone("users", 1, 2)]).await;
    assert_eq!(world.authors().await, ["anna:A"]);
}

#[tokio::test]
async fn parents_are_written_first_and_deleted_last() {
    let world = World::usual().await;
    let author = id(1);
    let post = format!(r#"{{"author_id":"{author}","title":"T"}}"#);
    world
        .write(
            "anna",
            &[
                row("posts", 2, 1, &post),
                row("users", 1, 1, r#"{"name":"A"}"#),
            ],
        )
        .await;
    assert_eq!(world.posts().await, ["anna:T"]);
    world
        .write("anna", &[gone("users", 1, 2), gone("posts", 2, 2)])
        .await;
    assert_eq!(world.authors().await, Vec::<String>::new());
    assert_eq!(world.failures("anna").await, Vec::<String>::new());
}

#[tokio::test]
async fn a_bad_row_costs_itself_alone() {
    let world = World::usual().await;
    let rows = [
        row("users", 1, 1, r#"{"name":"A"}"#),
        row("users", 2, 1, r#"{"name":null}"#),
        row("users", 3, 1, r#"{"name":"C"}"#),
    ];
    world.write("anna", &rows).await;
    assert_eq!(world.authors().await, ["anna:A", "anna:C"]);
    let expected = "users 2 v1 r0: PostgreSQL says 23502: null value in column \"name\" of relation \"users\" violates not-null constraint";
    assert_eq!(world.failures("anna").await, [expected]);
    let listed = world.listed("anna").await;
    assert_eq!(
        serde_json::to_string(&listed).unwrap(),
        format!(
            r#"[{{"id":1,"user_id":"anna","schema":"business","table":"users","pk":"{}","attempted_version":1,"op":"UPDATE","payload":{{"name":null}},"error":{},"first_seen":"2025-01-04T14:13:20.000Z","retry_count":0}}]"#,
            id(2),
            serde_json::to_string(&listed[0].error).unwrap()
        )
    );
    assert_eq!(world.failures("ben").await, Vec::<String>::new());
}

#[tokio::test]
async fn a_failure_follows_its_row_until_that_is_written() {
    let world = World::usual().await;
    let bad = |version| row("users", 1, version, r#"{"name":null}"#);
    let failing = |told: &str| {
        let text = "PostgreSQL says 23502: null value in column \"name\" of relation \"users\" violates not-null constraint";
        format!("users 1 {told}: {text}")
    };
    world.write("anna", &[bad(1)]).await;
    world.write("anna", &[bad(1)]).await;
    assert_eq!(world.failures("anna").await, [failing("v1 r1")]);
    world.write("anna", &[bad(2)]).await;
    assert_eq!(world.failures("anna").await, [failing("v2 r0")]);
    world
        .write("anna", &[row("users", 1, 3, r#"{"name":"A"}"#)])
        .await;
    assert_eq!(world.failures("anna").await, Vec::<String>::new());
    assert_eq!(world.authors().await, ["anna:A"]);
}

#[tokio::test]
async fn a_parent_that_others_need_stays_and_is_a_failure() {
    let world = World::usual().await;
    let post = format!(r#"{{"author_id":"{}","title":"T"}}"#, id(1));
    world
        .write(
            "anna",
            &[
                row("users", 1, 1, r#"{"name":"A"}"#),
                row("posts", 2, 1, &post),
            ],
        )
        .await;
    // This key is deferred: without a check it would fail at the commit.
    world
        .write(
            "anna",
            &[gone("users", 1, 2), row("users", 3, 1, r#"{"name":"C"}"#)],
        )
        .await;
    assert_eq!(world.authors().await, ["anna:A", "anna:C"]);
    let failures = world.failures("anna").await;
    assert!(
        failures.len() == 1 && failures[0].starts_with("users 1 v2 r0: PostgreSQL says 23503"),
        "{failures:?}"
    );
    assert_eq!(world.listed("anna").await[0].op, "DELETE");
    assert_eq!(world.listed("anna").await[0].payload, None);
}

#[tokio::test]
async fn a_child_fails_with_its_parent_and_both_come_back() {
    let world = World::usual().await;
    let post = format!(r#"{{"author_id":"{}","title":"T"}}"#, id(1));
    world
        .write(
            "anna",
            &[
                row("posts", 2, 1, &post),
                row("users", 1, 1, r#"{"name":"a\u0000b"}"#),
                row("posts", 3, 1, r#"{"author_id":null,"title":"U"}"#),
                row("posts", 4, 1, r#"{"author_id":"","title":"V"}"#),
                row("posts", 5, 1, r#"{"title":"W"}"#),
            ],
        )
        .await;
    assert_eq!(world.posts().await, ["anna:U", "anna:V", "anna:W"]);
    let failures = world.failures("anna").await;
    assert!(
        failures.len() == 2
            && failures[0].starts_with("posts 2 v1 r0: PostgreSQL says 23503")
            && failures[1].starts_with("users 1 v1 r0: PostgreSQL says 22P05"),
        "{failures:?}"
    );
    world
        .write(
            "anna",
            &[
                row("posts", 2, 1, &post),
                row("users", 1, 2, r#"{"name":"A"}"#),
            ],
        )
        .await;
    assert_eq!(world.failures("anna").await, Vec::<String>::new());
}

#[tokio::test]
async fn rows_find_their_order_among_themselves_beside_a_bad_one() {
    let world = World::usual().await;
    let answer = |number: u32, to: u32| {
        let payload = format!(r#"{{"answers":"{}","title":"{number}"}}"#, id(to));
        row("posts", number, 1, &payload)
    };
    let mut rows = vec![row("posts", 9, 1, r#"{"author_id":[]}"#)];
    rows.extend((1..8).map(|number| answer(number, number + 1)));
    rows.push(row("posts", 8, 1, r#"{"title":"8"}"#));
    world.write("anna", &rows).await;
    assert_eq!(world.posts().await.len(), 8);
    assert_eq!(world.failures("anna").await.len(), 1);
}

#[tokio::test]
async fn a_row_that_comes_twice_is_written_as_it_is_last() {
    let world = World::usual().await;
    let rows = [
        row("users", 1, 1, r#"{"name":"A"}"#),
        row("users", 2, 1, r#"{"name":"B"}"#),
        row("users", 1, 2, r#"{"name":"A2"}"#),
        gone("users", 2, 2),
    ];
    world.write("anna", &rows).await;
    assert_eq!(world.authors().await, ["anna:A2"]);
}

#[tokio::test]
async fn what_nobody_takes_needs_no_table() {
    let world = World::usual().await;
    world
        .write("anna", &[row("others", 1, 1, r#"{"name":"A"}"#)])
        .await;
    world.write("anna", &[]).await;
    assert_eq!(world.failures("anna").await, Vec::<String>::new());
}

#[tokio::test]
async fn a_failure_goes_with_its_user() {
    use sync_protocol::Audience;
    use sync_store::{Erasure, Stage, Store};

    let world = World::usual().await;
    for name in ["anna", "ben"] {
        world
            .write(name, &[row("users", 1, 1, r#"{"name":null}"#)])
            .await;
    }
    let mut stage = Some(Stage::Grants);
    while let Some(next) = stage.take() {
        let erasure = Erasure {
            of: Audience::User(crate::support::user("anna")),
            pseudonym: crate::support::user("nobody"),
            stage: next,
            now: crate::support::NOW,
        };
        stage = world.store.erase(erasure).await.unwrap().next;
    }
    assert_eq!(world.listed("anna").await.len(), 0);
    assert_eq!(world.listed("ben").await.len(), 1);
}
