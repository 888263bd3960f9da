//! Who is erased is gone, whoever is left goes on, and it can be stopped and begun again at any point.

use std::sync::Arc;

use serde_json::{Value as Json, json};
use sync_protocol::Audience;

use super::device::{Device, START, TIMES, insert, update};
use super::exporting::{about, everything, items, neighbours, space, user};
use crate::{Erased, Erasure, Item, Role, Store, erase};

/// One batch after the other to the end, or to the batch of this number; what all of them have done.
async fn erase_some(store: &Arc<dyn Store>, of: &Audience, bits: u64, batches: usize) -> Erased {
    let mut erasure = Erasure::new(of.clone(), bits, START);
    let mut all = Erased::default();
    for _ in 0..batches {
        all += store.erase(erasure.clone()).await.expect("a batch");
        match &all.next {
            Some(next) => erasure.stage = next.clone(),
            None => break,
        }
    }
    all
}

/// Erases a user or a space.
///
/// # Panics
///
/// If the store does not do it.
pub async fn erase_all(store: &Arc<dyn Store>, of: &Audience) -> Erased {
    let erasure = Erasure::new(of.clone(), 7, START);
    let erased = erase(&**store, erasure, |_| {}).await;
    erased.expect("it comes to an end")
}

/// Nothing is left of a user but what it wrote in spaces, under no name; others have what they had.
pub async fn an_erased_user_is_gone_and_others_are_untouched(store: Arc<dyn Store>) {
    neighbours(&store).await;
    let bens = everything(&store, &user("ben")).await;
    let erased = erase_all(&store, &user("anna")).await;
    assert_eq!(
        erased,
        Erased {
            rows: 4,
            records: 2,
            parked: 1,
            grants: 1,
            renamed: 1,
            ..Erased::default()
        }
    );
    assert_eq!(items(&store, &user("anna")).await, []);
    assert_eq!(everything(&store, &user("ben")).await, bens);
    let shared = everything(&store, &space("club")).await;
    let [ben, carl, first, ..] = &shared[..] else {
        panic!("{shared:?}");
    };
    assert_eq!(
        [ben, carl, first],
        [
            "grant ben club writer",
            "grant carl club none",
            "insert todo s:club annas-shared by erased:0000000000000007",
        ]
    );
    assert_eq!(erase_all(&store, &user("anna")).await, Erased::default());
    assert_eq!(Device::new(&store, "anna", "phone").pull().await, json!([]));
}

/// What an erased user wrote in a space is the space's: members read it, go on from where they were, and write over it.
pub async fn members_keep_what_an_erased_user_wrote(store: Arc<dyn Store>) {
    let [mut anna, mut ben] = neighbours(&store).await;
    let read = ben.pull().await;
    let mut actor = about("club", insert("signed", "x"));
    actor["actor"] = json!({"name": "Anna"});
    anna.push(json!([actor])).await;
    erase_all(&store, &user("anna")).await;
    let mut expected = about("club", insert("signed", "x"));
    expected["author"] = json!("erased:0000000000000007");
    assert_eq!(ben.pull().await, json!([expected]));
    let lost = ben
        .push(json!([about(
            "club",
            update("annas-shared", "title", "new", TIMES[4])
        )]))
        .await;
    assert_eq!(lost.appended, 1);
    let mut anew = Device::new(&store, "ben", "new");
    let all = anew.pull().await;
    let of = |id: &str| -> Vec<Json> {
        let all = all.as_array().expect("a list").iter();
        all.filter(|change| change["id"] == id).cloned().collect()
    };
    assert_eq!((of("bens-shared").len(), of("signed").len()), (1, 1));
    assert!(!all.to_string().contains("anna\""), "{all} after {read}");
}

/// Whoever comes back under the name of an erased user is somebody new: nothing of before is known.
pub async fn an_erased_user_may_begin_anew(store: Arc<dyn Store>) {
    let [mut anna, _] = neighbours(&store).await;
    let id = "018f2b5e-0000-7000-8000-000000000001";
    let mut named = insert("mine", "x");
    named["eventId"] = json!(id);
    let ahead = about(
        "club",
        update("ahead", "note", 1, "2026-01-01T09:00:00.000Z"),
    );
    let all = json!([named, ahead]);
    assert_eq!(anna.push(all.clone()).await.appended, 2);
    anna.wait(60_000);
    assert_eq!(anna.push_again(&all.to_string()).await.appended, 0);
    let erased = erase_all(&store, &user("anna")).await;
    assert_eq!(erased.claims, 1);
    anna.grant("club", Some(Role::Writer)).await;
    let pushed = anna.push(all).await;
    assert_eq!(pushed.appended, 2, "neither event id nor claim is known");
    let read = Device::new(&store, "anna", "new").pull().await;
    let own = read.as_array().expect("a list").iter();
    let own: Vec<_> = own.filter(|change| change["spaceId"].is_null()).collect();
    assert_eq!(own, [&insert("mine", "x")]);
    let shared = everything(&store, &space("club")).await;
    assert!(shared.contains(&"update todo s:club ahead by anna".to_owned()));
}

/// Whatever is there takes its batches; stopped after any of them and begun again, it comes to the same end, and those who
/// read meanwhile find nothing broken.
pub async fn an_erasure_that_was_stopped_is_begun_again(store: Arc<dyn Store>) {
    let [mut anna, mut ben] = neighbours(&store).await;
    for some in (0..1400).collect::<Vec<_>>().chunks(700) {
        let rows = some.iter().flat_map(|n| {
            let (own, shared) = (insert(&format!("r{n}"), "x"), insert(&format!("s{n}"), "x"));
            [own, about("club", shared)]
        });
        anna.push(rows.collect()).await;
    }
    let bens = everything(&store, &user("ben")).await;
    let shared = items(&store, &space("club")).await.len();
    let mut rounds = 0;
    loop {
        rounds += 1;
        let erased = erase_some(&store, &user("anna"), rounds, rounds as usize).await;
        ben.pull().await;
        let again = json!([about("club", update("annas-shared", "note", 3, TIMES[2]))]);
        assert_eq!(ben.push(again).await.appended, 0);
        if erased.next.is_none() {
            break;
        }
    }
    assert_eq!(items(&store, &user("anna")).await, []);
    assert_eq!(everything(&store, &user("ben")).await, bens);
    let left = items(&store, &space("club")).await;
    assert_eq!(left.len(), shared - 1, "the grant is gone, and no row");
    let is_nameless = |item: &Item| match item {
        Item::Grant(user, _) => user.as_str() != "anna",
        Item::Parked(..) => false,
        Item::Change(entry, _) => entry.user.as_str() != "anna",
    };
    assert!(left.iter().all(is_nameless));
}

/// Of an erased space nothing is left but the word that it was taken away, for each device of its members; what a member was
/// denied there is the member's own.
pub async fn an_erased_space_is_gone_and_its_members_are_told(store: Arc<dyn Store>) {
    let [mut anna, mut ben] = neighbours(&store).await;
    let mut carl = Device::new(&store, "carl", "phone");
    carl.push(json!([about("club", insert("denied", "x"))]))
        .await;
    anna.pull().await;
    ben.pull().await;
    let annas = everything(&store, &user("anna")).await;
    let mut erased = erase_all(&store, &space("club")).await;
    erased.left.sort();
    let left: Vec<_> = erased.left.iter().map(|user| user.as_str()).collect();
    assert_eq!(left, ["anna", "ben"]);
    let numbers = (erased.rows, erased.records, erased.grants, erased.renamed);
    assert_eq!(numbers, (4, 2, 2, 0));
    for device in [&mut anna, &mut ben] {
        let answer = device.page("", 100).await;
        let removed: Vec<_> = answer.removed_spaces.iter().map(|it| it.as_str()).collect();
        assert_eq!((removed, answer.server_changes.len()), (vec!["club"], 0));
        assert_eq!(device.page("", 100).await.removed_spaces, []);
    }
    assert_eq!(
        everything(&store, &space("club")).await,
        [
            "grant anna club none",
            "grant ben club none",
            "grant carl club none"
        ]
    );
    let mut expected: Vec<_> = annas
        .into_iter()
        .filter(|item| !item.contains("s:club"))
        .map(|item| item.replace("club writer", "club none"))
        .collect();
    expected.sort();
    assert_eq!(everything(&store, &user("anna")).await, expected);
    let denied = json!([about("club", insert("denied", "x"))]);
    assert_eq!(Device::new(&store, "carl", "tab").pull().await, denied);
    ben.grant("club", Some(Role::Writer)).await;
    let again = ben
        .push(json!([about("club", insert("bens-shared", "x"))]))
        .await;
    assert_eq!(again.appended, 1, "it begins anew");
    assert_eq!(erase_all(&store, &space("none")).await, Erased::default());
}
