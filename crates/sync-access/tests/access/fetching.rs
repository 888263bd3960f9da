//! When keys are fetched, and by how many (threat B8).

use std::sync::Arc;

use sync_access::Figures;
use sync_protocol::Millis;
use tokio::task::JoinSet;

use crate::support::{MINUTE, Pair, SECOND, START, UNKNOWN_KEY, World, alice, fixed};

#[tokio::test]
async fn nobody_is_asked_before_the_first_token_and_then_once() {
    let key = Pair::ed25519("key-1");
    let world = World::with(&[&key]).await;
    assert_eq!(world.host.requests(), 0);
    let mut calls = JoinSet::new();
    for number in 0..50 {
        let verifier = Arc::clone(&world.verifier);
        let mut claims = crate::support::claims();
        claims["number"] = number.into();
        let token = key.sign(&claims);
        calls.spawn(async move { verifier.verify(&token).await });
    }
    for answer in calls.join_all().await {
        assert_eq!(answer, Ok(alice()));
    }
    assert_eq!(world.host.requests(), 1);
    let figures = Figures {
        keys_held: 1,
        last_fetch: Some(Millis(START * SECOND)),
        successful_fetches: 1,
        failed_fetches: 0,
        suppressed_fetches: 0,
        cache_hits: 0,
        cache_misses: 50,
        tokens_remembered: 50,
    };
    assert_eq!(world.verifier.figures(), figures);
}

#[tokio::test]
async fn a_hundred_unknown_kids_at_once_cause_one_fetch() {
    let key = Pair::ed25519("key-1");
    let world = World::with(&[&key]).await;
    assert_eq!(world.verify(&key.token()).await, Ok(alice()));
    world.clock.step(10 * SECOND);
    world.host.close();
    let mut calls = JoinSet::new();
    for number in 0..100 {
        let verifier = Arc::clone(&world.verifier);
        let token = Pair::ed25519(&format!("unknown-{number}")).token();
        calls.spawn(async move { verifier.verify(&token).await });
    }
    world.host.asked(2).await;
    world.host.open();
    for answer in calls.join_all().await {
        assert_eq!(answer, Err(UNKNOWN_KEY));
    }
    assert_eq!(world.host.requests(), 2);
}

#[tokio::test]
async fn unknown_kids_cause_one_fetch_per_cool_down() {
    let key = Pair::ed25519("key-1");
    let world = World::with(&[&key]).await;
    let stranger = Pair::ed25519("stranger").token();
    assert_eq!(world.verify(&key.token()).await, Ok(alice()));
    for (step, requests) in [
        (0, 1),
        (10 * SECOND - 1, 1),
        (1, 2),
        (0, 2),
        (10 * SECOND, 3),
    ] {
        world.clock.step(step);
        assert_eq!(world.verify(&stranger).await, Err(UNKNOWN_KEY));
        assert_eq!(world.host.requests(), requests, "after {step}");
    }
    assert_eq!(world.verifier.figures().suppressed_fetches, 3);
    assert_eq!(world.verify(&key.token()).await, Ok(alice()));
}

/// The fetch is on its way all the time: whoever held a lock during it would hang here.
#[tokio::test]
async fn a_fetch_on_its_way_holds_up_nobody_whose_key_is_known() {
    let key = Pair::ed25519("key-1");
    let world = World::with(&[&key]).await;
    let token = key.token();
    assert_eq!(world.verify(&token).await, Ok(alice()));
    world.clock.step(10 * SECOND);
    world.host.close();
    let verifier = Arc::clone(&world.verifier);
    let stranger = Pair::ed25519("stranger").token();
    let waiting = tokio::spawn(async move { verifier.verify(&stranger).await });
    world.host.asked(2).await;
    let other = key.sign(&serde_json::json!({"sub": "alice", "exp": START + 86_400, "n": 1}));
    assert_eq!(world.verify(&token).await, Ok(alice()));
    assert_eq!(world.verify(&other).await, Ok(alice()));
    assert_eq!(world.verifier.figures().keys_held, 1);
    assert!(!waiting.is_finished());
    world.host.open();
    assert_eq!(waiting.await.unwrap(), Err(UNKNOWN_KEY));
}

#[tokio::test]
async fn a_call_that_goes_away_does_not_take_the_fetch_with_it() {
    let key = Pair::ed25519("key-1");
    let world = World::with(&[&key]).await;
    world.host.close();
    let (verifier, token) = (Arc::clone(&world.verifier), key.token());
    let first = tokio::spawn(async move { verifier.verify(&token).await });
    world.host.asked(1).await;
    first.abort();
    assert!(first.await.is_err_and(|end| end.is_cancelled()));
    world.host.open();
    assert_eq!(world.verify(&key.token()).await, Ok(alice()));
    assert_eq!(world.host.requests(), 1);
}

#[tokio::test]
async fn keys_in_use_are_fetched_anew_every_five_minutes_behind_the_calls() {
    let key = Pair::ed25519("key-1");
    let world = World::with(&[&key]).await;
    let token = key.token();
    assert_eq!(world.verify(&token).await, Ok(alice()));
    for round in 1..=20 {
        world.host.close();
        world.clock.step(5 * MINUTE);
        for _ in 0..10 {
            assert_eq!(world.verify(&token).await, Ok(alice()));
        }
        world.host.asked(1 + round).await;
        world.host.open();
        world.fetch_has_landed().await;
        assert_eq!(world.host.requests(), 1 + round);
        let figures = world.verifier.figures();
        let last_fetch = START * SECOND + i64::try_from(round).unwrap() * 5 * MINUTE;
        assert_eq!(figures.last_fetch, Some(Millis(last_fetch)));
    }
}

#[tokio::test]
async fn after_a_quiet_time_the_first_call_waits_for_the_keys() {
    let (old, new) = (Pair::ed25519("old"), Pair::ed25519("new"));
    let world = World::with(&[&old]).await;
    assert_eq!(world.verify(&old.token()).await, Ok(alice()));
    world.publish(&[&new]);
    world.clock.step(10 * MINUTE);
    assert_eq!(world.verify(&old.token()).await, Err(UNKNOWN_KEY));
    assert_eq!(world.verify(&new.token()).await, Ok(alice()));
    assert_eq!(world.host.requests(), 2);
}

#[tokio::test]
async fn a_clock_that_is_set_back_makes_no_key_last_longer() {
    let (old, new) = (Pair::ed25519("old"), Pair::ed25519("new"));
    let world = World::with(&[&old]).await;
    assert_eq!(world.verify(&old.token()).await, Ok(alice()));
    world.publish(&[&new]);
    world.clock.step(-24 * 60 * MINUTE);
    assert_eq!(world.verify(&old.token()).await, Err(UNKNOWN_KEY));
}

#[tokio::test]
async fn fixed_keys_need_nobody_and_stay() {
    let key = Pair::ed25519("key-1");
    let verifier = fixed(&[&key]);
    assert_eq!(verifier.verify(&key.token()).await, Ok(alice()));
    let stranger = Pair::ed25519("stranger").token();
    assert_eq!(verifier.verify(&stranger).await, Err(UNKNOWN_KEY));
    assert_eq!(verifier.check().await, []);
}
