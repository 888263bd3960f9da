//! Who has paid is known from the service, and whoever is not known has paid (threats H41, H42).

use std::sync::Arc;

use test_services::{Mood, Service};

use crate::neighbours::{Neighbours, begin, settle_down, user};
use crate::support::{MINUTE, SECOND};

#[tokio::test]
async fn who_has_not_paid_is_known_for_five_minutes() {
    let world = Neighbours::start().await;
    world.services.set_inactive("carl");
    assert!(!world.is_active("carl").await);
    assert!(world.is_active("anna").await);
    world.services.set_active("carl");
    world.clock.step(5 * MINUTE - 1);
    assert!(!world.is_active("carl").await);
    assert!(world.is_active("anna").await);
    assert_eq!(world.counts(), (2, 0));
    world.clock.step(1);
    assert!(world.is_active("carl").await);
    assert_eq!(world.counts(), (3, 0));
    let figures = world.billing.figures();
    assert_eq!((figures.from_memory, figures.calls.successful), (2, 3));
    assert_eq!((figures.failed_open, figures.users_remembered), (0, 2));
}

#[tokio::test]
async fn who_has_not_paid_goes_on_where_the_service_does_not_say_and_is_asked_about_every_ten_seconds()
 {
    let world = Neighbours::start().await;
    world.services.set_inactive("carl");
    world.mood(Mood::Status(500));
    assert!(world.is_active("carl").await);
    world.mood(Mood::Well);
    world.clock.step(10 * SECOND - 1);
    assert!(world.is_active("carl").await);
    assert_eq!(world.counts(), (1, 0));
    world.clock.step(1);
    assert!(!world.is_active("carl").await);
    let figures = world.billing.figures();
    assert_eq!((figures.failed_open, figures.calls.server_errors), (2, 1));
}

#[tokio::test]
async fn a_hundred_who_ask_at_a_time_make_one_call_also_when_the_answer_has_expired() {
    let world = Neighbours::start().await;
    world.services.set_inactive("carl");
    world.mood(Mood::Hold);
    for calls in 1..=2 {
        let mut tasks = Vec::new();
        for _ in 0..100 {
            let billing = Arc::clone(&world.billing);
            tasks.push(tokio::spawn(async move {
                billing.is_active(&user("carl")).await
            }));
        }
        world.services.asked(Service::Billing, calls).await;
        settle_down().await;
        world.services.release(Service::Billing);
        for task in tasks {
            assert!(!task.await.unwrap());
        }
        assert_eq!(world.counts(), (calls, 0));
        world.clock.step(5 * MINUTE);
    }
}

#[tokio::test]
async fn who_goes_away_breaks_the_call_for_nobody() {
    let world = Neighbours::start().await;
    world.services.set_inactive("carl");
    world.mood(Mood::Hold);
    let ask = |billing: &Arc<sync_access::Billing>| {
        let billing = Arc::clone(billing);
        begin(async move { billing.is_active(&user("carl")).await })
    };
    let first = ask(&world.billing).await;
    let second = ask(&world.billing).await;
    world.services.asked(Service::Billing, 1).await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    world.services.release(Service::Billing);
    assert!(!second.await.unwrap());
    assert_eq!(world.counts(), (1, 0));
}

#[tokio::test]
async fn who_is_forgotten_is_asked_about_and_an_answer_from_before_does_not_come_back() {
    let world = Neighbours::start().await;
    world.services.set_inactive("carl");
    world.mood(Mood::Hold);
    let billing = Arc::clone(&world.billing);
    let before = begin(async move { billing.is_active(&user("carl")).await }).await;
    world.services.asked(Service::Billing, 1).await;
    world.services.set_active("carl");
    world.billing.forget(&user("carl"));
    world.mood(Mood::Well);
    world.services.release(Service::Billing);
    assert!(!before.await.unwrap());
    assert!(world.is_active("carl").await);
    assert_eq!(world.counts(), (2, 0));
    world.billing.forget(&user("carl"));
    assert!(world.is_active("carl").await);
    assert_eq!(world.counts(), (3, 0));
}

#[tokio::test]
async fn who_asks_after_a_user_was_forgotten_does_not_get_the_answer_to_a_call_from_before() {
    let world = Neighbours::start().await;
    world.services.set_inactive("carl");
    world.mood(Mood::Hold);
    let billing = Arc::clone(&world.billing);
    let before = begin(async move { billing.is_active(&user("carl")).await }).await;
    world.services.asked(Service::Billing, 1).await;
    world.services.set_active("carl");
    world.billing.forget(&user("carl"));
    world.mood(Mood::Well);
    let billing = Arc::clone(&world.billing);
    let after = begin(async move { billing.is_active(&user("carl")).await }).await;
    world.services.release(Service::Billing);
    assert_eq!((before.await.unwrap(), after.await.unwrap()), (false, true));
    assert!(world.is_active("carl").await);
    assert_eq!(world.counts(), (2, 0));
}

#[tokio::test]
async fn an_answer_does_not_last_because_the_clock_was_set_back() {
    let world = Neighbours::start().await;
    assert!(world.is_active("anna").await);
    world.clock.step(-5 * MINUTE);
    assert!(world.is_active("anna").await);
    assert_eq!(world.counts(), (2, 0));
}

#[tokio::test]
async fn so_many_users_are_remembered_and_no_more() {
    let world = Neighbours::remembering(20).await;
    for number in 0..60 {
        assert!(world.is_active("anna").await);
        assert!(world.is_active(&format!("user {number}")).await);
        assert!(world.billing.figures().users_remembered <= 20);
    }
    assert_eq!(world.counts(), (61, 0), "who is always there stays");
    assert!(world.is_active("user 0").await);
    assert_eq!(world.counts(), (62, 0));
}
