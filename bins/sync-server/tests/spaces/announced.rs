//! `POST /internal/memberships/{userId}/changed`: what it says counts at once, on every node.

use test_services::{Mood, Service};

use crate::device::{Given, edit_in, within};
use crate::ear::Heard;
use crate::raw::RawSocket;
use crate::world::{APP, KEY, Place, World, status};

const CLUB: &str = "club";
/// Closed so that the client connects again.
const AGAIN: Option<u16> = Some(1013);

everywhere! {
    a_removal_that_is_announced_bites_at_once_on_every_node,
    an_invitation_that_is_announced_counts_at_once_on_every_node,
    a_person_whose_id_is_no_plain_word_is_announced_like_any_other,
}

async fn a_removal_that_is_announced_bites_at_once_on_every_node(place: Place) {
    let world = World::start(place).await;
    world.services.set_memberships("anna", &[(CLUB, "owner")]);
    world.services.set_memberships("ben", &[(CLUB, "member")]);
    let mut anna = world.device("anna", "anna-phone");
    anna.writes(&[edit_in(CLUB, "first", "title", "anna's", 0)])
        .await;
    let mut devices = Vec::new();
    for number in 0..world.nodes.len() {
        let name = format!("ben-{number}");
        let client = world.client(number, APP, "ben", &name);
        let mut device = crate::device::Device::new(client.clone(), client);
        let mut ear = device.stream();
        assert_eq!(ear.hears_of("first").await, Heard::only(&["first"]));
        assert_eq!(device.pull().await.changes, 1);
        let socket = RawSocket::open(&world.nodes[number], &world.token("ben")).await;
        devices.push((device, ear, socket));
    }

    world.moves("ben", &[]).await;
    anna.writes(&[edit_in(CLUB, "second", "title", "anna's", 0)])
        .await;

    for (mut device, mut ear, socket) in devices {
        let given = device.pull().await;
        assert_eq!((given.changes, given.removed), (0, vec![CLUB.to_owned()]));
        assert_eq!(ear.hears_a_removal().await, Heard::removed(CLUB));
        assert_eq!(socket.farewell().await, AGAIN);
        assert_eq!(device.pull().await, Given::default());
    }
}

async fn an_invitation_that_is_announced_counts_at_once_on_every_node(place: Place) {
    let world = World::start(place).await;
    world.services.set_memberships("anna", &[(CLUB, "owner")]);
    let mut anna = world.device("anna", "anna-phone");
    anna.writes(&[edit_in(CLUB, "first", "title", "anna's", 0)])
        .await;
    let mut devices = Vec::new();
    for node in &world.nodes {
        let device = world.device("ben", "ben-phone");
        let ear = device.stream().at_the_head().await;
        let socket = RawSocket::open(node, &world.token("ben")).await;
        devices.push((device, ear, socket));
    }

    world.moves("ben", &[(CLUB, "member")]).await;

    for (mut device, mut ear, socket) in devices {
        assert_eq!(device.pull().await.changes, 1);
        assert_eq!(ear.hears_of("first").await, Heard::only(&["first"]));
        assert_eq!(socket.farewell().await, AGAIN);
    }
}

async fn a_person_whose_id_is_no_plain_word_is_announced_like_any_other(place: Place) {
    let world = World::start(place).await;
    world.services.set_memberships("anna", &[(CLUB, "owner")]);
    let mut anna = world.device("anna", "anna-phone");
    anna.writes(&[edit_in(CLUB, "first", "title", "anna's", 0)])
        .await;
    for (user, segment) in [
        ("../x?y#z", "..%2Fx%3Fy%23z"),
        ("a b", "a%20b"),
        ("ä€😀", "%C3%A4%E2%82%AC%F0%9F%98%80"),
        ("a/../b", "a%2F..%2Fb"),
        ("%2F", "%252F"),
        ("a+b;c=d&e", "a+b;c=d&e"),
    ] {
        let mut device = world.device(user, "phone");
        assert_eq!(device.pull().await, Given::default(), "{user}");
        world.moves(user, &[(CLUB, "member")]).await;
        let asked = world.services.requests().pop().unwrap();
        let path = format!("/api/v1/internal/users/{segment}/memberships");
        assert_eq!((asked.path, asked.user.as_deref()), (path, Some(user)));
        assert_eq!(device.pull().await.changes, 1, "{user}");
        world.moves(user, &[]).await;
        assert_eq!(device.pull().await.removed, [CLUB], "{user}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_do_not_hear_each_other_look_for_a_removal_by_themselves() {
    Box::pin(a_removal_that_is_announced_bites_at_once_on_every_node(
        Place::Apart,
    ))
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_do_not_hear_each_other_look_for_an_invitation_by_themselves() {
    Box::pin(an_invitation_that_is_announced_counts_at_once_on_every_node(Place::Apart)).await;
}

#[tokio::test]
async fn an_announcement_without_the_right_key_is_refused_and_changes_nothing() {
    let world = World::start(Place::File).await;
    world.services.set_memberships("ben", &[(CLUB, "member")]);
    let mut ben = world.device("ben", "ben-phone");
    ben.writes(&[edit_in(CLUB, "first", "title", "ben's", 0)])
        .await;
    world.services.set_memberships("ben", &[]);
    let asked = world.services.count(Service::Memberships);

    let with = |key: &str| world.announcement("ben").header("X-Service-Key", key);
    let refused = [
        world.announcement("ben"),
        with(""),
        with("not-the-key-that-they-share"),
        with(KEY).header("X-Service-Key", KEY),
        world.announcement("ben").bearer_auth(world.token("ben")),
        world.announcement("ben").bearer_auth(KEY),
    ];
    for request in refused {
        assert_eq!(status(request).await, 401);
    }

    assert_eq!(world.services.count(Service::Memberships), asked);
    assert_eq!(ben.pull().await, Given::default());
    ben.writes(&[edit_in(CLUB, "second", "title", "ben's", 0)])
        .await;
}

#[tokio::test]
async fn an_announcement_that_the_service_does_not_answer_counts_with_its_next_answer() {
    let world = World::start(Place::File).await;
    world.services.set_memberships("ben", &[(CLUB, "member")]);
    let mut ben = world.device("ben", "ben-phone");
    ben.writes(&[edit_in(CLUB, "first", "title", "ben's", 0)])
        .await;
    world.services.set_memberships("ben", &[]);
    world.services.mood(Service::Memberships, Mood::Status(500));
    let told = world.announcement("ben").header("X-Service-Key", KEY);
    assert_eq!(status(told).await, 503);
    assert_eq!(ben.pull().await, Given::default());

    world.services.mood(Service::Memberships, Mood::Well);
    assert_eq!(ben.pull().await.removed, [CLUB]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_from_before_a_removal_does_not_undo_it() {
    let world = World::start(Place::TwoNodes).await;
    world.services.set_memberships("anna", &[(CLUB, "owner")]);
    world.services.set_memberships("ben", &[(CLUB, "member")]);
    let mut anna = world.device("anna", "anna-phone");
    anna.writes(&[edit_in(CLUB, "first", "title", "anna's", 0)])
        .await;
    let mut ben = world.device("ben", "ben-phone");
    // The first node has asked about him; the last one asks now, and is answered later.
    ben.writes(&[edit_in(CLUB, "second", "title", "ben's", 0)])
        .await;
    let asked = world.services.count(Service::Memberships);
    world.services.mood(Service::Memberships, Mood::Hold);
    let late = {
        let reads = ben.reads.clone();
        tokio::spawn(async move { reads.pull("notes", "").await })
    };
    world.services.asked(Service::Memberships, asked + 1).await;
    world.services.mood(Service::Memberships, Mood::Well);
    world.moves("ben", &[]).await;
    world.services.release(Service::Memberships);

    let late = within(late).await.unwrap().unwrap();
    assert_eq!(late.server_changes, []);
    let given = ben.pull().await;
    assert_eq!((given.changes, given.removed), (0, vec![CLUB.to_owned()]));
}
