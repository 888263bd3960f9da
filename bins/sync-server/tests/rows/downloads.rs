//! Pages of rows (cases 50 to 56).

use serde_json::{Value, json};

use crate::change::{named, new, pk, update, with};
use crate::device::{Device, Page, pks};
use crate::world::{Place, World};

on_both! {
    a_device_gets_its_own_rows_only_if_it_asks_for_them,
    pages_of_a_window_have_what_was_there_and_the_next_window_the_rest,
    a_page_that_is_just_full_has_nothing_behind_it,
    behind_the_end_there_is_nothing,
    of_a_schema_come_its_rows_alone,
    a_parameter_that_is_wrong_is_400,
    the_cursor_passes_what_the_device_has_written_itself,
    a_row_comes_once_as_it_is_now,
}

async fn devices(world: &World) -> [Device; 2] {
    ["phone", "tablet"].map(|name| world.device("anna", name))
}

/// Writes rows of these numbers, each in an upload of its own.
async fn write(device: &Device, numbers: std::ops::Range<usize>) {
    for number in numbers {
        let id = i64::try_from(number).unwrap();
        device.applies(new(id, &pk(number), "A")).await;
    }
}

// Case 50.
async fn a_device_gets_its_own_rows_only_if_it_asks_for_them(place: Place) {
    let world = World::start(place).await;
    let [phone, tablet] = devices(&world).await;
    write(&phone, 0..2).await;
    write(&tablet, 2..3).await;
    assert_eq!(pks(&phone.others().await), [pk(2)]);
    assert_eq!(pks(&phone.all().await), [pk(0), pk(1), pk(2)]);
    assert_eq!(pks(&tablet.others().await), [pk(0), pk(1)]);
    // Exactly `true` says so.
    for text in ["false", "TRUE", "1", "yes", ""] {
        let page = phone.download(&format!("include_self={text}")).await;
        assert_eq!(page.pks(), [pk(2)], "{text}");
    }
    // The name of a device is its own within its user only.
    assert_eq!(world.device("ben", "phone").all().await, [] as [Value; 0]);
}

// Case 51.
async fn pages_of_a_window_have_what_was_there_and_the_next_window_the_rest(place: Place) {
    let world = World::start(place).await;
    let [phone, tablet] = devices(&world).await;
    write(&phone, 0..25).await;
    let first = tablet.download("limit=10").await;
    let until = first.window_until();
    write(&phone, 25..30).await;
    let mut pages: Vec<Page> = vec![first];
    while pages[pages.len() - 1].has_more() {
        let after = pages[pages.len() - 1].next_after();
        let query = format!("limit=10&after={after}&until={until}");
        let page = tablet.download(&query).await;
        assert_eq!(page.window_until(), until);
        pages.push(page);
    }
    let sizes: Vec<_> = pages.iter().map(|page| page.rows().len()).collect();
    assert_eq!(sizes, [10, 10, 5]);
    let rows: Vec<_> = pages.iter().flat_map(Page::rows).cloned().collect();
    let expected: Vec<_> = (0..25).map(pk).collect();
    assert_eq!(pks(&rows), expected);
    let places: Vec<_> = rows.iter().map(|row| row["server_id"].as_i64()).collect();
    assert!(places.is_sorted_by(|one, next| one < next), "{places:?}");
    let after = pages[2].next_after();
    let rest = tablet.download(&format!("limit=10&after={after}")).await;
    let expected: Vec<_> = (25..30).map(pk).collect();
    assert_eq!(rest.pks(), expected);
    assert!(!rest.has_more());
}

// Case 52.
async fn a_page_that_is_just_full_has_nothing_behind_it(place: Place) {
    let world = World::start(place).await;
    let [phone, tablet] = devices(&world).await;
    write(&phone, 0..5).await;
    let full = tablet.download("limit=5").await;
    assert_eq!((full.rows().len(), full.has_more()), (5, false));
    let less = tablet.download("limit=4").await;
    assert_eq!((less.rows().len(), less.has_more()), (4, true));
}

// Case 53.
async fn behind_the_end_there_is_nothing(place: Place) {
    let world = World::start(place).await;
    let [phone, tablet] = devices(&world).await;
    let empty = tablet.download("").await.0;
    let nothing = json!({"changes": [], "has_more": false, "next_after": 0, "window_until": 0});
    assert_eq!(empty, nothing);
    write(&phone, 0..3).await;
    let highest = phone.highest().await;
    for after in [highest, highest + 1, highest + 1000, i64::MAX] {
        let page = tablet.download(&format!("after={after}")).await;
        assert_eq!((page.rows(), page.has_more()), (&[] as &[Value], false));
        assert_eq!(page.next_after(), after);
    }
    // Nor is there before the beginning of a window.
    let page = tablet.download(&format!("after={highest}&until=1")).await;
    assert_eq!((page.rows().len(), page.next_after()), (0, highest));
}

// Case 54.
async fn of_a_schema_come_its_rows_alone(place: Place) {
    let world = World::start(place).await;
    let [phone, tablet] = devices(&world).await;
    phone.applies(new(1, &pk(1), "A")).await;
    let other = with(new(2, &pk(2), "B"), "schema", "crm_2");
    phone.applies(other).await;
    assert_eq!(tablet.download("schema=business").await.pks(), [pk(1)]);
    assert_eq!(tablet.download("schema=crm_2").await.pks(), [pk(2)]);
    assert_eq!(tablet.download("schema=").await.pks(), [pk(1), pk(2)]);
    let unknown = tablet.download("schema=nothing").await;
    assert_eq!((unknown.rows().len(), unknown.has_more()), (0, false));
    let response = tablet.get("/sync/download?schema=Business").send().await;
    assert_eq!(response.unwrap().status(), 400);
}

// Case 55.
async fn a_parameter_that_is_wrong_is_400(place: Place) {
    let world = World::start(place).await;
    let [phone, _] = devices(&world).await;
    for query in [
        "limit=0",
        "limit=1001",
        "limit=ten",
        "limit=-1",
        "after=-1",
        "after=x",
        "until=-1",
        "until=x",
        "schema=a-b",
    ] {
        let path = format!("/sync/download?{query}");
        let response = phone.get(&path).send().await.unwrap();
        assert_eq!(response.status(), 400, "{query}");
        let body: Value = response.json().await.unwrap();
        assert_eq!(body["error"], "invalid_request", "{query}");
    }
    for query in [
        "limit=1000&after=0&until=0",
        "limit=&after=&until=",
        "more=1",
    ] {
        phone.download(query).await;
    }
}

// Case 56.
async fn the_cursor_passes_what_the_device_has_written_itself(place: Place) {
    let world = World::start(place).await;
    let [phone, tablet] = devices(&world).await;
    write(&tablet, 0..1).await;
    write(&phone, 1..20).await;
    let page = phone.download("after=0").await;
    assert_eq!(page.pks(), [pk(0)]);
    let highest = phone.highest().await;
    let next = phone
        .download(&format!("after={}", page.next_after()))
        .await;
    assert_eq!((next.rows().len(), next.has_more()), (0, false));
    assert_eq!(next.next_after(), highest);
    // What comes behind is given.
    write(&tablet, 20..21).await;
    let page = phone.download(&format!("after={highest}")).await;
    assert_eq!(page.pks(), [pk(20)]);
}

/// A page has a row as it is, at the place of its newest change.
async fn a_row_comes_once_as_it_is_now(place: Place) {
    let world = World::start(place).await;
    let [phone, tablet] = devices(&world).await;
    write(&phone, 0..3).await;
    let page = tablet.download("limit=2").await;
    assert_eq!(page.pks(), [pk(0), pk(1)]);
    phone
        .applies(update(50, &pk(0), 1, named(&pk(0), "B")))
        .await;
    let rest = tablet
        .download(&format!("after={}", page.next_after()))
        .await;
    assert_eq!(rest.pks(), [pk(2), pk(0)]);
    assert_eq!(rest.rows()[1]["payload"]["name"], "B");
    assert_eq!(pks(&tablet.others().await), [pk(1), pk(2), pk(0)]);
}
