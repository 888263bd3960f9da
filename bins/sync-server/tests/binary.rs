//! The binary as an operator meets it: help, bad settings, `check`, `migrate`, a stop by signal.

use std::io::Read;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use sync_client::{Client, NewChange, Options, Retry};

const BINARY: &str = env!("CARGO_BIN_EXE_sync-server");
const KEYS: (&str, &str) = ("JWKS_URL", "http://127.0.0.1:9/jwks.json");
const OPERATING: &str = include_str!("../../../docs/OPERATING.md");

fn command(folder: &Path, arguments: &[&str], settings: &[(&str, &str)]) -> Command {
    let mut command = Command::new(BINARY);
    command
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .envs(settings.iter().copied())
        .stdin(Stdio::null());
    command
}

/// What it says until it ends; if it goes on and on, it is ended, which is no success.
fn run(arguments: &[&str], settings: &[(&str, &str)]) -> Output {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = command(folder.path(), arguments, settings);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary runs");
    let deadline = Instant::now() + Duration::from_secs(20);
    while child.try_wait().expect("it is there").is_none() {
        if Instant::now() > deadline {
            child.kill().expect("it can be ended");
        }
        std::thread::yield_now();
    }
    child.wait_with_output().expect("its output is read")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn free_port() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener
        .local_addr()
        .expect("it has an address")
        .port()
        .to_string()
}

/// A server of the test, ended with it.
struct Running(Child, String);

impl Running {
    fn start(folder: &Path, arguments: &[&str], settings: &[(&str, &str)]) -> Self {
        let port = free_port();
        let mut command = command(folder, arguments, settings);
        command
            .args(["--port", &port])
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut running = Self(command.spawn().expect("the binary runs"), port);
        running.wait();
        running
    }

    /// Returns when it answers.
    fn wait(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.get("/health").is_none() {
            assert!(
                Instant::now() < deadline && self.0.try_wait().expect("it is there").is_none(),
                "it is up"
            );
            std::thread::yield_now();
        }
    }

    /// The status line of the answer.
    fn get(&self, path: &str) -> Option<String> {
        let answer = self.ask("GET", path, "", "")?;
        answer.lines().next().map(str::to_owned)
    }

    /// The whole answer to a request with this further line in its head.
    fn ask(&self, method: &str, path: &str, line: &str, body: &str) -> Option<String> {
        let mut stream = std::net::TcpStream::connect(format!("127.0.0.1:{}", self.1)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n{line}\r\n{body}"
        );
        std::io::Write::write_all(&mut stream, request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    /// Sends a signal and waits for the end: whether it ended well, and what it logged.
    fn stop(mut self, signal: &str) -> (bool, String) {
        let pid = self.0.id().to_string();
        let sent = Command::new("kill")
            .args([signal, &pid])
            .status()
            .expect("kill runs");
        assert!(sent.success());
        let mut log = String::new();
        self.0
            .stderr
            .take()
            .expect("its log")
            .read_to_string(&mut log)
            .expect("the log is text");
        (self.0.wait().expect("it ends").success(), log)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_help_names_every_command_and_setting_of_the_contract() {
    let help = text(&run(&["--help"], &[]).stdout);
    for name in [
        "serve",
        "dev",
        "migrate",
        "check",
        "export",
        "erase",
        "PORT",
        "DATABASE_URL",
        "JWKS_URL",
        "JWT_SECRET",
        "JWT_ISSUER",
        "JWT_AUDIENCE",
        "MANA_AUTH_URL",
        "MANA_CREDITS_URL",
        "MANA_SERVICE_KEY",
        "CORS_ORIGINS",
        "BILLING_EXEMPT_APPS",
        "NATS_URL",
    ] {
        assert!(help.contains(name), "{name} is not in:\n{help}");
    }
    assert!(text(&run(&["--version"], &[]).stdout).starts_with("sync-server 0."));
}

#[test]
fn the_operators_guide_lists_every_setting_with_its_default() {
    let help = text(&run(&["--help"], &[]).stdout);
    let settings: Vec<&str> = help.split("[env: ").skip(1).collect();
    assert!(settings.len() > 20, "{help}");
    for setting in settings {
        let (name, rest) = setting.split_once(']').expect("a bracket closes");
        let own = rest.split("\n\n").next().unwrap_or("");
        let default = own
            .split_once("[default: ")
            .and_then(|(_, default)| default.split_once(']'));
        let default = default.map_or("", |(default, _)| default);
        let quoted = format!("`{name}`");
        let mut lines = OPERATING.lines().filter(|line| line.contains(&quoted));
        assert!(
            lines.any(|line| line.contains(default)),
            "docs/OPERATING.md does not say of {name} that it is {default:?}"
        );
    }
}

#[test]
fn a_bad_setting_keeps_the_server_from_starting_and_is_named() {
    for (settings, name) in [
        (vec![], "JWKS_URL"),
        (
            vec![KEYS, ("DATABASE_URL", "mysql://host/name")],
            "DATABASE_URL",
        ),
        (
            vec![
                KEYS,
                ("DATABASE_URL", "postgresql://nobody@127.0.0.1:9/none"),
            ],
            "DATABASE_URL",
        ),
        (vec![KEYS, ("PORT", "many")], "PORT"),
        (vec![KEYS, ("CORS_ORIGINS", "example.org")], "CORS_ORIGINS"),
        (vec![KEYS, ("JWT_SECRET", "short")], "JWT_SECRET"),
        (
            vec![KEYS, ("SYNC_UPLOAD_CHANGES", "0")],
            "SYNC-UPLOAD-CHANGES",
        ),
        (
            vec![KEYS, ("SYNC_TRUSTED_PROXIES", "10.0.0.0/99")],
            "SYNC_TRUSTED_PROXIES",
        ),
        (vec![KEYS, ("SYNC_LOG", "sync=loud")], "SYNC_LOG"),
        (
            vec![("JWKS_URL", "http://keys.example.org/jwks.json")],
            "JWKS_URL",
        ),
        (vec![("JWKS_URL", "nonsense")], "JWKS_URL"),
        (vec![("JWKS_URL", "")], "JWKS_URL"),
        (
            vec![("JWKS_URL", "https://192.168.1.7/jwks.json")],
            "SYNC_JWKS_HOSTS",
        ),
        (vec![KEYS, ("SYNC_JWKS_HOSTS", "some")], "SYNC-JWKS-HOSTS"),
        (vec![KEYS, ("DATABASE_URL", "")], "DATABASE_URL"),
        (vec![KEYS, ("MANA_AUTH_URL", "auth:3001")], "MANA_AUTH_URL"),
        (
            vec![KEYS, ("MANA_SERVICE_KEY", "dev-service-key")],
            "MANA_SERVICE_KEY",
        ),
        (
            vec![
                KEYS,
                ("SYNC_SERVICE_KEYS", "auth:dev-service-key-change-me"),
            ],
            "SYNC_SERVICE_KEYS",
        ),
        (
            vec![KEYS, ("SYNC_SERVICE_KEYS_FILE", "/nowhere/keys")],
            "SYNC_SERVICE_KEYS_FILE",
        ),
        (
            vec![KEYS, ("MANA_CREDITS_URL", "https://")],
            "MANA_CREDITS_URL",
        ),
        (
            vec![KEYS, ("NATS_URL", "nats://one:4222,http://two")],
            "NATS_URL",
        ),
    ] {
        let output = run(&["serve"], &settings);
        let said = text(&output.stderr);
        assert!(
            !output.status.success() && said.to_uppercase().contains(name),
            "{settings:?}: {said}"
        );
    }
    let dev = run(&["dev"], &[("SYNC_HOST", "0.0.0.0")]);
    assert!(!dev.status.success() && text(&dev.stderr).contains("SYNC_HOST"));
}

#[test]
fn a_secret_is_in_no_message() {
    let secret = "hunter2hunter2";
    let url = format!("postgresql://nobody:{secret}@127.0.0.1:9/none");
    for arguments in [["serve"], ["check"], ["migrate"], ["--help"]] {
        let output = run(
            &arguments,
            &[
                KEYS,
                ("DATABASE_URL", &url),
                ("JWT_SECRET", secret),
                ("MANA_SERVICE_KEY", secret),
                ("SYNC_SERVICE_KEYS", secret),
            ],
        );
        let said = text(&output.stderr) + &text(&output.stdout);
        assert!(!said.contains(secret), "{arguments:?}: {said}");
    }
}

#[test]
fn check_says_what_works_and_what_does_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let migrated = command(folder.path(), &["migrate"], &[])
        .output()
        .expect("the binary runs");
    assert!(
        migrated.status.success() && text(&migrated.stdout).contains("applied"),
        "{migrated:?}"
    );
    let again = command(folder.path(), &["migrate"], &[])
        .output()
        .expect("the binary runs");
    assert!(text(&again.stdout).contains("nothing to do"), "{again:?}");
    let check = command(folder.path(), &["check"], &[KEYS])
        .output()
        .expect("the binary runs");
    let said = text(&check.stdout);
    assert!(!check.status.success(), "the key host is away: {said}");
    assert!(
        said.contains("ok      settings") && said.contains("ok      database"),
        "{said}"
    );
    assert!(
        said.contains("FAILED  keys: http://127.0.0.1:9/jwks.json"),
        "{said}"
    );
    assert!(
        said.contains("billing: off, MANA_CREDITS_URL is not set"),
        "{said}"
    );
}

#[test]
fn a_signal_stops_the_server_and_the_log_says_so() {
    for signal in ["-TERM", "-INT"] {
        let folder = tempfile::tempdir().expect("a folder");
        let running = Running::start(
            folder.path(),
            &["serve"],
            &[KEYS, ("SYNC_LOG_FORMAT", "json")],
        );
        assert_eq!(running.get("/health").as_deref(), Some("HTTP/1.1 200 OK"));
        let (well, log) = running.stop(signal);
        assert!(well, "{log}");
        let lines: Vec<serde_json::Value> = log
            .lines()
            .map(|line| serde_json::from_str(line).expect("each line is JSON"))
            .collect();
        let messages: Vec<_> = lines
            .iter()
            .filter_map(|line| line["message"].as_str())
            .collect();
        assert!(
            messages
                .iter()
                .any(|message| message.starts_with("billing: off")),
            "{messages:?}"
        );
        assert_eq!(
            messages.last(),
            Some(&"stopped; every request was answered")
        );
    }
}

#[test]
fn each_adapter_that_is_off_is_told_of_whatever_the_log_leaves_out() {
    for (filter, format) in [
        ("warn", "text"),
        ("error", "json"),
        ("off", "json"),
        ("sync_store=info", "text"),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let settings = [KEYS, ("SYNC_LOG", filter), ("SYNC_LOG_FORMAT", format)];
        let (_, log) = Running::start(folder.path(), &["serve"], &settings).stop("-TERM");
        for off in [
            "billing: off, MANA_CREDITS_URL is not set",
            "memberships: off, MANA_AUTH_URL is not set",
            "NATS: off, NATS_URL is not set",
            "rows tokens: off, JWT_SECRET is not set",
        ] {
            assert!(log.contains(off), "{filter}: {log}");
        }
        if format == "json" {
            let is_json = |line| serde_json::from_str::<serde_json::Value>(line).is_ok();
            assert!(log.lines().all(is_json), "{log}");
        }
    }
}

#[test]
fn who_has_a_token_of_the_secret_uploads_as_much_as_the_settings_let_in() {
    let secret = "a secret of more than 32 bytes, for rows";
    let folder = tempfile::tempdir().expect("a folder");
    let settings = [
        KEYS,
        ("JWT_SECRET", secret),
        ("SYNC_UPLOAD_CHANGES", "1"),
        ("SYNC_UPLOAD_PAYLOAD_BYTES", "20"),
    ];
    let running = Running::start(folder.path(), &["serve"], &settings);
    // It is good for as long as anybody will run this.
    let token = hs256(secret, r#"{"sub":"anna","did":"phone","exp":32503680000}"#);
    let line = format!("authorization: Bearer {token}\r\n");
    let ask = |method, path, body: &str| {
        let answer = running.ask(method, path, &line, body);
        answer.expect("an answer")
    };
    let version = ask("GET", "/sync/schema-version", "");
    assert!(version.ends_with(r#"{"schema_version":1}"#), "{version}");
    let pull = ask("GET", "/sync/todo/pull?collection=a&since=0", "");
    assert!(pull.starts_with("HTTP/1.1 401"), "{pull}");
    let change = |payload: &str| {
        let pk = "0b7c1a2e-30f4-4c55-8d66-77e8f9a0b1c2";
        format!(r#"{{"table":"a","op":"INSERT","pk":"{pk}","payload":{payload}}}"#)
    };
    let small = change("{}");
    let two = format!(r#"{{"changes":[{small},{small}]}}"#);
    let answer = ask("POST", "/sync/upload", &two);
    assert!(
        answer.contains("batch too large: changes=2 limit=1"),
        "{answer}"
    );
    let large = format!(r#"{{"changes":[{}]}}"#, change(r#"{"text":"of 22 bytes"}"#));
    let answer = ask("POST", "/sync/upload", &large);
    assert!(answer.contains("payload too large: 22 > 20"), "{answer}");
    let (_, log) = running.stop("-TERM");
    assert!(
        !log.contains("rows tokens: off") && !log.contains(secret),
        "{log}"
    );
}

/// A token as issuers of rows clients make it.
fn hs256(secret: &str, claims: &str) -> String {
    let base64url = |bytes: &[u8]| {
        let text = openssl::base64::encode_block(bytes);
        let text = text.replace('+', "-").replace('/', "_");
        text.trim_end_matches('=').to_owned()
    };
    let header = base64url(br#"{"alg":"HS256"}"#);
    let signed = format!("{header}.{}", base64url(claims.as_bytes()));
    let key = openssl::pkey::PKey::hmac(secret.as_bytes()).expect("a key");
    let digest = openssl::hash::MessageDigest::sha256();
    let mut signer = openssl::sign::Signer::new(digest, &key).expect("it signs");
    let signature = signer.sign_oneshot_to_vec(signed.as_bytes());
    format!("{signed}.{}", base64url(&signature.expect("it signs")))
}

#[test]
fn an_empty_setting_counts_as_unset() {
    let empty = [
        "PORT",
        "SYNC_HOST",
        "JWT_SECRET",
        "JWT_ISSUER",
        "JWT_AUDIENCE",
        "MANA_AUTH_URL",
        "MANA_CREDITS_URL",
        "MANA_SERVICE_KEY",
        "CORS_ORIGINS",
        "BILLING_EXEMPT_APPS",
        "NATS_URL",
        "SYNC_LOG",
        "SYNC_LOG_FORMAT",
        "SYNC_MIGRATE",
        "SYNC_JWKS_HOSTS",
        "SYNC_POOL_SIZE",
        "SYNC_TABLES",
        "SYNC_MAX_CONNECTIONS",
        "SYNC_RATE_PER_USER",
        "SYNC_RATE_PER_ADDRESS",
        "SYNC_CONNECTIONS_PER_ADDRESS",
        "SYNC_TRUSTED_PROXIES",
        "SYNC_UPLOAD_CHANGES",
        "SYNC_UPLOAD_PAYLOAD_BYTES",
        "SYNC_HISTORY_DAYS",
        "SYNC_CLOCK_SKEW_SECONDS",
    ];
    let settings: Vec<_> = empty.iter().map(|name| (*name, "")).chain([KEYS]).collect();
    let output = run(&["check"], &settings);
    let said = text(&output.stdout);
    assert!(said.contains("ok      settings"), "{output:?}");
    assert!(said.contains("MANA_AUTH_URL is not set"), "{said}");
    let flags = [
        "serve",
        "--jwks-url",
        "",
        "--jwt-secret",
        "",
        "--nats-url",
        "",
    ];
    let said = text(&run(&flags, &[KEYS]).stderr);
    assert!(said.contains("JWKS_URL is not set"), "{said}");
    assert!(
        !said.contains("JWT_SECRET") && !said.contains("NATS_URL"),
        "{said}"
    );
}

#[test]
fn who_asks_too_often_is_told_so_but_not_by_a_development_server() {
    let settings = [KEYS, ("SYNC_RATE_PER_ADDRESS", "4")];
    let statuses = |command| {
        let folder = tempfile::tempdir().expect("a folder");
        let running = Running::start(folder.path(), &[command], &settings);
        let statuses = [(); 3].map(|()| running.get("/nowhere").expect("an answer"));
        running.stop("-TERM");
        statuses
    };
    let (missing, refused) = ("HTTP/1.1 404 Not Found", "HTTP/1.1 429 Too Many Requests");
    assert_eq!(statuses("serve"), [missing, refused, refused]);
    assert_eq!(statuses("dev"), [missing; 3]);
}

#[test]
fn a_development_server_keeps_its_data_and_its_key() {
    let folder = tempfile::tempdir().expect("a folder");
    let key =
        || std::fs::read(folder.path().join("sync-data/development-key.pem")).expect("the key");
    let running = Running::start(folder.path(), &["dev"], &[]);
    let first = key();
    assert_eq!(running.get("/ready").as_deref(), Some("HTTP/1.1 200 OK"));
    let second = command(folder.path(), &["dev", "--port", &free_port()], &[])
        .output()
        .expect("the binary runs");
    assert!(!second.status.success(), "two servers on one file");
    running.stop("-TERM");
    let running = Running::start(folder.path(), &["dev"], &[]);
    assert_eq!(key(), first);
    running.stop("-TERM");
}

#[test]
fn a_development_server_leaves_the_databases_and_keys_of_the_environment_alone() {
    for url in [
        "sqlite:production.db",
        "postgresql://nobody@127.0.0.1:9/production",
        "mysql://host/production",
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let settings = [
            ("DATABASE_URL", url),
            ("JWKS_URL", "nonsense"),
            ("MANA_AUTH_URL", "nonsense"),
            ("MANA_SERVICE_KEY", "not to be sent"),
            ("SYNC_SERVICE_KEYS", "nonsense"),
            ("SYNC_SERVICE_KEYS_FILE", "/nowhere/keys"),
        ];
        let running = Running::start(folder.path(), &["dev"], &settings);
        assert_eq!(running.get("/ready").as_deref(), Some("HTTP/1.1 200 OK"));
        running.stop("-TERM");
        assert!(folder.path().join("sync-data/sync.db").exists(), "{url}");
        assert!(!folder.path().join("production.db").exists(), "{url}");
    }
}

#[test]
fn a_development_server_takes_another_file_by_flag_but_no_server_and_says_which_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let flag = |url| ["dev", "--database-url", url];
    let refused = run(&flag("postgresql://nobody@127.0.0.1:9/production"), &[]);
    assert!(
        !refused.status.success() && text(&refused.stderr).contains("DATABASE_URL: `dev`"),
        "{refused:?}"
    );
    let port = free_port();
    let mut command = command(folder.path(), &flag("sqlite:other.db"), &[]);
    command
        .args(["--port", &port])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut running = Running(command.spawn().expect("the binary runs"), port);
    let stdout = running.0.stdout.take().expect("its output");
    running.wait();
    running.stop("-TERM");
    let said = std::io::read_to_string(stdout).expect("the banner is text");
    let path = folder.path().join("other.db");
    assert!(path.exists());
    assert!(said.contains(&*path.to_string_lossy()), "{said}");
}

#[tokio::test]
async fn a_development_server_takes_its_own_tokens_whatever_issuer_and_audience_are_asked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = [
        ("JWT_ISSUER", "https://auth.example.org"),
        ("JWT_AUDIENCE", "sync"),
    ];
    let running = Running::start(folder.path(), &["dev"], &settings);
    let server = format!("http://127.0.0.1:{}", running.1);
    let signed_in = sync_client::sign_in(&server, "anna", "phone")
        .await
        .expect("anna is signed in");
    let client = Client::new(Options {
        server,
        app: "todo".to_owned(),
        client_id: "phone".to_owned(),
        token: Some(signed_in.token),
        retry: Retry::default(),
    })
    .expect("a good address");
    let pushed = client.push("", &[NewChange::insert("tasks", "a")]).await;
    assert!(pushed.is_ok(), "{pushed:?}");
    let cursor = client.pull_to_head("tasks", "", |_| ()).await;
    assert!(cursor.is_ok(), "{cursor:?}");
    running.stop("-TERM");
}

/// Runs a command on the database of a development server in this folder, while that does not run.
fn on_its_data(folder: &Path, arguments: &[&str]) -> Output {
    let url = [("DATABASE_URL", "sqlite:sync-data/sync.db")];
    let mut command = command(folder, arguments, &url);
    command.output().expect("the binary runs")
}

fn json_lines(text: &str) -> Vec<serde_json::Value> {
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).expect("each line is JSON"))
        .collect()
}

#[tokio::test]
async fn a_user_is_exported_and_erased_without_a_server() {
    let folder = tempfile::tempdir().expect("a folder");
    let running = Running::start(folder.path(), &["dev"], &[]);
    let server = format!("http://127.0.0.1:{}", running.1);
    for user in ["anna", "ben"] {
        let signed_in = sync_client::sign_in(&server, user, "phone").await;
        let client = Client::new(Options {
            server: server.clone(),
            app: "todo".to_owned(),
            client_id: "phone".to_owned(),
            token: Some(signed_in.expect("signed in").token),
            retry: Retry::default(),
        });
        let client = client.expect("a good address");
        let pushed = client.push("", &[NewChange::insert("tasks", user)]).await;
        assert!(pushed.is_ok(), "{pushed:?}");
    }
    let busy = on_its_data(folder.path(), &["export", "user", "anna"]);
    assert!(!busy.status.success(), "a server uses the file: {busy:?}");
    running.stop("-TERM");
    let run = |arguments: &[&str]| on_its_data(folder.path(), arguments);
    let exported = |user| {
        let output = run(&["export", "user", user]);
        assert!(output.status.success(), "{output:?}");
        json_lines(&text(&output.stdout))
    };
    let lines = exported("anna");
    let kinds: Vec<_> = lines.iter().map(|line| line["kind"].clone()).collect();
    assert_eq!(kinds, ["export", "change", "end"]);
    assert_eq!(
        (&lines[1]["id"], &lines[2]["lines"]),
        (&"anna".into(), &2.into())
    );
    let in_folder = |name| folder.path().join(name);
    std::fs::write(in_folder("of-others"), "theirs").expect("a file");
    std::os::unix::fs::symlink("of-others", in_folder("anna.ndjson.part")).expect("a link");
    let to_file = run(&["export", "user", "anna", "--to", "anna.ndjson"]);
    assert!(
        to_file.status.success() && to_file.stdout.is_empty(),
        "{to_file:?}"
    );
    let written = std::fs::read_to_string(in_folder("anna.ndjson"));
    assert_eq!(json_lines(&written.expect("the file"))[1..], lines[1..]);
    let told = std::fs::symlink_metadata(in_folder("anna.ndjson")).expect("the file");
    assert!(told.is_file() && told.permissions().mode() & 0o777 == 0o600);
    assert!(std::fs::symlink_metadata(in_folder("anna.ndjson.part")).is_err());
    let theirs = std::fs::read_to_string(in_folder("of-others"));
    assert_eq!(theirs.expect("the file"), "theirs");
    let asked = text(&run(&["erase", "user", "anna"]).stdout);
    assert!(
        asked.contains("would erase 1 changes") && asked.contains("--yes"),
        "{asked}"
    );
    assert_eq!(exported("anna").len(), 3);
    let done = run(&["erase", "user", "anna", "--yes"]);
    let said = text(&done.stdout);
    assert!(
        done.status.success() && said.contains("erased 1 changes of 1 records"),
        "{said}"
    );
    assert_eq!((exported("anna").len(), exported("ben").len()), (2, 3));
    let none = [("DATABASE_URL", "sqlite:none.db")];
    let missing = command(folder.path(), &["export", "space", "club"], &none).output();
    let missing = missing.expect("the binary runs");
    assert!(
        text(&missing.stderr).contains("there is no database at none.db"),
        "{missing:?}"
    );
    assert!(!folder.path().join("none.db").exists());
}
