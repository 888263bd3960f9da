//! Who cleans up when the test itself is killed: a shell that waits for the end of a pipe.
//!
//! A test that runs into its time limit is killed without its destructors. The system then closes its end of the pipe, the
//! guard reads the end, kills the server and removes the folder. The server keeps nothing, so that there is nothing to
//! stop in order.

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::error::Error;

/// Each line that it reads is the server's process id, or empty while there is none; `$1` is the folder.
const SCRIPT: &str = r#"
trap '' HUP INT TERM
server=
while read -r line; do server=$line; done
[ -z "$server" ] || kill -KILL "$server" 2>/dev/null
rm -rf -- "$1"
"#;

/// Kills a server and removes its folder once this value, or the process that holds it, is gone.
#[derive(Debug)]
pub(crate) struct Guard {
    shell: Child,
}

impl Guard {
    /// Guards the folder of a server.
    pub(crate) fn over(folder: &Path) -> Result<Self, Error> {
        let shell = Command::new("sh")
            .args(["-c", SCRIPT, "sh"])
            .arg(folder)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(Error::io("start the server's guard"))?;
        Ok(Self { shell })
    }

    /// From now on the server is this process, or there is none.
    pub(crate) fn watch(&mut self, server: Option<u32>) -> Result<(), Error> {
        let line = server.map_or_else(String::new, |process| process.to_string());
        let told = match &mut self.shell.stdin {
            Some(pipe) => writeln!(pipe, "{line}"),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        };
        told.map_err(Error::io("speak to the server's guard"))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn a_guard_let_go_kills_the_server_and_removes_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("log"), "said something").unwrap();
        let mut server = Command::new("sleep").arg("60").spawn().unwrap();
        let mut guard = Guard::over(folder.path()).unwrap();
        guard.watch(Some(server.id())).unwrap();
        drop(guard);
        assert_eq!(server.wait().unwrap().signal(), Some(9));
        assert!(!folder.path().exists());
    }

    #[test]
    fn a_guard_that_was_told_of_the_servers_end_kills_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let mut bystander = Command::new("sleep").arg("60").spawn().unwrap();
        let mut guard = Guard::over(folder.path()).unwrap();
        guard.watch(Some(bystander.id())).unwrap();
        guard.watch(None).unwrap();
        drop(guard);
        assert!(bystander.try_wait().unwrap().is_none());
        bystander.kill().unwrap();
        bystander.wait().unwrap();
    }
}
