//! The server under test: the real binary as a process of its own, and the service that has its keys.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{Fault, http};

/// How long a start may take, on a machine that builds something beside it.
const START_LIMIT: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(20);
/// Ports are taken by others between the choice and the start at times.
const ATTEMPTS: usize = 3;

/// A running server; it is killed with this value.
pub(crate) struct Server {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    process: Child,
    log: PathBuf,
}

/// Whether the neighbours that a server needs can be reached, and so whether it ever becomes ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keys {
    /// It finds its keys.
    There,
    /// It lives, but lets nobody in.
    Unreachable,
}

impl Server {
    /// Starts a server with this environment and no other, and waits until it serves.
    pub(crate) fn start(
        folder: &Path,
        settings: &BTreeMap<String, String>,
        keys: Keys,
    ) -> Result<Self, Fault> {
        let mut last = Fault::new();
        for _ in 0..ATTEMPTS {
            let mut server = Self::spawn(folder, settings)?;
            match server.wait_until_it_serves(keys) {
                Ok(()) => return Ok(server),
                Err(fault) => last = format!("{fault}\n{}", server.log()),
            }
            if server
                .process
                .try_wait()
                .is_ok_and(|status| status.is_none())
            {
                break;
            }
        }
        Err(format!("the server does not start: {last}"))
    }

    /// The end of what it has written to its log.
    pub(crate) fn log(&self) -> String {
        const LINES: usize = 40;
        let log = std::fs::read_to_string(&self.log).unwrap_or_else(|error| error.to_string());
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LINES)..].join("\n")
    }

    fn spawn(folder: &Path, settings: &BTreeMap<String, String>) -> Result<Self, Fault> {
        let told = |error: std::io::Error| error.to_string();
        let log = folder.join("server.log");
        let output = File::create(&log).map_err(told)?;
        let address = free_address().map_err(told)?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_sync-server"));
        command
            .env_clear()
            // All users of a story come from one address, as fast as they can.
            .env("SYNC_RATE_PER_USER", "0")
            .env("SYNC_RATE_PER_ADDRESS", "0")
            .envs(settings)
            .env("PORT", address.port().to_string())
            .current_dir(folder);
        command
            .stdin(Stdio::null())
            .stdout(output.try_clone().map_err(told)?)
            .stderr(output);
        let process = command.spawn().map_err(told)?;
        Ok(Self {
            address,
            process,
            log,
        })
    }

    fn wait_until_it_serves(&mut self, keys: Keys) -> Result<(), Fault> {
        let path = match keys {
            Keys::There => "/ready",
            Keys::Unreachable => "/health",
        };
        let start = Instant::now();
        loop {
            if let Ok(Some(status)) = self.process.try_wait() {
                return Err(format!("it ended with {status}"));
            }
            match http::exchange(self.address, "GET", path, &[], None) {
                Ok(answer) if answer.status == 200 => return Ok(()),
                outcome if start.elapsed() > START_LIMIT => {
                    return Err(format!("after {START_LIMIT:?}, {path}: {outcome:?}"));
                }
                _ => std::thread::sleep(PAUSE),
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn free_address() -> std::io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// Serves a key set on loopback as long as the test runs; gives its URL.
pub(crate) fn serve_keys(key_set: String) -> Result<String, Fault> {
    let listener =
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|error| error.to_string())?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            // Whoever asks is our own server; one that goes away asks again.
            let _ = stream.read(&mut [0; 4096]);
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{key_set}",
                key_set.len()
            );
        }
    });
    Ok(format!("http://{address}/jwks.json"))
}

/// The URL of a key set at a port where nobody listens.
pub(crate) fn no_keys() -> String {
    "http://127.0.0.1:1/jwks.json".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_set_is_served() {
        let url = serve_keys("{}".to_owned()).unwrap();
        let address = url
            .trim_start_matches("http://")
            .trim_end_matches("/jwks.json")
            .parse()
            .unwrap();
        let answer = http::exchange(address, "GET", "/jwks.json", &[], None).unwrap();
        assert_eq!(
            (answer.status, answer.body.as_slice()),
            (200, b"{}".as_slice())
        );
    }
}
