//! Subscriptions: who has none is refused, on every way in; where the billing service does not say, everybody has one.

use std::time::Duration;

use sync_client::{Client, ClientError, SocketEvent};
use test_services::{Mood, Service};

use crate::calls::note;
use crate::device::{edit, within};
use crate::ear::{Ear, refusal, said};
use crate::waiting::until;
use crate::world::{APP, EXEMPT, KEY, Place, TABLE, World, status};

fn inactive() -> Option<(u16, String)> {
    Some((402, "sync_inactive".to_owned()))
}

async fn is_let_in(client: &Client) -> bool {
    let refused = refusal(within(client.pull(TABLE, "")).await);
    assert!(refused.is_none() || refused == inactive(), "{refused:?}");
    refused.is_none()
}

#[tokio::test]
async fn who_has_no_subscription_is_refused_but_for_apps_that_need_none() {
    let world = World::start(Place::File).await;
    world.services.set_inactive("ida");
    let client = world.client(0, APP, "ida", "ida-phone");
    let change = [edit("diary", "title", "ida's", 0)];
    assert_eq!(refusal(client.push("", &change).await), inactive());
    assert_eq!(refusal(client.pull(TABLE, "").await), inactive());
    let mut ear = Ear(client.stream(&[TABLE], ""));
    assert_eq!(refusal(ear.next().await), inactive());
    let socket = said(&mut client.socket_of_app()).await;
    assert!(is_closed_as_inactive(&socket), "{socket:?}");

    let exempt = world.client(0, EXEMPT, "ida", "ida-phone");
    assert_eq!(exempt.push("", &change).await.unwrap().warnings, []);
    let tablet = world.client(0, EXEMPT, "ida", "ida-tablet");
    assert_eq!(
        tablet.pull(TABLE, "").await.unwrap().server_changes.len(),
        1
    );
    let heard = Ear(tablet.stream(&[TABLE], "")).hears_of("diary").await;
    assert_eq!(heard.ids, ["diary"]);
    let said = said(&mut tablet.socket_of_app()).await;
    assert_eq!(said.unwrap(), SocketEvent::Connected);
}

#[tokio::test]
async fn a_socket_of_all_apps_tells_who_has_no_subscription_of_those_that_need_none() {
    let world = World::start(Place::File).await;
    world.services.set_inactive("ida");
    let phone = world.client(0, EXEMPT, "ida", "ida-phone");
    let mut socket = world.client(0, APP, "ida", "ida-tablet").socket();
    assert_eq!(said(&mut socket).await.unwrap(), SocketEvent::Connected);

    let push = world
        .service_push("ida", &note("form"))
        .header("X-Service-Key", KEY);
    assert_eq!(status(push).await, 200);
    phone
        .push("", &[edit("diary", "title", "ida's", 0)])
        .await
        .unwrap();

    let exempt = SocketEvent::Available {
        app: EXEMPT.to_owned(),
        tables: vec![TABLE.to_owned()],
    };
    assert_eq!(said(&mut socket).await.unwrap(), exempt);
}

/// Waits until billing is asked about somebody again of whom it said nothing, which is after ten seconds.
#[tokio::test]
async fn open_streams_and_sockets_end_with_the_subscription_when_it_is_looked_at_next() {
    let world = World::start(Place::File).await;
    world.services.mood(Service::Billing, Mood::Status(500));
    let client = world.client(0, APP, "ida", "ida-phone");
    let mut ear = Ear(client.stream(&[TABLE], "")).at_the_head().await;
    let mut socket = client.socket_of_app();
    assert_eq!(said(&mut socket).await.unwrap(), SocketEvent::Connected);

    world.services.set_inactive("ida");
    world.services.mood(Service::Billing, Mood::Well);
    until("she is refused", async || !is_let_in(&client).await).await;
    world.moves("ida", &[("club", "member")]).await;

    assert_eq!(refusal(ear.next().await), inactive());
    let last = said(&mut socket).await;
    assert!(is_closed_as_inactive(&last), "{last:?}");
}

#[tokio::test]
async fn billing_that_says_nothing_of_use_lets_everybody_in() {
    let world = World::start(Place::File).await;
    let paid = format!(
        "{}/api/v1/internal/sync/status/redirected",
        world.services.url()
    );
    let moods = [
        Mood::Down,
        Mood::Slow(Duration::from_secs(6)),
        Mood::Status(500),
        Mood::Status(404),
        Mood::Status(203),
        Mood::Redirect(paid),
        Mood::Redirect("/elsewhere".to_owned()),
        Mood::WrongJson,
        Mood::Body(String::new()),
        Mood::Body("null".to_owned()),
        Mood::Body("[false]".to_owned()),
        Mood::Body(r#"{"active":0}"#.to_owned()),
        Mood::Body(r#"{"active":"false"}"#.to_owned()),
        Mood::Cut,
        Mood::Endless,
    ];
    for (number, mood) in moods.into_iter().enumerate() {
        // It is not left alone: it was well a moment ago.
        world.services.mood(Service::Billing, Mood::Well);
        let paying = format!("paying-{number}");
        assert!(is_let_in(&world.client(0, APP, &paying, "phone")).await);
        // Who would be refused if it said so.
        let user = format!("user-{number}");
        world.services.set_inactive(&user);
        world.services.mood(Service::Billing, mood.clone());
        let asked = world.services.count(Service::Billing);
        assert!(
            is_let_in(&world.client(0, APP, &user, "phone")).await,
            "{mood:?}"
        );
        assert_eq!(
            world.services.count(Service::Billing),
            asked + 1,
            "{mood:?}"
        );
    }
    let requests = world.services.requests();
    assert!(requests.iter().all(|asked| asked.service.is_some()));
    assert!(
        !requests
            .iter()
            .any(|asked| asked.path.ends_with("redirected"))
    );
}

#[tokio::test]
async fn billing_that_comes_and_goes_refuses_nobody_who_has_paid() {
    let world = World::start(Place::File).await;
    world.services.mood(Service::Billing, Mood::Flapping);
    let mut outcomes = Vec::new();
    for number in 0..4 {
        let paying = world.client(0, APP, &format!("paying-{number}"), "phone");
        assert!(is_let_in(&paying).await);
        assert!(is_let_in(&paying).await);
        // Every other time it says who has not paid.
        let _ = world
            .client(0, APP, &format!("between-{number}"), "phone")
            .pull(TABLE, "")
            .await;
        let (said, unsaid) = (format!("said-{number}"), format!("unsaid-{number}"));
        for user in [said, unsaid] {
            world.services.set_inactive(&user);
            outcomes.push(is_let_in(&world.client(0, APP, &user, "phone")).await);
        }
    }
    assert_eq!(outcomes, [false, true].repeat(4));
}

fn is_closed_as_inactive(said: &Result<SocketEvent, ClientError>) -> bool {
    matches!(said, Err(ClientError::Refused { error, message, .. })
        if error == "token_refused" && message == "the subscription is not active")
}
