//! The faults of the public service (`rows.md`, 9), each with what shows that this one does not have it.
//!
//! | Fault | What shows it |
//! |---|---|
//! | 9.1 refused changes leak | `batches`: `what_was_refused_in_a_batch_reaches_nobody`, `deletes_that_do_nothing_leave_nothing` |
//! | 9.1 a resent, resolved change is swallowed | `batches`: `what_was_refused_in_a_batch_may_be_sent_again_by_the_same_number` |
//! | 9.1 several changes of one row fail | `batches`: `a_row_that_is_written_three_times_in_one_request_has_three_versions` |
//! | 9.1 devices end with each other's values | `two_devices_that_edit_the_same_rows_end_alike` |
//! | 9.1 racing devices leave more rows than they should | `who_loses_a_race_is_told_the_row`, `replays`: `of_identical_requests_at_once_one_takes_effect` |
//! | 9.2 a NUL in a name fails the upload | `a_nul_in_a_name_costs_its_change_alone` |
//! | 9.2 a conflict on a row with a NUL fails | `a_row_that_holds_a_nul_goes_out_and_into_conflicts_as_it_came` |
//! | 9.2 versions at the edge of 64 bits fail | `versions_and_numbers_at_the_edge_of_64_bits_are_judged_like_any` |
//! | 9.2 a bad parent fails the upload of its child | `a_parent_that_is_refused_costs_its_child_and_nobody_else` |
//! | 9.2 the delete of a parent fails the upload | `tables`: `the_delete_of_a_parent_with_children_is_answered_by_itself` |
//! | 9.2 a reference to null drops the connection | `tables`: `a_reference_to_nothing_is_not_checked` |
//! | 9.2 a bad business row fails the upload | `sync-store-postgres`, `materialise/rows.rs`: `a_bad_row_costs_itself_alone`, `a_parent_that_others_need_stays_and_is_a_failure`, `a_child_fails_with_its_parent_and_both_come_back` |
//! | 9.3 what commits late is never delivered | `held`: `what_commits_late_reaches_every_device`, `replays`: `whatever_is_committed_in_whatever_order_reaches_every_device` |
//! | 9.4 a: an edit before the lost answer is lost | `an_edit_made_before_the_lost_answer_came_is_not_lost` |
//! | 9.4 b: numbers from 1 again lose rows | `a_device_that_counts_from_1_again_loses_nothing` |
//! | 9.5 a replay is refused | `a_replay_is_applied_whatever_has_become_of_its_parent_and_its_table` |
//! | 9.5 parents need a business table | `tables`: `a_child_that_was_refused_is_applied_when_its_parent_is_there` |
//! | 9.5 users write over each other's business rows | `sync-store-postgres`, `materialise/rows.rs`: `two_users_have_rows_of_one_key` |
//! | 9.5 what a device drops is lost | `batches`: `a_table_that_is_not_there_is_refused_beside_what_is_applied`; `sync-store`, `contract/rows.rs`: `what_can_never_be_a_row_is_answered_alone_and_kept` |
//! | 9.5 tokens without expiry, any HMAC | `identity`: `a_bad_token_is_refused_on_every_route`; `sync-access`: `the_secret_checks_hs256_alone_and_no_public_key_checks_it` |
//! | 9.5 failures of others | `sync-store-postgres`, `materialise/retries.rs`: `nobody_retries_the_failure_of_another_user` |
//! | 9.5 a lost race is an `internal_error` | `who_loses_a_race_is_told_the_row` |

use std::collections::BTreeMap;

use futures_util::future::join_all;
use serde_json::{Value, json};
use sync_store::{RowLimits, RowTables};

use crate::change::{
    applied, assert_invalid, conflict, delete, insert, missing, named, new, pk, update, with,
};
use crate::device::{pks, row};
use crate::replica::Replica;
use crate::tables::{described, post};
use crate::world::{Place, World};

on_both! {
    two_devices_that_edit_the_same_rows_end_alike,
    who_loses_a_race_is_told_the_row,
    a_nul_in_a_name_costs_its_change_alone,
    a_row_that_holds_a_nul_goes_out_and_into_conflicts_as_it_came,
    versions_and_numbers_at_the_edge_of_64_bits_are_judged_like_any,
    a_parent_that_is_refused_costs_its_child_and_nobody_else,
    an_edit_made_before_the_lost_answer_came_is_not_lost,
    a_device_that_counts_from_1_again_loses_nothing,
    a_replay_is_applied_whatever_has_become_of_its_parent_and_its_table,
}

// 9.1. Both edit all rows, again and again, in batches of which a part is refused each time.
async fn two_devices_that_edit_the_same_rows_end_alike(place: Place) {
    let world = World::start(place).await;
    let device = |name| Replica::new(world.device("anna", name));
    let mut both = ["phone", "tablet"].map(device);
    for round in 0..4 {
        for (number, replica) in both.iter_mut().enumerate() {
            for key in 1..=4 {
                // Each leaves out another row, and deletes another.
                let place = (round + number + key) % 4;
                let text = format!("{number} in {round}");
                let payload = (place != 1).then(|| named(&pk(key), &text));
                let is_there = replica.rows.contains_key(&pk(key));
                if place != 0 && (payload.is_some() || is_there) {
                    replica.edit(&pk(key), payload);
                }
            }
        }
        // Neither has read what the other did when it uploads.
        for replica in &mut both {
            replica.upload().await;
        }
        for replica in &mut both {
            while replica.upload().await {}
            replica.download().await;
        }
    }
    let [mut phone, mut tablet] = both;
    phone.download().await;
    tablet.download().await;
    assert_eq!(phone.rows, tablet.rows);
    let mut fresh = Replica::new(world.device("anna", "laptop"));
    fresh.download().await;
    assert_eq!(fresh.rows, phone.rows);
    assert_eq!(fresh.rows.len(), 4);
}

// 9.1 and 9.5. Nothing but a conflict comes of a race, and nothing of those who lost goes out.
async fn who_loses_a_race_is_told_the_row(place: Place) {
    const DEVICES: usize = 8;
    let world = World::start(place).await;
    let phone = world.device("anna", "phone");
    let batch = [new(1, &pk(1), "A"), new(2, &pk(2), "B")];
    phone.statuses(&batch).await;
    let before = phone.highest().await;
    let races = (0..DEVICES).map(async |number| {
        let device = world.device("anna", &format!("device-{number}"));
        let write = |id, pk: &str| update(id, pk, 1, named(pk, &format!("of {number}")));
        device.statuses(&[write(1, &pk(1)), write(2, &pk(2))]).await
    });
    let answers = join_all(races).await;
    let page = phone.download(&format!("after={before}")).await;
    assert_eq!(page.rows().len(), 2, "{page:?}");
    for (place, id) in [(0, 1), (1, 2)] {
        let stands = row(page.rows(), &pk(place + 1))["payload"].clone();
        let told = conflict(id, &pk(place + 1), 2, Some(stands));
        let statuses = answers.iter().map(|statuses| &statuses[place]);
        let lost: Vec<_> = statuses
            .filter(|status| **status != applied(id, 2))
            .collect();
        assert_eq!(lost.len(), DEVICES - 1, "{answers:?}");
        assert!(lost.iter().all(|status| **status == told), "{lost:?}");
    }
}

// 9.2.
async fn a_nul_in_a_name_costs_its_change_alone(place: Place) {
    let world = World::start(place).await;
    let [phone, tablet] = ["phone", "tablet"].map(|name| world.device("anna", name));
    let good = |id| new(id, &pk(1), "A");
    let batch = [
        with(good(1), "schema", "busi\0ness"),
        with(good(2), "table", "us\0ers"),
        with(good(3), "op", "INS\0ERT"),
        with(good(4), "pk", format!("{}\0", pk(1))),
        with(good(5), "payload", json!({"na\0me": 1})),
        good(6),
    ];
    let statuses = phone.statuses(&batch).await;
    for status in &statuses[..5] {
        assert_invalid(status, "bad_payload");
    }
    assert_eq!(statuses[5], applied(6, 1));
    assert_eq!(pks(&tablet.others().await), [pk(1)]);
    // A device with such a name has no token, and nobody a schema.
    let nameless = world
        .device("anna", "pho\0ne")
        .upload_text("{}".to_owned())
        .await;
    assert_eq!(nameless.status(), 401);
    let response = phone.get("/sync/download?schema=a%00b").send().await;
    assert_eq!(response.unwrap().status(), 400);
    for name in ["schema", "table"] {
        let path = format!("/admin/materialize-failures?{name}=a%00b");
        let response = phone.get(&path).send().await.unwrap();
        assert_eq!(response.text().await.unwrap().trim(), "[]", "{name}");
    }
}

// 9.2. So do half surrogates, which are no text anywhere else.
async fn a_row_that_holds_a_nul_goes_out_and_into_conflicts_as_it_came(place: Place) {
    let world = World::with(place, described()).await;
    let [phone, tablet] = ["phone", "tablet"].map(|name| world.device("anna", name));
    let upload = |id: i64, version: i64, text: &str| {
        let pk = pk(1);
        format!(
            r#"{{"changes":[{{"source_change_id":{id},"schema":"business","table":"users","op":"UPDATE","pk":"{pk}","server_version":{version},"payload":{{"name":"{text}"}}}}]}}"#
        )
    };
    for (version, text) in [(0, r"a\u0000b"), (1, r"\ud800"), (2, r"\u0000")] {
        let answer = phone.upload_text(upload(version, version, text)).await;
        let answer: Value = answer.json().await.unwrap();
        assert_eq!(answer["statuses"], json!([applied(version, version + 1)]));
        let page = tablet.get("/sync/download").send().await.unwrap();
        let page = page.text().await.unwrap();
        let expected = format!(r#"{{"name":"{text}"}}"#);
        assert!(page.contains(&expected), "{page}");
        let told = tablet.upload_text(upload(1, 99, "x")).await;
        assert_eq!(told.status(), 200);
        let told = told.text().await.unwrap();
        assert!(
            told.contains("\"conflict\"") && told.contains(&expected),
            "{told}"
        );
    }
    let reference = post(9, &pk(9), json!(format!("{}\0", pk(1))));
    let batch = [reference, new(10, &pk(10), "good")];
    let statuses = phone.statuses(&batch).await;
    assert_invalid(&statuses[0], "bad_payload");
    assert_eq!(statuses[1], applied(10, 1));
}

// 9.2.
async fn versions_and_numbers_at_the_edge_of_64_bits_are_judged_like_any(place: Place) {
    let world = World::start(place).await;
    let [phone, tablet] = ["phone", "tablet"].map(|name| world.device("anna", name));
    let edges = [i64::MAX, i64::MIN, i64::MAX - 1, i64::MIN + 1];
    for version in edges {
        let batch = [
            update(1, &pk(1), version, named(&pk(1), "refused")),
            insert(2, &pk(1), version, named(&pk(1), "refused")),
        ];
        for status in phone.statuses(&batch).await {
            assert_invalid(&status, "internal_error");
        }
    }
    phone.applies(new(i64::MAX, &pk(1), "A")).await;
    for version in edges {
        let batch = [
            update(1, &pk(1), version, named(&pk(1), "refused")),
            delete(2, &pk(1), version),
            new(i64::MAX, &pk(1), "A"),
        ];
        let told = |id| conflict(id, &pk(1), 1, Some(named(&pk(1), "A")));
        assert_eq!(
            phone.statuses(&batch).await,
            [told(1), told(2), applied(i64::MAX, 1)]
        );
    }
    assert_eq!(phone.applies(delete(i64::MIN, &pk(1), 1)).await, 2);
    for version in edges {
        let status = phone.status(delete(3, &pk(1), version)).await;
        assert_eq!(status, conflict(3, &pk(1), 2, None));
    }
    let rows = tablet.others().await;
    assert_eq!(row(&rows, &pk(1))["source_change_id"], i64::MIN);
    // One more is no number of theirs.
    let body = r#"{"changes":[{"server_version":9223372036854775808}]}"#;
    assert_eq!(phone.upload_text(body.to_owned()).await.status(), 400);
}

// 9.2. Whatever is wrong with the parent: it is no row, too large, known by a version that is not there, in conflict.
async fn a_parent_that_is_refused_costs_its_child_and_nobody_else(place: Place) {
    let limits = RowLimits {
        payload_bytes: 200,
        ..RowLimits::default()
    };
    let world = World::with(
        place,
        RowTables {
            limits,
            ..described()
        },
    )
    .await;
    let [phone, tablet] = ["phone", "tablet"].map(|name| world.device("anna", name));
    phone.applies(new(1, &pk(1), "deleted")).await;
    phone.applies(delete(2, &pk(1), 1)).await;
    let parent = |key| new(10, &pk(key), "parent");
    let bad = [
        (with(parent(1), "payload", named(&pk(1), "back")), 1),
        (with(parent(2), "payload", Value::Null), 2),
        (with(parent(3), "payload", json!([])), 3),
        (new(10, &pk(4), &"x".repeat(300)), 4),
        (with(parent(5), "server_version", 7), 5),
        (with(parent(6), "payload", json!({"__proto__": 1})), 6),
        (delete(10, &pk(7), 0), 7),
    ];
    for (count, (parent, key)) in bad.into_iter().enumerate() {
        let id = i64::try_from(count).unwrap() + 100;
        let child = post(20, &pk(20 + key), json!(pk(key)));
        let of_child = with(post(21, &pk(40 + key), json!(pk(key))), "table", "posts");
        let good = new(id, &pk(60 + key), "good");
        let statuses = phone
            .statuses(&[child.clone(), parent, of_child, good])
            .await;
        let label = [format!("business.users:{}", pk(key))];
        assert_eq!(statuses[0], missing(20, &label), "{key}");
        assert_eq!(statuses[2], missing(21, &label), "{key}");
        assert_eq!(statuses[3], applied(id, 1), "{key}");
    }
    let rows = tablet.others().await;
    assert!(rows.iter().all(|row| row["table"] == "users"), "{rows:?}");
    // It is mended, and they come in.
    let back = insert(10, &pk(1), 2, named(&pk(1), "back"));
    let child = post(20, &pk(21), json!(pk(1)));
    let statuses = phone.statuses(&[child, back]).await;
    assert_eq!(statuses, [applied(20, 1), applied(10, 3)]);
}

// 9.4 a. The device keeps the number of the first edit, and the version that it knows.
async fn an_edit_made_before_the_lost_answer_came_is_not_lost(place: Place) {
    let world = World::start(place).await;
    let [phone, tablet] = ["phone", "tablet"].map(|name| world.device("anna", name));
    // Nobody reads this answer.
    phone.status(new(1, &pk(1), "first")).await;
    let second = phone.status(new(1, &pk(1), "second")).await;
    let told = conflict(1, &pk(1), 1, Some(named(&pk(1), "first")));
    assert_eq!(second, told);
    let second = insert(1, &pk(1), 1, named(&pk(1), "second"));
    assert_eq!(phone.status(second.clone()).await, applied(1, 2));
    assert_eq!(phone.status(second).await, applied(1, 2));
    let third = update(2, &pk(1), 2, named(&pk(1), "third"));
    assert_eq!(phone.status(third).await, applied(2, 3));
    let rows = tablet.others().await;
    assert_eq!(row(&rows, &pk(1))["payload"], named(&pk(1), "third"));
    // The same of a row that was edited and then deleted.
    phone
        .status(update(3, &pk(1), 3, named(&pk(1), "fourth")))
        .await;
    let gone = phone.status(delete(3, &pk(1), 3)).await;
    assert_eq!(gone["status"], "conflict");
    assert_eq!(phone.status(delete(3, &pk(1), 4)).await, applied(3, 5));
    assert_eq!(row(&tablet.others().await, &pk(1))["deleted"], true);
}

// 9.4 b.
async fn a_device_that_counts_from_1_again_loses_nothing(place: Place) {
    let world = World::start(place).await;
    let [phone, tablet] = ["phone", "tablet"].map(|name| world.device("anna", name));
    let first: Vec<_> = (1..=5)
        .map(|key| new(i64::try_from(key).unwrap(), &pk(key), "before"))
        .collect();
    phone.statuses(&first).await;
    // It is installed anew, and knows of none of them.
    let second: Vec<_> = (1..=5)
        .map(|key| new(i64::try_from(key).unwrap(), &pk(key + 4), "after"))
        .collect();
    let statuses = phone.statuses(&second).await;
    let told = conflict(1, &pk(5), 1, Some(named(&pk(5), "before")));
    assert_eq!(statuses[0], told);
    let others = (2..=5).map(|id| applied(id, 1));
    assert_eq!(statuses[1..], others.collect::<Vec<_>>());
    let rows = tablet.others().await;
    assert_eq!(rows.len(), 9);
    assert_eq!(row(&rows, &pk(9))["payload"], named(&pk(9), "after"));
    assert_eq!(pks(&phone.all().await).len(), 9);
}

// 9.5.
async fn a_replay_is_applied_whatever_has_become_of_its_parent_and_its_table(place: Place) {
    let world = World::with(place, described()).await;
    let phone = world.device("anna", "phone");
    let batch = [new(1, &pk(1), "parent"), post(2, &pk(2), json!(pk(1)))];
    let first = phone.statuses(&batch).await;
    assert_eq!(first, [applied(1, 1), applied(2, 1)]);
    phone.applies(delete(3, &pk(1), 1)).await;
    assert_eq!(phone.statuses(&batch).await, first);
    // The operator has taken its table away, and lets in less.
    let limits = RowLimits {
        payload_bytes: 2,
        ..RowLimits::default()
    };
    let later = RowTables {
        described: Some(BTreeMap::new()),
        limits,
    };
    let later = world.beside(later).await;
    let phone = later.device("anna", "phone");
    assert_eq!(phone.statuses(&batch).await, first);
}
