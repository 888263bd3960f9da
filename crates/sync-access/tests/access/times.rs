//! What time does to tokens (threat A3), and to those that are remembered.

use serde_json::{Value, json};
use sync_access::{Identity, TokenError};
use sync_protocol::Millis;

use crate::support::{MINUTE, Pair, SECOND, START, World, alice, refused};

#[tokio::test]
async fn an_expired_token_counts_for_sixty_seconds_more() {
    let key = Pair::ed25519("key-1");
    for look_first in [true, false] {
        let world = World::with(&[&key]).await;
        let token = key.sign(&json!({"sub": "alice", "exp": START + 100}));
        let identity = Identity {
            expires: Millis((START + 100) * SECOND),
            ..alice()
        };
        if look_first {
            assert_eq!(world.verify(&token).await, Ok(identity.clone()));
        }
        world.clock.step(160 * SECOND - 1);
        assert_eq!(world.verify(&token).await, Ok(identity));
        world.clock.step(1);
        assert_eq!(world.verify(&token).await, Err(TokenError::Expired));
        assert_eq!(world.verifier.figures().tokens_remembered, 0);
    }
}

#[tokio::test]
async fn a_token_counts_from_sixty_seconds_before_its_beginning() {
    let key = Pair::ed25519("key-1");
    let world = World::with(&[&key]).await;
    let token = key.sign(&json!({"sub": "alice", "exp": START + 86_400, "nbf": START + 100}));
    world.clock.step(40 * SECOND - 1);
    assert_eq!(world.verify(&token).await, Err(TokenError::NotYetValid));
    world.clock.step(1);
    assert_eq!(world.verify(&token).await, Ok(alice()));
}

#[tokio::test]
async fn times_are_numbers_of_any_kind_and_nothing_else() {
    let key = Pair::ed25519("key-1");
    let world = World::with(&[&key]).await;
    let malformed = Err("the token's claims are malformed");
    for (exp, expected) in [
        (json!(START + 1), Ok((START + 1) * SECOND)),
        (json!(START as f64 + 0.25), Ok(START * SECOND + 250)),
        (json!(1e300), Ok(i64::MAX)),
        (json!((START + 1).to_string()), malformed),
        (json!(true), malformed),
        (json!([START + 1]), malformed),
        (Value::Null, Err("the token has no expiry")),
    ] {
        let answer = world
            .verify(&key.sign(&json!({"sub": "alice", "exp": exp})))
            .await;
        let expected = expected.map_err(|reason| TokenError::Invalid { reason });
        assert_eq!(answer.map(|identity| identity.expires.0), expected, "{exp}");
    }
    for exp in [json!(0), json!(-1), json!(-1e300)] {
        let answer = world
            .verify(&key.sign(&json!({"sub": "alice", "exp": exp})))
            .await;
        assert_eq!(answer, Err(TokenError::Expired), "{exp}");
    }
    let odd_beginning = json!({"sub": "alice", "exp": START + 60, "nbf": "now"});
    let answer = world.verify(&key.sign(&odd_beginning)).await;
    assert_eq!(answer, refused("the token's claims are malformed"));
}

#[tokio::test]
async fn a_token_may_be_issued_at_any_time_or_none() {
    let key = Pair::ed25519("key-1");
    let world = World::with(&[&key]).await;
    for iat in [Value::Null, json!(START + 86_000), json!("yesterday")] {
        let said = json!({"sub": "alice", "exp": START + 86_400, "iat": iat});
        assert_eq!(world.verify(&key.sign(&said)).await, Ok(alice()), "{iat}");
    }
}

#[tokio::test]
async fn a_good_token_is_remembered_and_a_bad_one_is_not() {
    let key = Pair::ed25519("key-1");
    let world = World::with(&[&key]).await;
    let (good, bad) = (key.token(), Pair::ed25519("key-1").token());
    for _ in 0..3 {
        assert_eq!(world.verify(&good).await, Ok(alice()));
        assert!(world.verify(&bad).await.is_err());
    }
    let figures = world.verifier.figures();
    assert_eq!((figures.cache_hits, figures.cache_misses), (2, 4));
    assert_eq!(figures.tokens_remembered, 1);
    world.clock.step(MINUTE);
    assert_eq!(world.verify(&good).await, Ok(alice()));
    assert_eq!(world.verifier.figures().cache_hits, 3);
}
