//! Who may call: an issuer of tokens, and the service that has its keys.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sync_access::DevelopmentIssuer;
use sync_protocol::Millis;

/// Longer than any test.
const LIFETIME: Duration = Duration::from_secs(3600);

/// Signs tokens, and serves the key set that tells they are good for as long as the process runs.
pub(crate) struct Keys {
    issuer: DevelopmentIssuer,
    /// Where the key set is.
    pub(crate) url: String,
}

impl Keys {
    /// New keys.
    pub(crate) fn serve() -> Self {
        let issuer = DevelopmentIssuer::generate().unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let url = format!("http://{}/jwks.json", listener.local_addr().unwrap());
        let key_set = issuer.key_set();
        std::thread::spawn(move || answer(&listener, &key_set));
        Self { issuer, url }
    }

    /// A token of this user.
    pub(crate) fn token(&self, user: &str) -> String {
        self.issuer.issue(user, None, now(), LIFETIME).unwrap()
    }
}

/// The time of day.
#[expect(
    clippy::disallowed_methods,
    reason = "a test of real processes has real time"
)]
pub(crate) fn now() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Millis(i64::try_from(since.as_millis()).unwrap())
}

fn answer(listener: &TcpListener, key_set: &str) {
    for mut stream in listener.incoming().flatten() {
        // Whoever asks is one of our nodes; one that goes away asks again.
        let _ = stream.read(&mut [0; 4096]);
        let length = key_set.len();
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close";
        let _ = write!(
            stream,
            "{head}\r\ncontent-length: {length}\r\n\r\n{key_set}"
        );
    }
}
