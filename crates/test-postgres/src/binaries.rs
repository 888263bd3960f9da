//! Where the server programs are.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::Error;

/// The oldest major version of PostgreSQL that is served and tested.
pub const OLDEST_MAJOR_VERSION: u32 = 13;

/// The folders in which packages put one folder per major version.
const PACKAGE_FOLDERS: [&str; 2] = ["/usr/lib/postgresql", "/opt/homebrew/opt"];

/// The server programs of one PostgreSQL installation.
#[derive(Clone, Debug)]
pub struct Binaries {
    folder: PathBuf,
    version: String,
}

impl Binaries {
    /// Finds `initdb` and `postgres` of a usable version: where `pg_config` says, then where packages put them, the newest
    /// first, then in the search path.
    ///
    /// # Errors
    ///
    /// [`Error::NotInstalled`] says what to install.
    pub fn find() -> Result<Self, Error> {
        let mut older = Vec::new();
        for folder in candidates() {
            let Some(version) = version_in(&folder) else {
                continue;
            };
            if major(&version).is_some_and(|major| major >= OLDEST_MAJOR_VERSION) {
                return Ok(Self { folder, version });
            }
            older.push(folder);
        }
        Err(Error::NotInstalled { older })
    }

    /// The path of one of the programs, such as `psql`.
    #[must_use]
    pub fn program(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The server's version as it tells it, such as `15.18`.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }
}

/// All folders that may hold the programs, best first.
fn candidates() -> Vec<PathBuf> {
    let mut folders = Vec::new();
    folders.extend(output("pg_config", &["--bindir"]).map(PathBuf::from));
    folders.extend(package_folders());
    folders.extend(folder_in_search_path());
    folders
}

/// The folders of packages, newest version first.
fn package_folders() -> Vec<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = PACKAGE_FOLDERS
        .iter()
        .filter_map(|folder| std::fs::read_dir(folder).ok())
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let number = name.strip_prefix("postgresql@").unwrap_or(&name);
            Some((major(number)?, entry.path().join("bin")))
        })
        .collect();
    found.sort();
    found.into_iter().rev().map(|(_, folder)| folder).collect()
}

/// The folder of the `postgres` that a shell would run, links resolved: `initdb` looks for its sibling there.
fn folder_in_search_path() -> Option<PathBuf> {
    let program = output("sh", &["-c", "command -v postgres"])?;
    let program = Path::new(&program).canonicalize().ok()?;
    program.parent().map(Path::to_path_buf)
}

/// The version of the server in `folder`, if both programs are there and run.
fn version_in(folder: &Path) -> Option<String> {
    if !folder.join("initdb").is_file() {
        return None;
    }
    let line = output(folder.join("postgres").to_str()?, &["--version"])?;
    // "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"
    line.split_whitespace().nth(2).map(str::to_owned)
}

/// The major version of `15.18`, `18beta1` or `17`.
fn major(version: &str) -> Option<u32> {
    let end = version
        .find(|character: char| !character.is_ascii_digit())
        .unwrap_or(version.len());
    version[..end].parse().ok()
}

/// The trimmed first words of a program that ended well and said something.
fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_major_version_is_the_leading_number() {
        let versions = ["15.18", "18beta1", "17", "devel", ""];
        assert_eq!(
            versions.map(major),
            [Some(15), Some(18), Some(17), None, None]
        );
    }
}
