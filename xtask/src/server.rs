//! A server of this repository, in a folder and on a port of its own, for as long as it is needed.

use std::error::Error;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long a server may take to be ready.
const START_TIME_LIMIT: Duration = Duration::from_secs(30);

/// How a server is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Quickly.
    Dev,
    /// To be measured.
    Release,
}

impl Profile {
    fn name(self) -> &'static str {
        match self {
            Self::Dev => "dev",
            Self::Release => "release",
        }
    }
}

/// A running server. It ends, and its folder goes, when this is dropped.
pub(crate) struct OwnServer {
    process: Child,
    address: SocketAddr,
    _folder: TempDir,
}

impl OwnServer {
    /// Builds the server and starts `sync-server dev`.
    pub(crate) fn development(profile: Profile) -> Result<Self, Box<dyn Error>> {
        Self::start(profile, "dev", &[])
    }

    /// Builds the server and starts `sync-server serve` with these settings.
    pub(crate) fn serving(
        profile: Profile,
        settings: &[(&str, &str)],
    ) -> Result<Self, Box<dyn Error>> {
        Self::start(profile, "serve", settings)
    }

    fn start(
        profile: Profile,
        command: &str,
        settings: &[(&str, &str)],
    ) -> Result<Self, Box<dyn Error>> {
        let folder = tempfile::tempdir()?;
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let process = Command::new(build(profile)?)
            .args([command, "--port", &port.to_string()])
            .current_dir(folder.path())
            .env_clear()
            .env("SYNC_LOG", "warn")
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()?;
        let mut server = Self {
            process,
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            _folder: folder,
        };
        server.wait_until_ready()?;
        Ok(server)
    }

    /// Its address.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its address as that of a site.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The number of its process.
    pub(crate) fn process_id(&self) -> u32 {
        self.process.id()
    }

    fn wait_until_ready(&mut self) -> Result<(), Box<dyn Error>> {
        let deadline = Instant::now() + START_TIME_LIMIT;
        while Instant::now() < deadline {
            if let Some(status) = self.process.try_wait()? {
                return Err(format!("the server ended with {status}").into());
            }
            if is_ready(self.address) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Err(format!("the server is not ready after {START_TIME_LIMIT:?}").into())
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to end.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Builds the binary; cargo says where it is.
fn build(profile: Profile) -> Result<String, Box<dyn Error>> {
    let cargo = option_env!("CARGO").unwrap_or("cargo");
    let output = Command::new(cargo)
        .args([
            "build",
            "--quiet",
            "--locked",
            "--package",
            "sync-server",
            "--message-format",
            "json",
            "--profile",
            profile.name(),
        ])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()?;
    let built = output
        .stdout
        .lines()
        .map_while(Result::ok)
        .find_map(|line| {
            let message: serde_json::Value = serde_json::from_str(&line).ok()?;
            (message["target"]["name"] == "sync-server")
                .then(|| message["executable"].as_str().map(str::to_owned))?
        });
    built.ok_or_else(|| "the server could not be built".into())
}

fn is_ready(address: SocketAddr) -> bool {
    let ask = || -> std::io::Result<String> {
        let mut stream = std::net::TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        std::io::Write::write_all(
            &mut stream,
            b"GET /ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        )?;
        let mut line = String::new();
        BufReader::new(stream.take(1024)).read_line(&mut line)?;
        Ok(line)
    };
    ask().is_ok_and(|line| line.contains(" 200 "))
}
