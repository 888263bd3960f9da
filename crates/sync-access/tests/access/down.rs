//! What happens while the host with the keys is down (threat B11, recorded story 29).

use sync_access::{SourceReport, TokenError, Verifier, VerifierSettings};
use sync_protocol::Millis;
use tokio::net::TcpListener;

use crate::support::{
    Answer, DOWN, KeyHost, MINUTE, Pair, SECOND, START, SteppedClock, UNKNOWN_KEY, World, alice,
    key_set,
};

#[tokio::test]
async fn keys_live_on_for_an_hour_when_their_host_is_down_and_then_nobody_is_let_in() {
    let key = Pair::ed25519("key-1");
    let world = World::with(&[&key]).await;
    let (remembered, fresh) = (key.token(), |n: i64| {
        key.sign(&serde_json::json!({"sub": "alice", "exp": START + 86_400, "n": n}))
    });
    assert_eq!(world.verify(&remembered).await, Ok(alice()));
    world.host.answer(DOWN);
    for minute in 1..60 {
        world.clock.step(MINUTE);
        assert_eq!(
            world.verify(&remembered).await,
            Ok(alice()),
            "minute {minute}"
        );
        assert_eq!(
            world.verify(&fresh(minute)).await,
            Ok(alice()),
            "minute {minute}"
        );
        world.fetch_has_landed().await;
    }
    world.clock.step(MINUTE - 1);
    assert_eq!(world.verify(&remembered).await, Ok(alice()));
    world.fetch_has_landed().await;
    world.clock.step(1);
    assert_eq!(
        world.verify(&remembered).await,
        Err(TokenError::KeysUnavailable)
    );
    assert_eq!(
        world.verify(&fresh(0)).await,
        Err(TokenError::KeysUnavailable)
    );
    let figures = world.verifier.figures();
    assert_eq!(
        (figures.keys_held, figures.last_fetch),
        (0, Some(Millis(START * SECOND)))
    );
    assert_eq!(
        (figures.successful_fetches, figures.failed_fetches > 50),
        (1, true)
    );
}

#[tokio::test]
async fn keys_that_were_given_up_count_again_when_their_host_is_back() {
    let key = Pair::ed25519("key-1");
    let world = World::with(&[&key]).await;
    let token = key.token();
    assert_eq!(world.verify(&token).await, Ok(alice()));
    world.host.answer(DOWN);
    world.clock.step(60 * MINUTE);
    assert_eq!(world.verify(&token).await, Err(TokenError::KeysUnavailable));
    world.publish(&[&key]);
    assert_eq!(
        world.verify(&token).await,
        Err(TokenError::KeysUnavailable),
        "too soon to ask again"
    );
    world.clock.step(10 * SECOND);
    assert_eq!(world.verify(&token).await, Ok(alice()));
}

#[tokio::test]
async fn if_no_keys_were_ever_had_nobody_is_let_in() {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/jwks", port.local_addr().unwrap());
    drop(port);
    let settings = VerifierSettings {
        key_addresses: vec![address.clone()],
        ..VerifierSettings::default()
    };
    let verifier = Verifier::new(settings, SteppedClock::new().as_clock()).unwrap();
    let answer = verifier.verify(&Pair::ed25519("key-1").token()).await;
    assert_eq!(answer, Err(TokenError::KeysUnavailable));
    assert_eq!(verifier.figures().last_fetch, None);
    let [SourceReport { source, outcome }] = verifier.check().await.try_into().unwrap();
    assert_eq!(source, address);
    assert!(outcome.is_err_and(|why| why.contains("Connection refused")));
}

#[tokio::test]
async fn without_any_keys_configured_nobody_is_let_in() {
    let verifier =
        Verifier::new(VerifierSettings::default(), SteppedClock::new().as_clock()).unwrap();
    let answer = verifier.verify(&Pair::ed25519("key-1").token()).await;
    assert_eq!(answer, Err(TokenError::KeysUnavailable));
}

#[tokio::test]
async fn an_answer_that_is_no_key_set_counts_as_down_and_evicts_no_key() {
    let key = Pair::ed25519("key-1");
    let set = key_set(&[&key]);
    let cut = set[..set.len() - 1].to_owned();
    let failed = format!(
        "HTTP/1.1 500 Oops\r\ncontent-length: {}\r\n\r\n{set}",
        set.len()
    );
    let broken_off = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{set}",
        set.len() + 1
    );
    let documents = [
        "",
        "null",
        "[]",
        "{}",
        r#"{"keys":{}}"#,
        r#"{"keys":[1]}"#,
        "<html>",
        &cut,
    ];
    let documents = documents
        .iter()
        .map(|text| Answer::Document((*text).to_owned()));
    let others = [failed, broken_off].map(|text| Answer::Bytes(text.into_bytes()));
    for (index, answer) in documents.chain(others).enumerate() {
        let world = World::with(&[&key]).await;
        assert_eq!(world.verify(&key.token()).await, Ok(alice()));
        world.host.answer(answer);
        world.clock.step(10 * MINUTE);
        assert_eq!(
            world.verify(&key.token()).await,
            Ok(alice()),
            "answer {index}"
        );
        let figures = world.verifier.figures();
        assert_eq!(
            (figures.successful_fetches, figures.failed_fetches),
            (1, 1),
            "answer {index}"
        );
        assert_eq!(
            (figures.keys_held, figures.last_fetch),
            (1, Some(Millis(START * SECOND)))
        );
    }
}

#[tokio::test]
async fn a_fetch_that_failed_is_tried_again_after_half_a_minute_behind_the_calls() {
    let key = Pair::ed25519("key-1");
    let world = World::with(&[&key]).await;
    let token = key.token();
    assert_eq!(world.verify(&token).await, Ok(alice()));
    world.host.answer(DOWN);
    world.clock.step(5 * MINUTE);
    for failed in 1..10 {
        assert_eq!(world.verify(&token).await, Ok(alice()));
        world.host.asked(1 + failed).await;
        world.fetch_has_landed().await;
        assert_eq!(world.host.requests(), 1 + failed);
        world.clock.step(30 * SECOND);
    }
}

#[tokio::test]
async fn while_one_of_two_hosts_is_down_the_keys_of_the_other_count() {
    let (here, gone) = (Pair::ed25519("here"), Pair::ed25519("gone"));
    let hosts = [
        KeyHost::start(DOWN).await,
        KeyHost::start(Answer::Document(key_set(&[&here]))).await,
    ];
    let settings = VerifierSettings {
        key_addresses: hosts.iter().map(|host| host.address.clone()).collect(),
        ..VerifierSettings::default()
    };
    let clock = SteppedClock::new();
    let verifier = Verifier::new(settings, clock.as_clock()).unwrap();
    assert_eq!(verifier.verify(&here.token()).await, Ok(alice()));
    assert_eq!(
        verifier.verify(&gone.token()).await,
        Err(TokenError::KeysUnavailable)
    );
    hosts[0].answer(Answer::Document(key_set(&[&gone])));
    clock.step(10 * SECOND);
    assert_eq!(verifier.verify(&gone.token()).await, Ok(alice()));
    let stranger = Pair::ed25519("stranger").token();
    assert_eq!(verifier.verify(&stranger).await, Err(UNKNOWN_KEY));
}
