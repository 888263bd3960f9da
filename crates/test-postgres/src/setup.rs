//! What a server is given before it starts: options, settings, a folder, a port, a password.

use std::fs::{self, File, Permissions};
use std::io::Read;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::TempDir;

use crate::error::Error;

/// Where ports are chosen: below those that systems give to outgoing connections. A client that tries again and again to
/// reach a stopped server could otherwise be given the server's own port, connect to itself and keep the server out.
const PORTS: Range<u16> = 15_000..30_000;

/// What a commit survives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// The death of the server's processes, but not of the machine: commits are written, not flushed to the disk. Right
    /// for tests, those that kill the server included.
    #[default]
    Processes,
    /// The death of the machine, as in production: commits wait for the disk. Right for measuring.
    Machine,
}

/// How a server is set up.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What a commit survives.
    pub durability: Durability,
    /// Further settings by name, which win over the usual ones.
    pub settings: Vec<(String, String)>,
}

impl Options {
    /// The settings of a server with its socket in `folder`, later ones winning.
    pub(crate) fn settings(&self, folder: &Path, port: u16) -> Vec<(String, String)> {
        let folder = folder.display().to_string();
        let port = port.to_string();
        let mut settings = vec![
            ("listen_addresses", "127.0.0.1"),
            ("port", port.as_str()),
            ("unix_socket_directories", folder.as_str()),
            ("max_connections", "200"),
            ("shared_buffers", "256MB"),
            // In the data folder, so that it goes with it, whatever was killed.
            ("dynamic_shared_memory_type", "mmap"),
            // Stays on where nothing is flushed, too: what was acknowledged survives a killed server.
            ("synchronous_commit", "on"),
        ];
        if self.durability == Durability::Processes {
            settings.extend([("fsync", "off"), ("full_page_writes", "off")]);
        }
        let usual = settings
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        usual.chain(self.settings.iter().cloned()).collect()
    }
}

/// A folder that only its owner enters.
pub(crate) fn private_folder() -> Result<TempDir, Error> {
    let folder = tempfile::Builder::new()
        .prefix("sync-postgres-")
        .tempdir()
        .map_err(Error::io("make a temporary folder"))?;
    fs::set_permissions(folder.path(), Permissions::from_mode(0o700))
        .map_err(Error::io("close the temporary folder to others"))?;
    Ok(folder)
}

/// A port of [`PORTS`] that nobody listens on now.
pub(crate) fn free_port() -> Result<u16, Error> {
    let mut last = None;
    for _ in 0..PORTS.len() {
        let [high, low, ..] = random_bytes()?;
        let offset = u16::from_be_bytes([high, low]) % (PORTS.end - PORTS.start);
        let port = PORTS.start + offset;
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(_) => return Ok(port),
            Err(error) => last = Some(error),
        }
    }
    let source = last.unwrap_or_else(|| std::io::ErrorKind::AddrInUse.into());
    Err(Error::io("find a free port")(source))
}

/// A password that needs no escaping in a URL.
pub(crate) fn random_password() -> Result<String, Error> {
    let bytes = random_bytes()?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn random_bytes() -> Result<[u8; 16], Error> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .map_err(Error::io("read random bytes"))?;
    Ok(bytes)
}
