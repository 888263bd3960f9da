//! Who joins a space reads all of it once, at its grant, and goes on from there (P3; Scopes, spaces and grants: Join).

use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::device::{Device, NO_TIME, TIMES, by, field, ids, insert, list, of, told, update};
use crate::{MAX_PAGE, Role, Store};

/// A row of the table `lists` or `tasks`, by turns.
fn row(n: usize) -> Json {
    let mut row = of("club", insert(&format!("c{n}"), "x"));
    row["table"] = json!(["tasks", "lists"][n % 2]);
    row
}

/// Anna, in the club; and the phone of Ben, who was in the club and wrote into it, left it, and has been away since.
/// Meanwhile anna wrote the rest of its rows, and ben at his tab something of his own.
async fn club(store: &Arc<dyn Store>) -> (Device, Device) {
    let mut anna = Device::new(store, "anna", "phone");
    let mut ben = Device::new(store, "ben", "phone");
    anna.grant("club", Some(Role::Writer)).await;
    anna.push(json!([row(0), row(1)])).await;
    ben.grant("club", Some(Role::Writer)).await;
    ben.push(json!([of("club", insert("own", "ben's"))])).await;
    ben.pull().await;
    ben.grant("club", None).await;
    ben.pull().await;
    anna.push(json!([row(2), row(3)])).await;
    let mut tab = Device::new(store, "ben", "tab");
    tab.push(json!([insert("mine", "ben's")])).await;
    anna.push(json!([row(4), row(5)])).await;
    // The row of `c1` is dead from now on, that of `c0` is not.
    let mut again = of("club", update("c1", "title", "y", TIMES[0]));
    again["table"] = json!("lists");
    let more = of("club", update("c0", "done", true, TIMES[0]));
    anna.push(json!([again, more])).await;
    (anna, ben)
}

/// A member with an old cursor reads every live row of the space once, in the order of their positions and own ones among
/// them, behind what came before the grant; then what is newer.
pub async fn a_joiner_reads_all_of_the_space_once_and_goes_on(store: Arc<dyn Store>) {
    let (mut anna, away) = club(&store).await;
    away.grant("club", Some(Role::Reader)).await;
    anna.push(json!([row(6), insert("annas", "mine"), row(7)]))
        .await;
    for limit in [1, 2, 5, MAX_PAGE] {
        for (tables, expected) in [
            ("", "mine c0 c1 own c2 c3 c4 c5 c1 c0 c6 c7"),
            ("tasks", "mine c0 own c2 c4 c0 c6"),
            ("lists", "c1 c3 c5 c1 c7"),
            (
                "tasks,lists,others",
                "mine c0 c1 own c2 c3 c4 c5 c1 c0 c6 c7",
            ),
        ] {
            let mut ben = away.clone();
            let read = ben.pages(tables, limit).await;
            assert_eq!(
                ids(&read).join(" "),
                expected,
                "{tables:?} in pages of {limit}"
            );
            assert_eq!(ben.since, anna.since, "{tables:?} in pages of {limit}");
            assert_eq!(ben.pages(tables, limit).await, Vec::<Json>::new());
        }
    }
}

/// The rows of a space come at the grant as they would have come before: with times, authors, and what stands.
pub async fn a_joiner_reads_rows_as_everybody_does(store: Arc<dyn Store>) {
    let (_, mut ben) = club(&store).await;
    ben.grant("club", Some(Role::Writer)).await;
    let read = ben.pages("lists", 1).await;
    let mut again = told("c1", "title", "y", TIMES[0]);
    again["table"] = json!("lists");
    assert_eq!(
        read,
        [
            by(
                "anna",
                of(
                    "club",
                    json!({"table": "lists", "id": "c1", "op": "insert", "data": {"id": "c1", "title": "x"}})
                )
            ),
            by("anna", row(3)),
            by("anna", row(5)),
            by("anna", of("club", again)),
        ]
    );
}

/// A push brings the joiner the same: a page of it, then a cursor inside, and the next goes on there.
pub async fn a_push_of_a_joiner_brings_the_space_in_pages(store: Arc<dyn Store>) {
    let mut anna = Device::new(&store, "anna", "phone");
    let mut ben = Device::new(&store, "ben", "phone");
    for device in [&anna, &ben] {
        device.grant("club", Some(Role::Writer)).await;
    }
    let row = |n: usize| of("club", insert(&format!("r{n:04}"), "x"));
    ben.push(json!([row(0)])).await;
    ben.grant("club", None).await;
    ben.pull().await;
    anna.push(Json::Array((1..=MAX_PAGE + 2).map(row).collect()))
        .await;
    ben.grant("club", Some(Role::Writer)).await;
    let mut read = Vec::new();
    for (n, more) in [(0, true), (1, false), (2, false)] {
        let own = insert(&format!("own{n}"), "x");
        let pushed = ben.push(json!([own, of("club", row(9000 + n))])).await;
        assert_eq!(pushed.answer.has_more, more, "push {n}");
        read.extend(list(&pushed.answer));
    }
    let expected: Vec<_> = (0..=MAX_PAGE + 2).map(|n| format!("r{n:04}")).collect();
    assert_eq!(ids(&read), expected);
    assert_eq!(ben.pull().await, json!([]));
}

/// A page that ends where the rows of the space end, or begin, loses none and brings none again.
pub async fn a_page_may_end_at_either_edge_of_what_a_space_held(store: Arc<dyn Store>) {
    let (mut anna, away) = club(&store).await;
    away.grant("club", Some(Role::Reader)).await;
    let mut expected = vec![
        "mine", "c0", "c1", "own", "c2", "c3", "c4", "c5", "c1", "c0",
    ];
    for newer in ["c6", "c8"] {
        for first in 1..=expected.len() {
            let mut ben = away.clone();
            let answer = ben.page("", first).await;
            assert_eq!(answer.has_more, first < expected.len(), "{first}");
            let mut read = list(&answer);
            read.extend(ben.pages("", MAX_PAGE).await);
            assert_eq!(ids(&read), expected, "a first page of {first}");
        }
        let row = if newer == "c6" { row(6) } else { row(8) };
        anna.push(json!([row])).await;
        expected.push(newer);
    }
}

/// What others write while a joiner reads is not lost: on rows that it has read, on rows that it has not, new ones.
pub async fn a_joiner_misses_nothing_that_is_written_meanwhile(store: Arc<dyn Store>) {
    let change = |id: &str, name: &str, value: Json, at: &str| {
        let mut change = of("club", update(id, name, value, at));
        change["table"] = json!(["tasks", "lists"][usize::from("c1c3c5".contains(id))]);
        change
    };
    let (anna, away) = club(&store).await;
    away.grant("club", Some(Role::Reader)).await;
    for before in 0..11 {
        // A world of its own for each place: those of before are what was there.
        let (mut anna, mut ben) = (anna.clone(), away.clone());
        let at = format!("2025-03-01T10:00:00.{before:03}Z");
        let mut read = Vec::new();
        for _ in 0..before {
            read.extend(list(&ben.page("", 1).await));
        }
        anna.push(json!([
            change("c0", "done", json!(before), &at),
            change("c3", "title", json!(before), &at),
            change("c4", "deletedAt", json!(at), &at),
            of("club", insert(&format!("new{before}"), "x")),
        ]))
        .await;
        read.extend(ben.pages("", 1).await);
        let mut tab = Device::new(&store, "ben", "newcomer");
        let live = tab.pages("", 1).await;
        let lacking: Vec<_> = live.iter().filter(|row| !read.contains(row)).collect();
        assert_eq!(lacking, Vec::<&Json>::new(), "after {before} rows");
        assert_eq!(ben.since, tab.since);
    }
}

/// Two spaces are read one after the other, each at its grant, whether they were joined one by one or at once.
pub async fn spaces_are_read_one_after_the_other(store: Arc<dyn Store>) {
    let mut anna = Device::new(&store, "anna", "phone");
    for space in ["club", "team"] {
        anna.grant(space, Some(Role::Writer)).await;
    }
    let away = ["ben", "carl"].map(|user| Device::new(&store, user, "phone"));
    let mut devices = Vec::new();
    for mut device in away {
        device.push(json!([insert("mine", "x")])).await;
        devices.push(device);
    }
    anna.push(json!([
        of("team", insert("t1", "x")),
        of("club", insert("c1", "x")),
        of("team", insert("t2", "x")),
        of("club", insert("c2", "x")),
    ]))
    .await;
    let both = [("club", Role::Reader), ("team", Role::Writer)];
    let at_once = crate::Occasion::Refresh;
    assert_eq!(devices[0].told(at_once, &both).await.joined.len(), 2);
    devices[1].told(at_once, &both[..1]).await;
    anna.push(json!([
        of("club", insert("c3", "x")),
        of("team", insert("t3", "x")),
    ]))
    .await;
    devices[1].told(at_once, &both).await;
    anna.push(json!([of("club", insert("c4", "x"))])).await;
    let expected = ["c1 c2 t1 t2 c3 t3 c4", "c1 c2 c3 t1 t2 t3 c4"];
    for (device, expected) in devices.iter().zip(expected) {
        for limit in [1, 2, 3, MAX_PAGE] {
            let read = device.clone().pages("", limit).await;
            assert_eq!(ids(&read).join(" "), expected, "in pages of {limit}");
        }
    }
}

/// A reading of one table from the beginning takes the rows of a space where they stand among all others, one of all tables
/// at the grant; of a space that is joined meanwhile, both take all of them at the grant.
pub async fn a_reading_from_the_beginning_misses_no_space_that_is_joined_meanwhile(
    store: Arc<dyn Store>,
) {
    let (mut anna, mut phone) = club(&store).await;
    phone.grant("club", Some(Role::Writer)).await;
    anna.grant("team", Some(Role::Writer)).await;
    anna.push(json!([
        of("team", insert("t1", "x")),
        of("team", insert("t2", "x"))
    ]))
    .await;
    phone.push(json!([insert("last", "x")])).await;
    for (tables, later, all) in [
        ("tasks", 0, "c0 own c2 mine c4 c0 last"),
        ("", 100, "mine c0 c1 own c2 c3 c4 c5 c1 c0 last"),
    ] {
        let mut device = phone.clone();
        device.since = String::new();
        assert_eq!(ids(&device.pages(tables, 1).await).join(" "), all);
        for first in 1..all.split(' ').count() {
            let mut device = phone.clone();
            device.since = String::new();
            let mut read = list(&device.page(tables, first).await);
            let mut other = Device::new(&store, "ben", "other");
            other.wait(later + i64::try_from(first).expect("a few"));
            other.grant("team", None).await;
            other.grant("team", Some(Role::Reader)).await;
            read.extend(device.pages(tables, 2).await);
            assert_eq!(
                ids(&read).join(" "),
                format!("{all} t1 t2"),
                "{tables:?}, joined after {first} rows"
            );
            other.grant("team", None).await;
        }
    }
}

/// A client that keeps a cursor for each table and sends the least of them, as text, with a push, loses nothing of a
/// space, wherever each of them stands.
pub async fn the_least_cursor_as_text_is_the_one_that_has_read_least(store: Arc<dyn Store>) {
    let (_, following) = club(&store).await;
    // Behind its first row, it has not reached the grant when that is given.
    let mut hydrating = following.clone();
    hydrating.push(json!([insert("more", "x")])).await;
    hydrating.since = String::new();
    hydrating.page("tasks", 1).await;
    following.grant("club", Some(Role::Writer)).await;
    // Begun when the grant was there, it takes the space where its rows stand.
    let mut late = following.clone();
    late.since = String::new();
    let before = list(&late.page("lists", 1).await);
    let rows = ["c0 own c2 c4 c0", "c1 c3 c5 c1"];
    for (tasks, lists, before) in [
        (&following, &following, Vec::new()),
        (&hydrating, &following, Vec::new()),
        (&hydrating, &late, before),
    ] {
        for steps in 0..64 {
            let (tasks_steps, lists_steps) = (steps / 8, steps % 8);
            let (mut tasks, mut lists) = (tasks.clone(), lists.clone());
            let mut seen = [Vec::new(), before.clone()];
            for _ in 0..tasks_steps {
                seen[0].extend(list(&tasks.page("tasks", 1).await));
            }
            for _ in 0..lists_steps {
                seen[1].extend(list(&lists.page("lists", 1).await));
            }
            let mut device = following.clone();
            device.since = tasks.since.clone().min(lists.since.clone());
            // It appends nothing: the head stays where the grant is.
            let pushed = device.push(json!([])).await.answer;
            for change in list(&pushed).into_iter().chain(device.pages("", 1).await) {
                seen[usize::from(change["table"] == "lists")].push(change);
            }
            for (seen, rows) in seen.iter().zip(rows) {
                let seen = ids(seen);
                let lacking: Vec<_> = rows.split(' ').filter(|id| !seen.contains(id)).collect();
                assert_eq!(lacking, [""; 0], "{} {}", tasks.since, lists.since);
            }
        }
    }
}

/// What a space has behind the head of an app without rows is nothing: its cursor passes the grant all the same.
pub async fn an_app_without_rows_has_read_a_space_at_once(store: Arc<dyn Store>) {
    let (_, ben) = club(&store).await;
    let mut other = ben.clone().in_app("notes");
    other.since = String::new();
    ben.grant("club", Some(Role::Reader)).await;
    assert_eq!(other.pull().await, json!([]));
    let behind = other.since.clone();
    assert!(behind > ben.since, "{behind}");
    let mut anna = Device::new(&store, "anna", "phone").in_app("notes");
    anna.push(json!([of("club", insert("note", "x"))])).await;
    let note = by("anna", of("club", insert("note", "x")));
    assert_eq!(other.pull().await, json!([note]));
}

/// Another role moves nothing: nothing is sent again, the cursor stays, and what is written comes as before.
pub async fn another_role_sends_nothing_again(store: Arc<dyn Store>) {
    let (mut anna, mut ben) = club(&store).await;
    ben.grant("club", Some(Role::Reader)).await;
    ben.pull().await;
    for role in [Role::Writer, Role::Reader, Role::Writer] {
        let before = ben.since.clone();
        ben.wait(1000);
        ben.grant("club", Some(role)).await;
        let answer = ben.page("", MAX_PAGE).await;
        assert_eq!(
            (list(&answer), answer.removed_spaces, &ben.since),
            (vec![], vec![], &before)
        );
    }
    anna.push(json!([of("club", update("c2", "done", 1, NO_TIME))]))
        .await;
    let mut told = by("anna", of("club", told("c2", "done", 1, NO_TIME)));
    told["fields"] = json!({"done": field(json!(1), NO_TIME)});
    assert_eq!(ben.pull().await, json!([told]));
}
