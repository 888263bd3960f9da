//! A development server of this repository, in a folder and on a port of its own, for as long as it is needed.

use std::error::Error;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
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

/// A running `sync-server dev`. It ends, and its folder goes, when this is dropped.
pub(crate) struct DevelopmentServer {
    process: Child,
    url: String,
    _folder: TempDir,
}

impl DevelopmentServer {
    /// Builds the server and starts it.
    pub(crate) fn start(profile: Profile) -> Result<Self, Box<dyn Error>> {
        let folder = tempfile::tempdir()?;
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let process = Command::new(build(profile)?)
            .args(["dev", "--port", &port.to_string()])
            .current_dir(folder.path())
            .env_clear()
            .env("SYNC_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()?;
        let mut server = Self {
            process,
            url: format!("http://127.0.0.1:{port}"),
            _folder: folder,
        };
        server.wait_until_ready(port)?;
        Ok(server)
    }

    /// Its address.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The number of its process.
    pub(crate) fn process_id(&self) -> u32 {
        self.process.id()
    }

    fn wait_until_ready(&mut self, port: u16) -> Result<(), Box<dyn Error>> {
        let deadline = Instant::now() + START_TIME_LIMIT;
        while Instant::now() < deadline {
            if let Some(status) = self.process.try_wait()? {
                return Err(format!("the development server ended with {status}").into());
            }
            if is_ready(port) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Err(format!("the development server is not ready after {START_TIME_LIMIT:?}").into())
    }
}

impl Drop for DevelopmentServer {
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

fn is_ready(port: u16) -> bool {
    let ask = || -> std::io::Result<String> {
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", port))?;
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
