//! Users, passwords and tokens, and that none is told to anybody else.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use sync_notify::Hub;
use sync_notify_nats::{Config, NatsError, NatsRelay};
use test_nats::Server;
use tracing_subscriber::fmt::MakeWriter;

use crate::support::{Node, two_nodes};

const PASSWORD: &str = "s3cr3t/@,:%";
const ENCODED: &str = "s3cr3t%2F%40%2C%3A%25";

/// A log that is kept.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// Writes down every word that is logged on this thread, which is the only one of a test.
fn log() -> (Log, tracing::subscriber::DefaultGuard) {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(log.clone())
        .finish();
    (log, tracing::subscriber::set_default(subscriber))
}

fn keeps_the_secret(text: &str) {
    for secret in ["s3cr3t", PASSWORD, ENCODED] {
        assert!(!text.contains(secret), "{text}");
    }
}

#[tokio::test]
async fn a_user_and_password_in_the_url_log_in_and_are_logged_nowhere() {
    let (log, _guard) = log();
    let mut server = Server::start(&["--user", "jörg", "--pass", PASSWORD]).unwrap();
    let url = format!("nats://j%C3%B6rg:{ENCODED}@{}", server.address());
    let (here, there) = two_nodes(|| Config::new(url.as_str())).await;
    server.kill().unwrap();
    here.is_down().await;
    server.restart().unwrap();
    here.reaches(&there, "again").await;
    keeps_the_secret(&format!("{:?} {:?}", here.relay, Config::new(url.as_str())));
    keeps_the_secret(&log.text());
    // The log was on.
    assert!(log.text().contains("NATS is connected"));
    assert!(log.text().contains("upgrading") || log.text().contains("establishing connection"));
}

#[tokio::test]
async fn a_token_in_the_url_logs_in() {
    let server = Server::start(&["--auth", PASSWORD]).unwrap();
    let url = format!("nats://{ENCODED}@{}", server.address());
    two_nodes(|| Config::new(url.as_str())).await;
}

#[tokio::test]
async fn a_wrong_password_is_a_failure_that_is_tried_again_and_logged_without_it() {
    let (log, _guard) = log();
    let server = Server::start(&["--user", "u", "--pass", "right"]).unwrap();
    let node = Node::new(Config::new(format!(
        "nats://u:{ENCODED}@{}",
        server.address()
    )));
    node.has_failed(3).await;
    assert!(!node.figures().is_up);
    keeps_the_secret(&log.text());
    let told = log.text().matches("NATS is away").count();
    assert_eq!(told, 1, "{}", log.text());
}

#[tokio::test]
async fn settings_that_cannot_be_used_are_errors_without_secrets() {
    let start = |url: &str, prefix: &str, authorities: Option<&str>| {
        let config = Config {
            url: url.to_owned(),
            prefix: prefix.to_owned(),
            authorities: authorities.map(|pem| pem.as_bytes().to_vec()),
        };
        let error = NatsRelay::start(config, Hub::new(1)).unwrap_err();
        keeps_the_secret(&format!("{error} {error:?}"));
        error
    };
    let error = start("http://u:s3cr3t@host", "sync", None);
    assert!(
        matches!(error, NatsError::Url { place: 1, .. }),
        "{error:?}"
    );
    let error = start("nats://u:s3cr3t@a,nats://v:s3cr3t@b", "sync", None);
    assert!(matches!(error, NatsError::Logins), "{error:?}");
    let error = start("nats://host", "sync.>", None);
    assert!(matches!(error, NatsError::Prefix { .. }), "{error:?}");
    let error = start("nats://host", "sync", Some("s3cr3t"));
    assert!(matches!(error, NatsError::Authorities { .. }), "{error:?}");
}
