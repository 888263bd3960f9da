//! Which user the server runs as: PostgreSQL refuses to run as root.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::error::Error;

/// The users that a server started by root may run as, best first.
const UNPRIVILEGED: [&str; 2] = ["postgres", "nobody"];

/// The user that the server's files and processes belong to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Account {
    /// The one that called.
    Caller,
    /// Another one, because the caller is root.
    Other { user: u32, group: u32 },
}

impl Account {
    /// The account for a server started by the maker of `folder`.
    pub(crate) fn for_maker_of(folder: &Path) -> Result<Self, Error> {
        let made = fs::metadata(folder).map_err(Error::io("read the server's folder"))?;
        if made.uid() != 0 {
            return Ok(Self::Caller);
        }
        let users = fs::read_to_string("/etc/passwd").map_err(Error::io("read /etc/passwd"))?;
        UNPRIVILEGED
            .iter()
            .find_map(|name| find(&users, name))
            .ok_or(Error::NoAccount)
    }

    /// Gives a file or folder to the account.
    pub(crate) fn take(self, path: &Path) -> Result<(), Error> {
        match self {
            Self::Caller => Ok(()),
            Self::Other { user, group } => chown(path, Some(user), Some(group))
                .map_err(Error::io(format!("give {} to its user", path.display()))),
        }
    }

    /// Makes `command` run as the account, without the caller's groups and environment.
    pub(crate) fn run_as(self, command: &mut Command) -> &mut Command {
        if let Self::Other { user, group } = self {
            command.uid(user).gid(group);
        }
        // No PGDATA, PGPORT or LANG of the caller's: messages are read, and sorting is compared, in one locale.
        command
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("LC_ALL", "C")
            .env("TZ", "UTC")
    }
}

/// The account named `name` in the text of `/etc/passwd`.
fn find(users: &str, name: &str) -> Option<Account> {
    let mut fields = users
        .lines()
        .map(|line| line.split(':'))
        .find(|fields| fields.clone().next() == Some(name))?
        .skip(2);
    Some(Account::Other {
        user: fields.next()?.parse().ok()?,
        group: fields.next()?.parse().ok()?,
    })
}
