//! What was kept for its author alone goes into the space once its author may write there, however the server hears of it,
//! and the members are told.

use std::collections::BTreeSet;

use sync_access::ASK_ANEW_COOL_DOWN;
use sync_client::SocketEvent;
use test_services::Service;
use tokio::time::sleep;

use crate::calls::note;
use crate::device::{Given, edit, edit_in, within};
use crate::ear::{Heard, said};
use crate::raw::RawSocket;
use crate::world::{KEY, Place, World, status};

const CLUB: &str = "club";
/// How the server may hear of it.
const WAYS: [&str; 6] = [
    "announcement",
    "push",
    "pull",
    "stream",
    "socket",
    "service",
];

everywhere! {
    what_was_kept_goes_into_the_space_by_whatever_way_the_server_hears_of_it,
    a_push_that_names_a_space_asks_once_more_before_it_is_decided,
}

async fn what_was_kept_goes_into_the_space_by_whatever_way_the_server_hears_of_it(place: Place) {
    let mut world = World::start(place).await;
    world.services.set_memberships("anna", &[(CLUB, "owner")]);
    let mut anna = world.device("anna", "anna-phone");
    anna.writes(&[edit_in(CLUB, "first", "title", "anna's", 0)])
        .await;
    for way in WAYS {
        let mut device = world.device(way, "phone");
        let id = format!("by-{way}");
        device
            .is_denied(&[edit_in(CLUB, &id, "title", way, 0)])
            .await;
    }
    let mut tablet = world.device("anna", "anna-tablet");
    assert_eq!(tablet.pull().await.changes, 1);

    world.restart().await;
    let mut ear = tablet.stream().at_the_head().await;
    let mut socket = tablet.reads.socket();
    assert_eq!(said(&mut socket).await.unwrap(), SocketEvent::Connected);
    for way in WAYS {
        world.services.set_memberships(way, &[(CLUB, "member")]);
        takes(way, &world).await;
        let id = format!("by-{way}");
        assert_eq!(ear.hears_of(&id).await, Heard::only(&[&id]));
        let told = said(&mut socket).await.unwrap();
        assert!(
            matches!(told, SocketEvent::Available { .. }),
            "{way}: {told:?}"
        );
        assert_eq!(tablet.pull().await.changes, 1, "{way}");
        let title = tablet.held.text(Some(CLUB), &id, "title");
        assert_eq!(title.as_deref(), Some(way));
    }
    // Each of them has the whole space, once.
    for way in WAYS {
        let mut device = world.device(way, "tablet");
        device.pull().await;
        let all: BTreeSet<&str> = device.held.ids(Some(CLUB)).into_iter().collect();
        assert_eq!(all.len(), 1 + WAYS.len(), "{way}");
    }
}

/// The server hears of a person of this name in this way, and in no other.
async fn takes(way: &str, world: &World) {
    let mut device = world.device(way, "tablet");
    match way {
        "announcement" => world.is_announced(way).await,
        "push" => device.writes(&[edit("diary", "title", way, 0)]).await,
        "pull" => assert!(device.pull().await.changes > 0),
        "stream" => {
            device.stream().hears_of("first").await;
        }
        "socket" => {
            RawSocket::open(world.nodes.last().unwrap(), &world.token(way)).await;
        }
        _ => {
            let push = world.service_push(way, &note("form"));
            assert_eq!(status(push.header("X-Service-Key", KEY)).await, 200);
        }
    }
}

/// Waits until somebody may be asked about again, which is after ten seconds.
async fn a_push_that_names_a_space_asks_once_more_before_it_is_decided(place: Place) {
    let world = World::start(place).await;
    world.services.set_memberships("anna", &[(CLUB, "owner")]);
    let mut anna = world.device("anna", "anna-phone");
    anna.writes(&[edit_in(CLUB, "first", "title", "anna's", 0)])
        .await;
    let mut ear = world.device("anna", "anna-watch").stream();
    ear.hears_of("first").await;
    let mut ben = world.device("ben", "ben-phone");
    ben.is_denied(&[edit_in(CLUB, "kept", "title", "ben's", 0)])
        .await;

    // Nobody says that he was invited, and what was answered before still counts.
    world.services.set_memberships("ben", &[(CLUB, "member")]);
    sleep(ASK_ANEW_COOL_DOWN).await;
    let asked = world.services.count(Service::Memberships);
    ben.writes(&[edit("diary", "title", "ben's", 0)]).await;
    assert_eq!(world.services.count(Service::Memberships), asked);
    ben.writes(&[edit_in(CLUB, "pushed", "title", "ben's", 0)])
        .await;
    assert_eq!(world.services.count(Service::Memberships), asked + 1);

    let heard = ear.hears(|heard| heard.ids.len() >= 2).await;
    assert_eq!(heard, Heard::only(&["kept", "pushed"]));
    let mut tablet = world.device("ben", "ben-tablet");
    tablet.pull().await;
    assert_eq!(tablet.held.ids(Some(CLUB)), ["first", "kept", "pushed"]);
    assert_eq!(tablet.held.ids(None), ["diary"]);
    assert_eq!(within(tablet.pull()).await, Given::default());
}

/// More than one batch of it.
const MUCH: usize = 250;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_kept_goes_in_once_however_many_nodes_hear_of_it_at_once() {
    let mut world = World::start(Place::TwoNodes).await;
    world.services.set_memberships("anna", &[(CLUB, "owner")]);
    let mut anna = world.device("anna", "anna-phone");
    anna.writes(&[edit_in(CLUB, "first", "title", "anna's", 0)])
        .await;
    let mut ear = world.device("anna", "anna-watch").stream();
    ear.hears_of("first").await;
    let mut ben = world.device("ben", "ben-phone");
    let kept: Vec<_> = (0..MUCH)
        .map(|number| edit_in(CLUB, &format!("kept-{number}"), "title", "ben's", 0))
        .collect();
    ben.is_denied(&kept).await;

    world.services.set_memberships("ben", &[(CLUB, "member")]);
    world.restart().await;
    let asks = |node| {
        let tablet = world.client(node, crate::world::APP, "ben", "ben-tablet");
        async move { tablet.pull("notes", "").await.unwrap() }
    };
    within(async {
        tokio::join!(
            asks(0),
            asks(1),
            asks(0),
            asks(1),
            world.is_announced("ben")
        )
    })
    .await;
    anna.writes(&[edit_in(CLUB, "last", "title", "anna's", 0)])
        .await;

    let heard = ear.hears(|heard| {
        let all: BTreeSet<&String> = heard.ids.iter().collect();
        all.len() == MUCH + 1
    });
    assert_eq!(heard.await.ids.len(), MUCH + 1);
    let mut tablet = world.device("ben", "ben-tablet");
    tablet.pull().await;
    assert_eq!(tablet.held.ids(Some(CLUB)).len(), MUCH + 2);
    assert_eq!(tablet.held.ids(None), [""; 0]);
}
