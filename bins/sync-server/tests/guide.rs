//! The session in `docs/PROTOCOL.md` is what a client sees: its commands are run against the binary, by `sh` and `curl`, and each
//! is answered as it stands there. `…` is whatever comes in its place.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

const GUIDE: &str = include_str!("../../../docs/PROTOCOL.md");
/// Where the server of the guide is.
const HOST: &str = "localhost:3050";
/// What stands between the answers of two commands.
const RULE: &str = "\u{1}";

/// A command of the guide, and what it says.
struct Example {
    command: String,
    answer: String,
}

fn session() -> &'static str {
    let (_, session) = GUIDE.split_once("\n## A session\n").unwrap();
    session.split("\n## ").next().unwrap()
}

/// The commands, which begin with `$`; what is indented below one is its answer.
fn examples(session: &str) -> Vec<Example> {
    let mut examples: Vec<Example> = Vec::new();
    for line in session.lines().filter_map(|line| line.strip_prefix("    ")) {
        match line.strip_prefix("$ ") {
            Some(command) => examples.push(Example {
                command: command.to_owned(),
                answer: String::new(),
            }),
            None => examples.last_mut().unwrap().answer.push_str(line.trim()),
        }
    }
    examples
}

/// The file of tables that it begins with.
fn tables(session: &str) -> &str {
    let (_, tables) = session.split_once("```toml\n").unwrap();
    tables.split("```").next().unwrap()
}

/// Why what was said is not what stands there.
fn difference(documented: &str, said: &str) -> Option<String> {
    let told = || Some(format!("the guide: {documented}\nthe server: {said}"));
    if documented == said {
        return None;
    }
    let documented = quoted(documented);
    let (Ok(documented), Ok(said)) = (
        serde_json::from_str::<Value>(&documented),
        serde_json::from_str::<Value>(said),
    ) else {
        return told();
    };
    if is_like(&documented, &said) {
        None
    } else {
        told()
    }
}

/// With `…` as a text also where it stands for a number.
fn quoted(documented: &str) -> String {
    let bare = documented.replace("\"…\"", "…");
    bare.replace('…', "\"…\"")
}

fn is_like(documented: &Value, said: &Value) -> bool {
    match (documented, said) {
        (Value::String(any), Value::String(_) | Value::Number(_)) if any == "…" => true,
        (Value::Array(documented), Value::Array(said)) => {
            documented.len() == said.len()
                && documented
                    .iter()
                    .zip(said)
                    .all(|(one, other)| is_like(one, other))
        }
        (Value::Object(documented), Value::Object(said)) => {
            documented.keys().eq(said.keys())
                && documented
                    .iter()
                    .all(|(name, value)| is_like(value, &said[name]))
        }
        _ => documented == said,
    }
}

/// A development server, ended with this value.
struct Running(Child, u16);

impl Running {
    fn start(folder: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let mut command = Command::new(env!("CARGO_BIN_EXE_sync-server"));
        command
            .args(["dev", "--sync-tables", "tables.toml", "--port"])
            .arg(port.to_string())
            .current_dir(folder)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut running = Self(command.spawn().unwrap(), port);
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let is_there = running.0.try_wait().unwrap().is_none();
            assert!(is_there && Instant::now() < deadline, "it is up");
            std::thread::yield_now();
        }
        running
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What each command says, all in one shell.
fn run(examples: &[Example], port: u16) -> Vec<String> {
    let here = format!("127.0.0.1:{port}");
    let mut script = String::new();
    for example in examples {
        script.push_str(&example.command.replace(HOST, &here));
        script.push_str(&format!("\nprintf '{RULE}'\n"));
    }
    let output = Command::new("sh").args(["-c", &script]).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let mut answers: Vec<String> = said
        .split(RULE)
        .map(|said| said.trim().to_owned())
        .collect();
    answers.pop();
    answers
}

#[test]
fn the_session_of_the_protocol_page_is_what_the_server_says() {
    let curl = Command::new("curl").arg("--version").output();
    assert!(
        curl.is_ok_and(|curl| curl.status.success()),
        "the examples of docs/PROTOCOL.md are run with curl, which is not here: install it (apt-get install curl)"
    );
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tables.toml"), tables(session())).unwrap();
    let server = Running::start(folder.path());
    let examples = examples(session());
    assert!(examples.len() > 20, "{}", examples.len());
    let answers = run(&examples, server.1);
    assert_eq!(answers.len(), examples.len(), "{answers:?}");
    let faults: Vec<String> = examples
        .iter()
        .zip(&answers)
        .filter_map(|(example, said)| {
            let difference = difference(&example.answer, said)?;
            Some(format!("$ {}\n{difference}", example.command))
        })
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
}

#[test]
fn an_answer_that_is_another_is_found() {
    let documented = r#"{"a":…,"b":"…","c":[1]}"#;
    for (said, is_found) in [
        (r#"{"a":17,"b":"x","c":[1]}"#, false),
        (r#"{"a":17,"b":"x","c":[2]}"#, true),
        (r#"{"a":17,"b":"x","c":[1],"d":1}"#, true),
        (r#"{"a":17,"c":[1]}"#, true),
        (r#"{"a":null,"b":"x","c":[1]}"#, true),
        ("", true),
    ] {
        assert_eq!(difference(documented, said).is_some(), is_found, "{said}");
    }
}
