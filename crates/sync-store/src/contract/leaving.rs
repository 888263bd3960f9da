//! Who leaves a space reads nothing of it any more, and is told so until it knows (P6; Scopes, spaces and grants: Leave).

use std::sync::Arc;

use serde_json::{Value as Json, json};
use sync_protocol::Answer;

use super::device::{Device, by, ids, insert, list, of};
use crate::{MAX_PAGE, Occasion, Role, Store};

fn removed(answer: &Answer) -> Vec<&str> {
    let spaces = answer.removed_spaces.iter();
    spaces.map(|space| space.as_str()).collect()
}

/// Anna in the club with these rows, and a phone of Ben, who has joined it and read nothing of it.
async fn club(store: &Arc<dyn Store>, rows: usize) -> (Device, Device) {
    let mut anna = Device::new(store, "anna", "phone");
    anna.grant("club", Some(Role::Writer)).await;
    let mut ben = Device::new(store, "ben", "phone");
    ben.push(json!([insert("mine", "x")])).await;
    let rows = (0..rows).map(|n| of("club", insert(&format!("c{n}"), "x")));
    anna.push(Json::Array(rows.collect())).await;
    ben.wait(1000);
    ben.grant("club", Some(Role::Writer)).await;
    (anna, ben)
}

/// Every answer to a cursor from before the leave names the space, of pulls and of pushes, in whatever app; none behind it.
pub async fn whoever_was_away_is_told_what_was_left(store: Arc<dyn Store>) {
    let (mut anna, mut ben) = club(&store, 2).await;
    ben.pull().await;
    let asleep = ben.clone();
    ben.grant("club", None).await;
    anna.push(json!([of("club", insert("secret", "x"))])).await;
    for app in ["todo", "notes"] {
        let mut device = asleep.clone().in_app(app);
        for expected in [vec!["club"], vec![]] {
            let answer = device.page("tasks", 1).await;
            assert_eq!((list(&answer), removed(&answer)), (vec![], expected));
        }
        let mut device = asleep.clone().in_app(app);
        for expected in [vec!["club"], vec![]] {
            let pushed = device.push(json!([insert("a", "x")])).await.answer;
            assert_eq!((list(&pushed), removed(&pushed)), (vec![], expected));
        }
    }
    // Who begins anew is told, too: its database may be an older one.
    let mut device = asleep.clone();
    device.since = String::new();
    let answer = device.page("tasks", MAX_PAGE).await;
    assert_eq!(removed(&answer), ["club"]);
    assert_eq!(ids(&list(&answer)), ["mine", "a"]);
}

/// A page that ends before the leave names the space, and so does the next.
pub async fn a_leave_is_told_on_every_page_up_to_it(store: Arc<dyn Store>) {
    let (_, mut ben) = club(&store, 2).await;
    let mut tab = Device::new(&store, "ben", "tab");
    tab.push(json!([insert("a", "x"), insert("b", "x")])).await;
    ben.grant("club", None).await;
    tab.push(json!([insert("c", "x"), insert("d", "x")])).await;
    let mut told = Vec::new();
    for _ in 0..4 {
        let answer = ben.page("tasks", 1).await;
        told.push((ids(&list(&answer)).join(" "), removed(&answer).join(" ")));
    }
    let told: Vec<_> = told
        .iter()
        .map(|(id, left)| (id.as_str(), left.as_str()))
        .collect();
    assert_eq!(
        told,
        [("a", "club"), ("b", "club"), ("c", "club"), ("d", "")]
    );
}

/// Who was away over a leave and a return is told of no leave, and reads everything.
pub async fn whoever_was_away_over_leave_and_return_reads_everything(store: Arc<dyn Store>) {
    let (mut anna, mut ben) = club(&store, 2).await;
    ben.pull().await;
    let asleep = ben.clone();
    ben.grant("club", None).await;
    anna.push(json!([of("club", insert("c2", "x"))])).await;
    ben.wait(1000);
    ben.grant("club", Some(Role::Reader)).await;
    for limit in [1, 2, MAX_PAGE] {
        let mut device = asleep.clone();
        let first = device.page("", limit).await;
        assert_eq!(removed(&first), [""; 0]);
        let mut read = list(&first);
        read.extend(device.pages("", limit).await);
        assert_eq!(ids(&read), ["c0", "c1", "c2"]);
    }
}

/// Who leaves in the middle of what the space held reads no more of it; who comes back reads it from its first row.
pub async fn who_comes_back_reads_everything_again(store: Arc<dyn Store>) {
    let (mut anna, ben) = club(&store, 4).await;
    for rows in 1..4 {
        let mut device = ben.clone();
        device.wait(i64::try_from(rows).expect("a few"));
        assert_eq!(list(&device.page("", rows).await).len(), rows);
        device.grant("club", None).await;
        let left = device.clone();
        let answer = device.page("", 1).await;
        assert_eq!((list(&answer), removed(&answer)), (vec![], vec!["club"]));
        device.grant("club", Some(Role::Writer)).await;
        for mut device in [left, device] {
            let first = device.page("", 1).await;
            assert_eq!(removed(&first), [""; 0]);
            let mut read = list(&first);
            read.extend(device.pages("", 1).await);
            assert_eq!(ids(&read), ["c0", "c1", "c2", "c3"]);
        }
    }
    anna.push(json!([of("club", insert("c4", "x"))])).await;
    let mut device = ben.clone();
    assert_eq!(
        ids(&device.pages("", 3).await),
        ["c0", "c1", "c2", "c3", "c4"]
    );
}

/// An answer that lacks a space takes nothing away until a second one, half a minute later, agrees.
pub async fn an_answer_that_was_wrong_once_changes_nothing(store: Arc<dyn Store>) {
    let (mut anna, mut ben) = club(&store, 1).await;
    ben.pull().await;
    let mut seconds = 0;
    let row = |n: i64| of("club", insert(&format!("n{n}"), "x"));
    for (wait, spaces, still) in [
        (100, vec![], true),
        (29, vec![], true),
        (10, vec![("club", Role::Writer)], true),
        (100, vec![], true),
        (30, vec![], false),
    ] {
        seconds += wait;
        ben.wait(wait * 1000);
        anna.now = ben.now;
        ben.told(Occasion::Refresh, &spaces).await;
        anna.push(json!([row(seconds)])).await;
        let answer = ben.page("", MAX_PAGE).await;
        let expected = still.then(|| by("anna", row(seconds)));
        let left = if still { vec![] } else { vec!["club"] };
        assert_eq!(
            (list(&answer), removed(&answer)),
            (expected.into_iter().collect(), left),
            "after {seconds} s"
        );
    }
}

/// A removal that is announced counts at once, and an answer that was asked for before it brings nothing back.
pub async fn an_answer_that_was_under_way_brings_nothing_back(store: Arc<dyn Store>) {
    let (_, mut ben) = club(&store, 1).await;
    ben.pull().await;
    let late = ben.clone();
    ben.wait(5000);
    let left = ben.told(Occasion::Announcement, &[]).await.left;
    assert_eq!(left.len(), 1);
    for occasion in [Occasion::Refresh, Occasion::Announcement] {
        let told = late.told(occasion, &[("club", Role::Writer)]).await;
        assert!(!told.has_changed(), "{occasion:?}");
    }
    assert_eq!(removed(&ben.page("", 1).await), ["club"]);
    ben.wait(1);
    let told = ben.told(Occasion::Refresh, &[("club", Role::Reader)]).await;
    assert_eq!(told.joined.len(), 1);
    assert_eq!(ids(&ben.pages("", 1).await), ["c0"]);
}

/// Between two pushes of a member its grant is taken away: the first is stored in the space, the second kept for its
/// author alone, and neither answer has a row that the author may not see.
pub async fn a_grant_that_is_taken_away_between_two_pushes_counts(store: Arc<dyn Store>) {
    let (mut anna, mut ben) = club(&store, 1).await;
    let pushed = ben.push(json!([of("club", insert("first", "x"))])).await;
    assert_eq!(ids(&list(&pushed.answer)), ["c0"]);
    ben.grant("club", None).await;
    let first = by("ben", of("club", insert("first", "x")));
    let told = anna.push(json!([of("club", insert("c1", "x"))])).await;
    assert_eq!(list(&told.answer), [first]);
    let second = of("club", insert("second", "x"));
    let pushed = ben.push(json!([second])).await;
    assert_eq!(
        (list(&pushed.answer), pushed.answer.warnings.len()),
        (vec![], 1)
    );
    assert_eq!(anna.pull().await, json!([]));
    assert_eq!(
        Device::new(&store, "ben", "tab").pull().await,
        json!([insert("mine", "x"), second])
    );
}
