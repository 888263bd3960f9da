//! What is logged: no token, no key, and nothing from outside that could pass for another line.

use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex};

use sync_access::{UpstreamSettings, VerifierSettings};
use test_services::Mood;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::neighbours::Neighbours;
use crate::support::{DOWN, MINUTE, Pair, SECOND, UNKNOWN_KEY, WRONG_SIGNATURE, World, alice};

/// Keeps every event of this crate, a line each.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<String>>);

impl Lines {
    pub(crate) fn text(&self) -> String {
        self.0.lock().unwrap().clone()
    }
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("sync_access")
    }

    fn event(&self, event: &Event<'_>) {
        let mut lines = self.0.lock().unwrap();
        write!(lines, "{}", event.metadata().level()).unwrap();
        event.record(&mut Fields(&mut lines));
        lines.push('\n');
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

struct Fields<'a>(&'a mut String);

impl Visit for Fields<'_> {
    /// As the server's text log writes texts: raw.
    fn record_str(&mut self, field: &Field, value: &str) {
        write!(self.0, " {}={value}", field.name()).unwrap();
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, " {}={value:?}", field.name()).unwrap();
    }
}

#[tokio::test]
async fn a_log_line_holds_no_token_and_an_unknown_kid_only_escaped_and_cut() {
    let lines = Lines::default();
    let _guard = tracing::subscriber::set_default(lines.clone());
    let key = Pair::ed25519("key-1");
    let nasty = Pair::ed25519(&format!(
        "a\n{} no keys\u{1b}{}",
        Level::ERROR,
        "x".repeat(1000)
    ));
    let world = World::with(&[&key]).await;
    let tokens = [key.token(), nasty.token(), Pair::ed25519("key-1").token()];
    assert_eq!(world.verify(&tokens[0]).await, Ok(alice()));
    world.clock.step(MINUTE);
    assert_eq!(world.verify(&tokens[1]).await, Err(UNKNOWN_KEY));
    assert_eq!(world.verify(&tokens[2]).await, Err(WRONG_SIGNATURE));
    world.host.answer(DOWN);
    world.clock.step(10 * MINUTE);
    assert_eq!(world.verify(&tokens[0]).await, Ok(alice()));
    let logged = lines.text();
    let kid = format!(r#"kid="a\nERROR no keys\u{{1b}}{}""#, "x".repeat(48));
    let address = &world.host.address;
    let expected = [
        format!("DEBUG message=keys were had source={address} usable=1 ignored=0"),
        format!("DEBUG message=a key is unknown, and being asked for {kid}"),
        format!("DEBUG message=keys were had source={address} usable=1 ignored=0"),
        "DEBUG message=a token was refused kid=\"key-1\" reason=the token's signature is wrong"
            .to_owned(),
    ];
    let lines: Vec<&str> = logged.lines().collect();
    assert_eq!(lines[..4], expected, "{logged}");
    let failed = format!("WARN message=no keys were had source={address} reason=");
    assert!(
        lines.len() == 5 && lines[4].starts_with(&failed),
        "{logged}"
    );
    for part in tokens.iter().flat_map(|token| token.split('.')) {
        assert!(!logged.contains(part), "{part} in {logged}");
    }
}

#[tokio::test]
async fn the_query_of_an_address_is_not_logged() {
    let lines = Lines::default();
    let _guard = tracing::subscriber::set_default(lines.clone());
    let world = World::answering(DOWN).await;
    let settings = VerifierSettings {
        key_addresses: vec![format!("{}?code=secret", world.host.address)],
        ..VerifierSettings::default()
    };
    let verifier = sync_access::Verifier::new(settings, world.clock.as_clock()).unwrap();
    assert!(
        verifier
            .verify(&Pair::ed25519("key-1").token())
            .await
            .is_err()
    );
    let logged = lines.text();
    assert!(
        logged.starts_with("WARN message=no keys were had"),
        "{logged}"
    );
    assert!(!logged.contains("secret"), "{logged}");
}

#[tokio::test]
async fn a_service_that_fails_is_logged_without_its_key_and_without_the_user_in_clear() {
    let lines = Lines::default();
    let _guard = tracing::subscriber::set_default(lines.clone());
    let key = "a-very-secret-service-key";
    let settings = |settings: &mut UpstreamSettings| settings.service_key = Some(key.to_owned());
    for mood in [
        Mood::Down,
        Mood::Cut,
        Mood::Status(500),
        Mood::Status(404),
        Mood::Redirect("http://elsewhere/anna-the-user".to_owned()),
        Mood::WrongJson,
        Mood::AnotherUser,
        Mood::Endless,
    ] {
        let mut world = Neighbours::with(settings).await;
        world.mood(mood);
        world
            .services
            .set_memberships("anna-the-user", &[("", "owner")]);
        for _ in 0..6 {
            assert!(world.is_active("anna-the-user").await);
            let _ = world.settle("anna-the-user").await;
        }
        world.services.stop().await;
        world.clock.step(10 * SECOND);
        let _ = world.settle("anna-the-user").await;
    }
    let world = Neighbours::with(settings).await;
    world
        .services
        .set_memberships("anna-the-user", &[("_personal:x", "owner")]);
    assert!(world.settle("anna-the-user").await.is_ok());
    let logged = lines.text();
    let digest = openssl::sha::sha256(b"anna-the-user");
    let user: String = digest[..6]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    for expected in [
        format!(
            "WARN message=a service has told nothing service=billing user={user} reason=the answer has status 500"
        ),
        format!(
            "WARN message=a service has told nothing service=memberships user={user} reason=the answer is of no use: it is about another user"
        ),
        "WARN message=a service fails and is left alone for a while service=memberships".to_owned(),
        format!("DEBUG message=a service was not asked service=memberships user={user} reason="),
        format!("WARN message=memberships of no space were passed over user={user} count=1"),
        "reason=the service cannot be reached: ".to_owned(),
    ] {
        assert!(logged.contains(&expected), "{expected} in {logged}");
    }
    for hidden in [key, "anna-the-user", "127.0.0.1", "http:"] {
        assert!(!logged.contains(hidden), "{hidden} in {logged}");
    }
}

#[test]
fn settings_show_neither_the_key_nor_the_address() {
    let mut settings = UpstreamSettings::at("http://user:secret@here");
    settings.service_key = Some("secret".to_owned());
    assert_eq!(
        format!("{settings:?}"),
        "UpstreamSettings { remembered_users: 50000, .. }"
    );
    let settings = VerifierSettings {
        key_addresses: vec!["https://here/jwks?code=secret".to_owned()],
        ..VerifierSettings::default()
    };
    let shown = format!("{settings:?}");
    assert!(!shown.contains("secret"), "{shown}");
}
