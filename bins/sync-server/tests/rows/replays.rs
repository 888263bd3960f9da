//! Requests that come twice, and requests that come at once (cases 45 to 49).

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;
use serde_json::Value;
use sync_store::RowTables;

use crate::change::{applied, delete, named, new, pk, update};
use crate::device::{Device, pks, row};
use crate::tables::{described, post};
use crate::world::{Place, World};

on_both! {
    a_request_that_comes_again_is_applied_and_does_nothing,
    a_replay_with_other_content_is_another_change,
    devices_number_their_changes_for_themselves,
    of_identical_requests_at_once_one_takes_effect,
    of_writes_from_one_version_at_once_one_wins,
    whatever_is_committed_in_whatever_order_reaches_every_device,
}

/// How many come at once.
const AT_ONCE: usize = 16;

// Case 45.
async fn a_request_that_comes_again_is_applied_and_does_nothing(place: Place) {
    let world = World::with(place, described()).await;
    let [phone, tablet] = ["phone", "tablet"].map(|name| world.device("anna", name));
    let mut batch = vec![
        new(1, &pk(1), "A"),
        update(2, &pk(1), 1, named(&pk(1), "B")),
        new(3, &pk(2), "C"),
        delete(4, &pk(2), 1),
        post(5, &pk(3), serde_json::json!(pk(1))),
    ];
    let first = phone.upload(&batch).await;
    let rows = tablet.others().await;
    assert_eq!(phone.upload(&batch).await, first);
    batch.reverse();
    let again = phone.statuses(&batch).await;
    let mut statuses = first["statuses"].as_array().unwrap().clone();
    statuses.reverse();
    assert_eq!(again, statuses);
    assert_eq!(tablet.others().await, rows);
    assert_eq!(phone.highest().await, first["highest_server_seq"]);
    // Beside one that is new.
    batch.insert(2, new(6, &pk(4), "D"));
    statuses.insert(2, applied(6, 1));
    assert_eq!(phone.statuses(&batch).await, statuses);
    let all = tablet.others().await;
    assert_eq!(all[..rows.len()], rows);
    assert_eq!(pks(&all[rows.len()..]), [pk(4)]);
    // And when others have written since, the first answer stands.
    let third = update(1, &pk(1), 2, named(&pk(1), "E"));
    tablet.applies(third).await;
    assert_eq!(phone.statuses(&batch).await, statuses);
    assert_eq!(row(&tablet.all().await, &pk(1))["payload"]["name"], "E");
}

/// What was edited between an answer that was lost and the next try is not lost (9.4).
async fn a_replay_with_other_content_is_another_change(place: Place) {
    let world = World::start(place).await;
    let [phone, tablet] = ["phone", "tablet"].map(|name| world.device("anna", name));
    phone.applies(new(1, &pk(1), "A")).await;
    let edited = phone.status(new(1, &pk(1), "edited")).await;
    assert_eq!(edited["status"], "conflict");
    let resolved = update(1, &pk(1), 1, named(&pk(1), "edited"));
    assert_eq!(phone.status(resolved).await, applied(1, 2));
    // A device that counts from 1 again does not lose what is new.
    assert_eq!(phone.status(new(1, &pk(2), "B")).await, applied(1, 1));
    assert_eq!(tablet.others().await.len(), 2);
}

// Case 46.
async fn devices_number_their_changes_for_themselves(place: Place) {
    let world = World::start(place).await;
    let [phone, tablet] = ["phone", "tablet"].map(|name| world.device("anna", name));
    assert_eq!(phone.status(new(1, &pk(1), "A")).await, applied(1, 1));
    assert_eq!(tablet.status(new(1, &pk(2), "B")).await, applied(1, 1));
    let second = update(2, &pk(1), 1, named(&pk(1), "C"));
    assert_eq!(tablet.status(second).await, applied(2, 2));
    assert_eq!(pks(&phone.others().await), [pk(2), pk(1)]);
}

/// The change is to be sent again.
fn is_retryable(status: &Value) -> bool {
    status["invalid"]["reason"] == "internal_error"
}

// Case 47.
async fn of_identical_requests_at_once_one_takes_effect(place: Place) {
    let world = World::start(place).await;
    let [phone, tablet] = ["phone", "tablet"].map(|name| world.device("anna", name));
    let batch = [new(1, &pk(1), "A"), new(2, &pk(2), "B")];
    let uploads = (0..AT_ONCE).map(|_| phone.statuses(&batch));
    for statuses in join_all(uploads).await {
        for status in statuses {
            assert!(
                status["status"] == "applied" || is_retryable(&status),
                "{status}"
            );
        }
    }
    let rows = tablet.others().await;
    assert_eq!(rows.len(), 2);
    assert!(
        rows.iter().all(|row| row["server_version"] == 1),
        "{rows:?}"
    );
    let again = phone.statuses(&batch).await;
    assert_eq!(again, [applied(1, 1), applied(2, 1)]);
}

// Case 48.
async fn of_writes_from_one_version_at_once_one_wins(place: Place) {
    let world = World::start(place).await;
    let phone = world.device("anna", "phone");
    let batch = [new(1, &pk(1), "A"), new(2, &pk(2), "B")];
    phone.statuses(&batch).await;
    let devices: Vec<Device> = (0..AT_ONCE)
        .map(|number| world.device("anna", &format!("device-{number}")))
        .collect();
    let writes = devices.iter().enumerate().map(async |(number, device)| {
        let name = format!("of {number}");
        let write = |id, pk: &str| update(id, pk, 1, named(pk, &name));
        device.statuses(&[write(1, &pk(1)), write(2, &pk(2))]).await
    });
    let answers = join_all(writes).await;
    let rows = phone.all().await;
    for (place, id) in [(0, 1), (1, 2)] {
        let won: Vec<usize> = (0..AT_ONCE)
            .filter(|number| answers[*number][place] == applied(id, 2))
            .collect();
        assert_eq!(won.len(), 1, "{answers:?}");
        let lost = answers.iter().map(|statuses| &statuses[place]);
        let lost = lost.filter(|status| status["status"] != "applied");
        let told = lost.filter(|status| status["status"] == "conflict" || is_retryable(status));
        assert_eq!(told.count(), AT_ONCE - 1);
        let stands = row(&rows, &pk(place + 1));
        assert_eq!(stands["payload"]["name"], format!("of {}", won[0]));
        assert_eq!(stands["server_version"], 2);
    }
}

// Case 49. Devices write at once, and readers follow from where they are: nothing may turn up behind them.
async fn whatever_is_committed_in_whatever_order_reaches_every_device(place: Place) {
    const WRITERS: usize = 8;
    const UPLOADS: usize = 12;
    let world = World::with(place, RowTables::default()).await;
    let writes = (0..WRITERS).map(|writer| {
        let device = world.device("anna", &format!("writer-{writer}"));
        async move {
            for upload in 0..UPLOADS {
                let number = (writer * UPLOADS + upload) * 2;
                let id = i64::try_from(number).unwrap();
                let batch = [new(id, &pk(number), "A"), new(id + 1, &pk(number + 1), "B")];
                let statuses = device.statuses(&batch).await;
                assert_eq!(statuses, [applied(id, 1), applied(id + 1, 1)]);
            }
        }
    });
    let all: BTreeSet<String> = (0..WRITERS * UPLOADS * 2).map(pk).collect();
    let follow = async |name: &str, limit: usize| {
        let device = world.device("anna", name);
        let (mut seen, mut after) = (BTreeMap::new(), 0);
        while seen.len() < all.len() {
            let query = format!("after={after}&limit={limit}");
            let page = device.download(&query).await;
            for row in page.rows() {
                let place = row["server_id"].as_i64().unwrap();
                assert!(place > after, "{place} is behind {after}");
                seen.insert(row["pk"].as_str().unwrap().to_owned(), place);
            }
            assert!(page.next_after() >= after);
            after = page.next_after();
        }
        assert!(seen.keys().eq(&all));
    };
    let patience = std::time::Duration::from_secs(60);
    let done = tokio::time::timeout(patience, async {
        tokio::join!(join_all(writes), follow("fast", 1000), follow("slow", 1));
    });
    done.await.expect("every reader is given everything");
}
