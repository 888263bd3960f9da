//! Where a user belongs is asked once, taken once, and asked again when the service says so (threats D19, H42).

use std::sync::Arc;
use std::time::Duration;

use sync_access::{
    Membership, Memberships, NotSettled, Outcome, Settled, UpstreamError, UpstreamSettings,
};
use sync_protocol::Millis;
use test_services::{Mood, Service};
use tokio::task::JoinHandle;

use crate::neighbours::{COUNTS, Neighbours, begin, settle_down, unanswered, user};
use crate::support::{MINUTE, SECOND, START};

const NOW: Outcome = Ok(Settled::Now);
const ALREADY: Outcome = Ok(Settled::Already);

impl Neighbours {
    async fn settling(&self) -> JoinHandle<Outcome> {
        let memberships = Arc::clone(&self.memberships);
        begin(async move { memberships.settle(&user("anna")).await }).await
    }

    async fn announcing(&self) -> JoinHandle<Result<(), NotSettled>> {
        let memberships = Arc::clone(&self.memberships);
        begin(async move { memberships.announced(&user("anna")).await }).await
    }

    async fn asked(&self, times: usize) {
        self.services.asked(Service::Memberships, times).await;
    }

    fn release(&self) {
        self.services.release(Service::Memberships);
    }

    fn puts_anna_in(&self, spaces: &[(&str, &str)]) {
        self.services.set_memberships("anna", spaces);
    }
}

fn plain(spaces: &str) -> (String, bool) {
    (spaces.to_owned(), false)
}

fn announced(spaces: &str) -> (String, bool) {
    (spaces.to_owned(), true)
}

fn down() -> NotSettled {
    NotSettled::Unanswered(UpstreamError::Status(503))
}

#[tokio::test]
async fn an_answer_is_taken_and_counts_for_as_long_as_the_taker_says() {
    let world = Neighbours::start().await;
    world.puts_anna_in(&[("club", "owner"), ("hall", "reader"), ("club", "member")]);
    assert_eq!(world.settle("anna").await, NOW);
    world.clock.step(5 * MINUTE - 1);
    assert_eq!(world.settle("anna").await, ALREADY);
    assert_eq!(world.counts(), (0, 1));
    world.clock.step(1);
    world.taker.says(Some(Duration::from_secs(30)));
    assert_eq!(world.settle("anna").await, NOW);
    world.clock.step(30 * SECOND - 1);
    assert_eq!(world.settle("anna").await, ALREADY);
    world.clock.step(1);
    assert_eq!(world.settle("anna").await, NOW);
    let all = plain("club:member,owner hall:reader");
    assert_eq!(world.taker.taken(), vec![all; 3]);
    let asked: Vec<Millis> = world
        .taker
        .memberships()
        .into_iter()
        .map(|Membership { asked, .. }| asked)
        .collect();
    let seconds = |seconds| Millis((START + seconds) * SECOND);
    assert_eq!(asked, [seconds(0), seconds(300), seconds(330)]);
    let figures = world.memberships.figures();
    assert_eq!((figures.calls.successful, figures.from_memory), (3, 2));
}

#[tokio::test]
async fn an_answer_that_counts_for_no_time_is_asked_for_each_time() {
    let world = Neighbours::start().await;
    world.taker.says(Some(Duration::ZERO));
    assert_eq!(world.settle("anna").await, NOW);
    assert_eq!(world.settle("anna").await, NOW);
    assert_eq!(world.counts(), (0, 2));
}

#[tokio::test]
async fn a_failure_is_not_remembered_and_hands_nothing_over() {
    let world = Neighbours::start().await;
    world.mood(Mood::Status(503));
    assert_eq!(world.settle("anna").await, Err(down()));
    world.mood(Mood::Well);
    assert_eq!(world.settle("anna").await, NOW);
    assert_eq!(world.taker.taken(), [plain("")]);
}

#[tokio::test]
async fn an_answer_that_could_not_be_taken_does_not_count() {
    let world = Neighbours::start().await;
    world.taker.says(None);
    assert_eq!(world.settle("anna").await, Err(NotSettled::NotTaken));
    world.taker.says(Some(COUNTS));
    assert_eq!(world.settle("anna").await, NOW);
    assert_eq!((world.counts(), world.taker.taken().len()), ((0, 2), 2));
    assert_eq!(world.memberships.figures().not_taken, 1);
}

#[tokio::test]
async fn a_taker_that_panics_fails_its_callers_and_nobody_after() {
    let world = Neighbours::start().await;
    let settings = UpstreamSettings::at(&world.services.url());
    let panics = Arc::new(|_| -> sync_access::Taking { Box::pin(async { panic!("it breaks") }) });
    let memberships = Memberships::new(&settings, world.clock.as_clock(), panics).unwrap();
    for calls in 1..=2 {
        let outcome = memberships.settle(&user("anna")).await;
        assert_eq!(outcome, Err(NotSettled::NotTaken));
        assert_eq!(world.counts(), (0, calls));
    }
}

#[tokio::test]
async fn a_hundred_who_ask_at_a_time_make_one_call_and_wait_until_its_answer_is_taken() {
    let world = Neighbours::start().await;
    world.taker.close();
    let mut tasks = Vec::new();
    for _ in 0..100 {
        tasks.push(world.settling().await);
    }
    world.taker.begun(1).await;
    settle_down().await;
    assert!(tasks.iter().all(|task| !task.is_finished()));
    world.taker.open();
    for task in tasks {
        assert_eq!(task.await.unwrap(), NOW);
    }
    assert_eq!((world.counts(), world.taker.taken().len()), ((0, 1), 1));
}

#[tokio::test]
async fn who_goes_away_breaks_the_call_for_nobody() {
    let world = Neighbours::start().await;
    world.mood(Mood::Hold);
    let first = world.settling().await;
    world.asked(1).await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    let second = world.settling().await;
    world.release();
    assert_eq!(second.await.unwrap(), NOW);
    assert_eq!(world.counts(), (0, 1));
}

#[tokio::test]
async fn an_answer_on_its_way_is_not_taken_when_nobody_keeps_the_asker() {
    let world = Neighbours::start().await;
    world.taker.close();
    let settling = world.settling().await;
    world.taker.begun(1).await;
    settling.abort();
    assert!(settling.await.unwrap_err().is_cancelled());
    let (taker, memberships) = (Arc::clone(&world.taker), world.memberships);
    drop(Arc::into_inner(memberships).unwrap());
    settle_down().await;
    taker.open();
    settle_down().await;
    assert_eq!(taker.taken(), []);
}

#[tokio::test]
async fn a_user_is_asked_about_anew_every_ten_seconds_at_most() {
    let world = Neighbours::start().await;
    assert_eq!(world.settle_anew("anna").await, NOW);
    world.clock.step(10 * SECOND - 1);
    assert_eq!(world.settle_anew("anna").await, ALREADY);
    world.clock.step(1);
    assert_eq!(world.settle_anew("anna").await, NOW);
    assert_eq!(world.counts(), (0, 2));
    world.clock.step(10 * SECOND);
    world.mood(Mood::Status(503));
    assert_eq!(world.settle_anew("anna").await, Err(down()));
    assert_eq!(world.settle_anew("anna").await, ALREADY);
    assert_eq!(world.settle("anna").await, ALREADY, "it still counts");
    assert_eq!(world.counts(), (0, 3));
    world.clock.step(5 * MINUTE);
    assert_eq!(world.settle_anew("anna").await, Err(down()));
    assert_eq!(world.settle_anew("anna").await, ALREADY);
    assert_eq!(world.counts(), (0, 4), "also when no answer counts");
    assert_eq!(world.settle("anna").await, Err(down()));
}

#[tokio::test]
async fn who_asks_anew_joins_a_call_on_its_way() {
    let world = Neighbours::start().await;
    assert_eq!(world.settle("anna").await, NOW);
    world.clock.step(10 * SECOND);
    world.mood(Mood::Hold);
    let memberships = Arc::clone(&world.memberships);
    let first = begin(async move { memberships.settle_anew(&user("anna")).await }).await;
    world.asked(2).await;
    let memberships = Arc::clone(&world.memberships);
    let second = begin(async move { memberships.settle_anew(&user("anna")).await }).await;
    assert_eq!(
        world.settle("anna").await,
        ALREADY,
        "who need not wait does not"
    );
    world.release();
    assert_eq!((first.await.unwrap(), second.await.unwrap()), (NOW, NOW));
    assert_eq!(world.counts(), (0, 2));
}

#[tokio::test]
async fn a_change_that_is_announced_is_asked_for_at_once_and_counts_as_announced() {
    let world = Neighbours::start().await;
    world.puts_anna_in(&[("club", "owner")]);
    assert_eq!(world.settle("anna").await, NOW);
    world.puts_anna_in(&[]);
    assert_eq!(world.announced("anna").await, Ok(()));
    assert_eq!(world.settle("anna").await, ALREADY);
    world.clock.step(5 * MINUTE);
    assert_eq!(world.settle("anna").await, NOW);
    let expected = [plain("club:owner"), announced(""), plain("")];
    assert_eq!(world.taker.taken(), expected);
    assert_eq!(world.memberships.figures().announcements, 1);
}

#[tokio::test]
async fn an_announcement_is_not_satisfied_by_a_call_that_began_before() {
    let world = Neighbours::start().await;
    world.puts_anna_in(&[("club", "owner")]);
    world.mood(Mood::Hold);
    let before = world.settling().await;
    world.asked(1).await;
    world.puts_anna_in(&[]);
    let announcement = world.announcing().await;
    let after = world.settling().await;
    world.release();
    assert_eq!(before.await.unwrap(), NOW);
    world.asked(2).await;
    assert!(!announcement.is_finished() && !after.is_finished());
    world.release();
    assert_eq!(announcement.await.unwrap(), Ok(()));
    assert_eq!(after.await.unwrap(), NOW);
    assert_eq!(world.taker.taken(), [plain("club:owner"), announced("")]);
    assert_eq!(world.counts(), (0, 2));
}

#[tokio::test]
async fn an_announcement_while_an_answer_is_taken_is_asked_about_after_it() {
    let world = Neighbours::start().await;
    world.puts_anna_in(&[("club", "owner")]);
    world.taker.close();
    let before = world.settling().await;
    world.taker.begun(1).await;
    world.puts_anna_in(&[]);
    let announcement = world.announcing().await;
    assert_eq!(world.counts(), (0, 1));
    world.taker.open();
    assert_eq!(before.await.unwrap(), NOW);
    assert_eq!(announcement.await.unwrap(), Ok(()));
    assert_eq!(world.taker.taken(), [plain("club:owner"), announced("")]);
    assert_eq!(world.settle("anna").await, ALREADY);
}

#[tokio::test]
async fn an_announcement_that_found_the_service_down_holds_for_the_next_answer() {
    let world = Neighbours::start().await;
    assert_eq!(world.settle("anna").await, NOW);
    world.mood(Mood::Status(503));
    assert_eq!(world.announced("anna").await, Err(down()));
    assert_eq!(world.settle("anna").await, Err(down()), "nothing counts");
    world.memberships.forget(&user("anna"));
    world.mood(Mood::Well);
    assert_eq!(world.settle("anna").await, NOW);
    assert_eq!(world.taker.taken(), [plain(""), announced("")]);
}

#[tokio::test]
async fn an_answer_from_before_an_announcement_is_taken_but_does_not_count() {
    let world = Neighbours::start().await;
    world.mood(Mood::Hold);
    let before = world.settling().await;
    world.asked(1).await;
    let announcement = world.announcing().await;
    world.mood(Mood::Status(503));
    world.release();
    assert_eq!(before.await.unwrap(), NOW);
    assert_eq!(announcement.await.unwrap(), Err(down()));
    world.mood(Mood::Well);
    assert_eq!(world.settle("anna").await, NOW);
    assert_eq!(world.taker.taken(), [plain(""), announced("")]);
    assert_eq!(world.counts(), (0, 3));
}

#[tokio::test]
async fn an_announcement_that_could_not_be_taken_holds_for_the_next_answer() {
    let world = Neighbours::start().await;
    world.taker.says(None);
    assert_eq!(world.announced("anna").await, Err(NotSettled::NotTaken));
    world.taker.says(Some(COUNTS));
    assert_eq!(world.settle("anna").await, NOW);
    assert_eq!(world.taker.taken(), [announced(""), announced("")]);
}

#[tokio::test]
async fn a_hundred_announcements_during_a_call_make_one_more() {
    let world = Neighbours::start().await;
    world.mood(Mood::Hold);
    let first = world.announcing().await;
    world.asked(1).await;
    let mut tasks = Vec::new();
    for _ in 0..100 {
        tasks.push(world.announcing().await);
    }
    world.release();
    assert_eq!(first.await.unwrap(), Ok(()));
    world.asked(2).await;
    let late = world.settling().await;
    world.release();
    assert_eq!(late.await.unwrap(), NOW);
    for task in tasks {
        assert_eq!(task.await.unwrap(), Ok(()));
    }
    assert_eq!(world.counts(), (0, 2));
    assert_eq!(world.taker.taken(), [announced(""), announced("")]);
    assert_eq!(world.settle("anna").await, ALREADY);
}

#[tokio::test]
async fn an_announcement_is_followed_also_if_who_brought_it_goes_away() {
    let world = Neighbours::start().await;
    world.mood(Mood::Hold);
    let before = world.settling().await;
    world.asked(1).await;
    let announcement = world.announcing().await;
    announcement.abort();
    assert!(announcement.await.unwrap_err().is_cancelled());
    world.mood(Mood::Well);
    world.release();
    assert_eq!(before.await.unwrap(), NOW);
    world.taker.begun(2).await;
    settle_down().await;
    assert_eq!(world.taker.taken(), [plain(""), announced("")]);
}

#[tokio::test]
async fn who_is_forgotten_is_asked_about() {
    let world = Neighbours::start().await;
    world.mood(Mood::Hold);
    let before = world.settling().await;
    world.asked(1).await;
    world.memberships.forget(&user("anna"));
    world.release();
    assert_eq!(before.await.unwrap(), NOW);
    world.mood(Mood::Well);
    assert_eq!(world.settle("anna").await, NOW);
    world.memberships.forget(&user("anna"));
    assert_eq!(world.settle_anew("anna").await, NOW);
    assert_eq!(world.taker.taken(), vec![plain(""); 3]);
}

#[tokio::test]
async fn an_answer_about_another_user_is_none() {
    let world = Neighbours::start().await;
    world.mood(Mood::AnotherUser);
    let nonsense = UpstreamError::Nonsense("it is about another user");
    assert_eq!(world.settle("anna").await, unanswered(nonsense));
    assert_eq!(world.taker.taken(), []);
}

#[tokio::test]
async fn organizations_that_are_no_spaces_are_passed_over_and_counted() {
    let world = Neighbours::start().await;
    let long = "a".repeat(257);
    world.puts_anna_in(&[
        ("_personal:ben", "owner"),
        (&long, "owner"),
        ("", "owner"),
        ("club", "owner"),
    ]);
    assert_eq!(world.settle("anna").await, NOW);
    assert_eq!(world.taker.taken(), [plain("club:owner")]);
    assert_eq!(world.memberships.figures().passed_over, 3);
}

#[tokio::test]
async fn so_many_users_are_remembered_and_no_more() {
    let world = Neighbours::remembering(20).await;
    for number in 0..60 {
        world.settle("anna").await.unwrap();
        assert_eq!(world.announced(&format!("user {number}")).await, Ok(()));
        assert!(world.memberships.figures().users_remembered <= 20);
    }
    assert_eq!(world.counts(), (0, 61), "who is always there stays");
    assert_eq!(world.settle("user 0").await, NOW);
}
