//! A membership service that does not say: grants stand, and whoever has none is alone.

use test_services::{Mood, Service};

use crate::device::{Given, edit, edit_in};
use crate::ear::Heard;
use crate::waiting::until;
use crate::world::{Place, World};

const CLUB: &str = "club";

everywhere! {
    grants_stand_while_the_membership_service_is_down,
    who_was_never_asked_about_is_alone_while_it_is_down,
}

async fn grants_stand_while_the_membership_service_is_down(place: Place) {
    let mut world = World::start(place).await;
    world.services.set_memberships("anna", &[(CLUB, "owner")]);
    world.services.set_memberships("ben", &[(CLUB, "viewer")]);
    let (mut anna, mut ben) = (
        world.device("anna", "anna-phone"),
        world.device("ben", "ben-phone"),
    );
    anna.writes(&[edit_in(CLUB, "first", "title", "anna's", 0)])
        .await;
    assert_eq!(ben.pull().await.changes, 1);
    let mut ear = ben.stream().at_the_head().await;
    for (mood, number) in [
        Mood::Down,
        Mood::Status(500),
        Mood::WrongJson,
        Mood::AnotherUser,
        Mood::Redirect("/elsewhere".to_owned()),
        Mood::Status(404),
    ]
    .into_iter()
    .zip(0..)
    {
        world.services.mood(Service::Memberships, mood);
        world.restart().await;
        let asked = world.services.count(Service::Memberships);
        let id = format!("written-{number}");
        anna.writes(&[edit_in(CLUB, &id, "title", "anna's", 0)])
            .await;
        assert_eq!(ear.hears_of(&id).await, Heard::only(&[&id]));
        let given = ben.pull().await;
        assert_eq!((given.changes, given.removed), (1, Vec::new()));
        assert!(world.services.count(Service::Memberships) > asked);
        ben.is_denied(&[edit_in(CLUB, "ben's", "title", &id, number)])
            .await;
    }
    let paths = world
        .services
        .requests()
        .into_iter()
        .map(|asked| asked.path);
    assert!(!paths.into_iter().any(|path| path == "/elsewhere"));
}

async fn who_was_never_asked_about_is_alone_while_it_is_down(place: Place) {
    let world = World::start(place).await;
    world.services.set_memberships("anna", &[(CLUB, "owner")]);
    let mut anna = world.device("anna", "anna-phone");
    anna.writes(&[edit_in(CLUB, "first", "title", "anna's", 0)])
        .await;
    let mut ear = world.device("anna", "anna-watch").stream();
    ear.hears_of("first").await;

    world.services.set_memberships("dora", &[(CLUB, "member")]);
    world.services.mood(Service::Memberships, Mood::Down);
    let (mut dora, mut tablet) = (
        world.device("dora", "dora-phone"),
        world.device("dora", "dora-tablet"),
    );
    assert_eq!(tablet.pull().await, Given::default());
    dora.is_denied(&[edit_in(CLUB, "from-dora", "title", "dora's", 0)])
        .await;
    dora.writes(&[edit("diary", "title", "dora's", 0)]).await;
    tablet.pull().await;
    assert_eq!(tablet.held.ids(None), ["diary"]);
    assert_eq!(tablet.held.ids(Some(CLUB)), ["from-dora"]);
    anna.writes(&[edit_in(CLUB, "second", "title", "anna's", 0)])
        .await;
    assert_eq!(ear.hears_of("second").await, Heard::only(&["second"]));

    // It is asked again as soon as it is not left alone any more.
    world.services.mood(Service::Memberships, Mood::Well);
    until("dora has the club", async || {
        tablet.pull().await;
        tablet.held.ids(Some(CLUB)) == ["first", "from-dora", "second"]
    })
    .await;
    assert_eq!(ear.hears_of("from-dora").await, Heard::only(&["from-dora"]));
}
