//! What is sent to other services, and what is made of each way in which they fail (threats H40, H41).

use std::sync::Arc;

use sync_access::{MAX_ANSWER_BYTES, MAX_CALLS_AT_ONCE, Settled, UpstreamError};
use test_services::{Mood, Service, Services};

use crate::neighbours::{Neighbours, at_once, begin, settle_down, unanswered, user};
use crate::support::SECOND;

#[tokio::test]
async fn a_user_is_one_segment_of_the_path_whatever_the_name() {
    let world = Neighbours::start().await;
    let names = [
        ("anna", "anna"),
        ("../x?y#z", "..%2Fx%3Fy%23z"),
        ("a/b", "a%2Fb"),
        (r"..\x", "..%5Cx"),
        ("%2e%2e", "%252e%252e"),
        ("%2F", "%252F"),
        ("a b", "a%20b"),
        ("ä😀", "%C3%A4%F0%9F%98%80"),
        ("/memberships", "%2Fmemberships"),
    ];
    for (name, segment) in names {
        let requests = world.services.requests().len();
        world.services.set_inactive(name);
        world.services.set_memberships(name, &[("club", "owner")]);
        assert!(!world.is_active(name).await, "{name}");
        assert_eq!(world.settle(name).await, Ok(Settled::Now), "{name}");
        let seen: Vec<(String, String)> = world.services.requests()[requests..]
            .iter()
            .map(|request| (request.method.clone(), request.path.clone()))
            .collect();
        let paths = [
            format!("/api/v1/internal/sync/status/{segment}"),
            format!("/api/v1/internal/users/{segment}/memberships"),
        ];
        assert_eq!(seen, paths.map(|path| ("GET".to_owned(), path)));
    }
}

#[tokio::test]
async fn who_cannot_be_named_is_not_asked_about() {
    let world = Neighbours::start().await;
    for name in [".", ".."] {
        assert!(world.is_active(name).await);
        let unaskable = unanswered(UpstreamError::Unaskable);
        assert_eq!(world.settle(name).await, unaskable);
    }
    assert_eq!(world.services.requests(), []);
    let (billing, memberships) = (world.billing.figures(), world.memberships.figures());
    assert_eq!((billing.calls.unaskable, billing.failed_open), (2, 2));
    assert_eq!(memberships.calls.unaskable, 2);
}

#[tokio::test]
async fn a_path_of_the_base_stays_in_front() {
    let services = Services::start().await.unwrap();
    let url = format!("{}/behind/a%20proxy/", services.url());
    let world = Neighbours::with(|settings| settings.url = url).await;
    assert!(world.is_active("anna").await);
    let path = "/behind/a%20proxy/api/v1/internal/sync/status/anna";
    assert_eq!(services.requests()[0].path, path);
}

#[tokio::test]
async fn the_service_key_is_sent_if_there_is_one() {
    let key = "a-key-of-sixteen-bytes";
    let with = Neighbours::with(|settings| settings.service_key = Some(key.to_owned())).await;
    with.services.require_key(key);
    with.services.set_inactive("carl");
    assert!(!with.is_active("carl").await);
    assert_eq!(with.settle("carl").await, Ok(Settled::Now));
    let without = Neighbours::start().await;
    without.services.require_key(key);
    let refused = unanswered(UpstreamError::Status(401));
    assert_eq!(without.settle("carl").await, refused);
    assert!(without.is_active("carl").await);
    assert_eq!(without.services.requests()[0].header("x-service-key"), None);
}

#[tokio::test]
async fn whatever_is_no_well_formed_200_is_a_failure() {
    let nonsense = |why| UpstreamError::Nonsense(why);
    let (no_list, too_long) = ("it is no list of memberships", "it is too long");
    for (mood, expected) in [
        (Mood::Status(500), UpstreamError::Status(500)),
        (Mood::Status(503), UpstreamError::Status(503)),
        (Mood::Status(404), UpstreamError::Status(404)),
        (Mood::Status(204), UpstreamError::Status(204)),
        (Mood::WrongJson, nonsense(no_list)),
        (Mood::Body("<html>".to_owned()), nonsense(no_list)),
        (Mood::Body(String::new()), nonsense(no_list)),
        (Mood::Endless, nonsense(too_long)),
        (Mood::Padded(MAX_ANSWER_BYTES + 1), nonsense(too_long)),
    ] {
        let world = Neighbours::start().await;
        world.services.set_inactive("carl");
        world.mood(mood.clone());
        let settled = world.settle("carl").await;
        assert_eq!(settled, unanswered(expected), "{mood:?}");
        assert!(world.is_active("carl").await, "{mood:?}");
        assert_eq!(world.counts(), (1, 1), "{mood:?}: nothing is tried twice");
        assert_eq!(world.billing.figures().calls.successful, 0);
        assert_eq!(world.billing.figures().failed_open, 1);
        assert_eq!(world.taker.taken(), []);
    }
}

#[tokio::test]
async fn billing_is_an_object_with_a_truth_value() {
    let world = Neighbours::start().await;
    for (number, body) in [
        r#"{"active":"false"}"#,
        r#"{"active":0}"#,
        "[false]",
        "{}",
        "false",
    ]
    .into_iter()
    .enumerate()
    {
        world.mood(Mood::Body(body.to_owned()));
        assert!(world.is_active(&format!("user {number}")).await, "{body}");
    }
    assert_eq!(world.billing.figures().calls.nonsense, 5);
    world.mood(Mood::Body(r#"{"plan":[1],"active":false}"#.to_owned()));
    assert!(!world.is_active("carl").await);
}

#[tokio::test]
async fn a_connection_that_breaks_is_a_service_out_of_reach() {
    for mood in [Mood::Down, Mood::Cut] {
        let world = Neighbours::start().await;
        world.mood(mood.clone());
        let settled = world.settle("anna").await;
        let is_out_of_reach = matches!(
            settled,
            Err(sync_access::NotSettled::Unanswered(
                UpstreamError::Unreachable(_)
            ))
        );
        assert!(is_out_of_reach, "{mood:?}: {settled:?}");
        assert!(world.is_active("anna").await);
        assert_eq!(world.billing.figures().calls.unreachable, 1);
        assert_eq!(world.counts(), (1, 1), "{mood:?}: nothing is tried twice");
    }
}

#[tokio::test]
async fn an_answer_may_have_a_megabyte() {
    let world = Neighbours::start().await;
    world.services.set_inactive("carl");
    world.mood(Mood::Padded(MAX_ANSWER_BYTES));
    assert_eq!(world.settle("carl").await, Ok(Settled::Now));
    assert!(!world.is_active("carl").await);
}

#[tokio::test]
async fn a_service_has_five_seconds() {
    let world = Neighbours::start().await;
    world.mood(Mood::Hold);
    let (billing, memberships) = (Arc::clone(&world.billing), Arc::clone(&world.memberships));
    let billing = begin(async move { billing.is_active(&user("anna")).await }).await;
    let memberships = begin(async move { memberships.settle(&user("anna")).await }).await;
    world.services.asked(Service::Billing, 1).await;
    world.services.asked(Service::Memberships, 1).await;
    let started = tokio::time::Instant::now();
    let both = at_once(async { (billing.await.unwrap(), memberships.await.unwrap()) }).await;
    assert_eq!(both, (true, unanswered(UpstreamError::TimedOut)));
    let took = started.elapsed().as_millis();
    assert!((4900..6000).contains(&took), "{took} ms");
    assert_eq!(world.billing.figures().calls.timed_out, 1);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let target = Services::start().await.unwrap();
    let world = Neighbours::with(|settings| settings.service_key = Some("key".to_owned())).await;
    world.mood(Mood::Redirect(target.url()));
    assert!(world.is_active("anna").await);
    let redirect = unanswered(UpstreamError::Status(302));
    assert_eq!(world.settle("anna").await, redirect);
    assert_eq!(target.requests(), []);
    assert_eq!(world.billing.figures().calls.refusals, 1);
}

#[tokio::test]
async fn after_five_failures_in_a_row_a_service_is_left_alone_for_ten_seconds() {
    let world = Neighbours::start().await;
    world.mood(Mood::Status(500));
    for number in 0..8 {
        let name = format!("user {number}");
        assert!(world.is_active(&name).await);
        let error = match number {
            0..5 => UpstreamError::Status(500),
            _ => UpstreamError::LeftAlone,
        };
        assert_eq!(world.settle(&name).await, unanswered(error));
    }
    assert_eq!(world.counts(), (5, 5));
    let (billing, memberships) = (world.billing.figures(), world.memberships.figures());
    assert!(billing.breaker_open && memberships.breaker_open);
    assert_eq!((billing.calls.left_alone, billing.failed_open), (3, 8));
    world.mood(Mood::Well);
    world.clock.step(10 * SECOND - 1);
    let left_alone = unanswered(UpstreamError::LeftAlone);
    assert_eq!(world.settle("anna").await, left_alone);
    world.services.set_inactive("carl");
    assert!(world.is_active("carl").await);
    world.clock.step(1);
    assert_eq!(world.settle("anna").await, Ok(Settled::Now));
    let is_known = !world.is_active("carl").await;
    assert!(is_known, "that nobody was asked is not remembered");
    let (billing, memberships) = (world.billing.figures(), world.memberships.figures());
    assert!(!billing.breaker_open && !memberships.breaker_open);
}

#[tokio::test]
async fn one_call_at_a_time_tries_a_service_that_was_left_alone() {
    let world = Neighbours::start().await;
    world.mood(Mood::Down);
    for number in 0..5 {
        world.settle(&format!("user {number}")).await.unwrap_err();
    }
    world.clock.step(10 * SECOND);
    world.mood(Mood::Hold);
    let memberships = Arc::clone(&world.memberships);
    let probe = begin(async move { memberships.settle(&user("anna")).await }).await;
    world.services.asked(Service::Memberships, 6).await;
    let left_alone = unanswered(UpstreamError::LeftAlone);
    for number in 0..5 {
        let settled = world.settle(&format!("user {number}")).await;
        assert_eq!(settled, left_alone);
    }
    assert_eq!(world.counts(), (0, 6));
    world.mood(Mood::Well);
    world.services.release(Service::Memberships);
    assert_eq!(probe.await.unwrap(), Ok(Settled::Now));
    assert_eq!(world.settle("user 0").await, Ok(Settled::Now));
}

#[tokio::test]
async fn failures_about_single_users_and_a_service_that_flaps_do_not_count_as_one_that_is_down() {
    let world = Neighbours::start().await;
    for (group, mood) in [Mood::Status(404), Mood::WrongJson, Mood::Flapping]
        .into_iter()
        .enumerate()
    {
        world.mood(mood);
        for number in 0..10 {
            let name = format!("user {group} {number}");
            assert!(world.is_active(&name).await);
            let _ = world.settle(&name).await;
        }
    }
    assert_eq!(world.counts(), (30, 30));
    assert!(!world.billing.figures().breaker_open);
}

#[tokio::test]
async fn a_service_that_was_gone_is_found_again() {
    let mut world = Neighbours::start().await;
    assert_eq!(world.settle("anna").await, Ok(Settled::Now));
    world.services.stop().await;
    for number in 0..5 {
        let name = format!("user {number}");
        world.settle(&name).await.unwrap_err();
    }
    let figures = world.memberships.figures();
    assert_eq!((figures.calls.unreachable, figures.breaker_open), (5, true));
    world.services.start_again().await.unwrap();
    world.clock.step(10 * SECOND);
    assert_eq!(world.settle("user 0").await, Ok(Settled::Now));
}

#[tokio::test]
async fn so_many_calls_are_made_at_once_and_the_others_wait_for_their_turn() {
    let world = Neighbours::start().await;
    world.mood(Mood::Hold);
    let mut tasks = Vec::new();
    for number in 0..MAX_CALLS_AT_ONCE + 10 {
        let billing = Arc::clone(&world.billing);
        let name = user(&format!("user {number}"));
        tasks.push(tokio::spawn(async move { billing.is_active(&name).await }));
    }
    world
        .services
        .asked(Service::Billing, MAX_CALLS_AT_ONCE)
        .await;
    settle_down().await;
    assert_eq!(world.counts(), (MAX_CALLS_AT_ONCE, 0));
    world.mood(Mood::Well);
    world.services.release(Service::Billing);
    for task in tasks {
        assert!(task.await.unwrap());
    }
    assert_eq!(world.counts(), (MAX_CALLS_AT_ONCE + 10, 0));
    assert_eq!(world.billing.figures().failed_open, 0);
}
