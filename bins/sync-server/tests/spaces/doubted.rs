//! A removal that nobody announces: once may be a mistake.

use sync_client::Answer;

use crate::device::{Given, edit_in};
use crate::ear::Heard;
use crate::world::{Place, World};

const CLUB: &str = "club";

/// Waits for as long as a second answer takes, which is half a minute.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removal_that_nobody_announces_counts_when_a_later_answer_agrees() {
    let mut world = World::start(Place::File).await;
    world.services.set_memberships("anna", &[(CLUB, "owner")]);
    world.services.set_memberships("ben", &[(CLUB, "member")]);
    let mut anna = world.device("anna", "anna-phone");
    anna.writes(&[edit_in(CLUB, "first", "title", "anna's", 0)])
        .await;
    let mut ben = world.device("ben", "ben-phone");
    let mut ear = ben.stream();
    ear.hears_of("first").await;
    assert_eq!(ben.pull().await.changes, 1);

    world.services.set_memberships("ben", &[]);
    world.restart().await;
    // The first answer without it is not believed.
    assert_eq!(ben.pull().await, Given::default());
    let Answer { warnings, .. } = ben
        .push(&[edit_in(CLUB, "second", "title", "ben's", 0)])
        .await;
    assert_eq!(warnings, []);
    anna.writes(&[edit_in(CLUB, "third", "title", "anna's", 0)])
        .await;
    assert_eq!(ear.hears_of("third").await, Heard::only(&["third"]));

    // Nobody does anything but listen.
    assert_eq!(ear.hears_a_removal().await, Heard::removed(CLUB));
    assert_eq!(ben.pull().await.removed, [CLUB]);
}
