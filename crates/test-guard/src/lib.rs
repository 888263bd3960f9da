//! Who cleans up when a test itself is killed: a shell that waits for the end of a pipe.
//!
//! A test that runs into its time limit is killed without its destructors. The system then closes its end of the pipe, the
//! guard reads the end, stops the server and removes the folder. The crate knows nothing of what kind of server it is.

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Each line that it reads is the server's process id, or empty while there is none; `$1` is the folder, `$2` the file in it
/// that is there as long as the server is, if there is one.
const SCRIPT: &str = r#"
trap '' HUP INT TERM
server=
while read -r line; do server=$line; done
if [ -n "$server" ] && [ -z "$2" ]; then
    kill -KILL "$server" 2>/dev/null
elif [ -n "$server" ] && kill -INT "$server" 2>/dev/null; then
    tries=0
    while [ -e "$1/$2" ] && [ "$tries" -lt 100 ]; do
        sleep 0.1
        tries=$((tries + 1))
    done
    [ ! -e "$1/$2" ] || kill -KILL "$server" 2>/dev/null
fi
rm -rf -- "$1"
"#;

/// How a server is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It keeps nothing: it is killed.
    AtOnce,
    /// It is interrupted, and has ten seconds until this file of its folder is gone.
    Gently(&'static str),
}

/// Stops a server and removes its folder once this value, or the process that holds it, is gone.
#[derive(Debug)]
pub struct Guard {
    shell: Child,
}

impl Guard {
    /// Guards the folder of a server.
    ///
    /// # Errors
    ///
    /// The guard cannot be started.
    pub fn over(folder: &Path, stop: Stop) -> io::Result<Self> {
        let file = match stop {
            Stop::AtOnce => "",
            Stop::Gently(file) => file,
        };
        let shell = Command::new("sh")
            .args(["-c", SCRIPT, "sh"])
            .arg(folder)
            .arg(file)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        Ok(Self { shell })
    }

    /// From now on the server is this process, or there is none.
    ///
    /// # Errors
    ///
    /// The guard is gone.
    pub fn watch(&mut self, server: Option<u32>) -> io::Result<()> {
        let line = server.map_or_else(String::new, |process| process.to_string());
        match &mut self.shell.stdin {
            Some(pipe) => writeln!(pipe, "{line}"),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
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
    fn a_guard_let_go_stops_the_server_and_removes_its_folder() {
        for (stop, signal) in [(Stop::AtOnce, 9), (Stop::Gently("pid"), 2)] {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join("log"), "said something").unwrap();
            let mut server = Command::new("sleep").arg("60").spawn().unwrap();
            let mut guard = Guard::over(folder.path(), stop).unwrap();
            guard.watch(Some(server.id())).unwrap();
            drop(guard);
            assert_eq!(server.wait().unwrap().signal(), Some(signal));
            assert!(!folder.path().exists());
        }
    }

    #[test]
    fn a_guard_that_was_told_of_the_servers_end_stops_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let mut bystander = Command::new("sleep").arg("60").spawn().unwrap();
        let mut guard = Guard::over(folder.path(), Stop::AtOnce).unwrap();
        guard.watch(Some(bystander.id())).unwrap();
        guard.watch(None).unwrap();
        drop(guard);
        assert!(bystander.try_wait().unwrap().is_none());
        bystander.kill().unwrap();
        bystander.wait().unwrap();
    }
}
