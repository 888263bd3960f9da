//! `sync-server import` as an operator meets it: into both stores, killed in the middle, run twice, refused.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;

use serde_json::{Value as Json, json};
use sync_protocol::Millis;
use sync_store::contract::{Device, grant};
use sync_store::{Role, Rules, Store};
use sync_store_postgres::{Config, PostgresStore};
use sync_store_sqlite::SqliteStore;
use tokio_postgres::{Client, NoTls};

const BINARY: &str = env!("CARGO_BIN_EXE_sync-server");

/// As the replaced service made it.
const TABLE: &str = "
create table sync_changes (
    id uuid primary key default gen_random_uuid(),
    app_id text not null,
    table_name text not null,
    record_id text not null,
    user_id text not null,
    op text not null check (op in ('insert', 'update', 'delete')),
    data jsonb,
    field_timestamps jsonb default '{}',
    client_id text not null,
    created_at timestamptz not null default now(),
    schema_version int not null default 1,
    actor jsonb,
    space_id text
);
create index on sync_changes (user_id, app_id, created_at);
alter table sync_changes enable row level security;
alter table sync_changes force row level security;
create policy sync_changes_user_isolation on sync_changes
    using (user_id = current_setting('app.current_user_id', true))
    with check (user_id = current_setting('app.current_user_id', true))";

/// Rows of three users, several at the same time: inserts, updates of them (some late, some ahead, some again), deletes with a
/// time and without, a space, names that are personal, and records that no row can have.
const ROWS: &str = r#"
insert into sync_changes (
    id, app_id, table_name, record_id, user_id, op, data, field_timestamps, client_id, created_at, actor, space_id
)
select
    md5(number::text)::uuid,
    'todo',
    'tasks',
    case when number % 97 = 0 then repeat('x', 300) else (number * 7919 % 211)::text end,
    (array['anna', 'ben', 'carla'])[number % 3 + 1],
    made.op,
    case made.op
        when 'insert' then jsonb_build_object('title', number, 'list', jsonb_build_array(1, number), 'updatedAt', made.at)
        when 'update' then jsonb_build_object('title', number, 'done', number % 2 = 0)
        when 'delete' then case when number % 4 = 0 then jsonb_build_object('deletedAt', made.at) end
    end,
    case made.op when 'update' then jsonb_build_object('title', made.at, 'done', made.at) else '{}' end,
    'client' || number % 4,
    made.created,
    case when number % 5 = 0 then '{"kind": "ai"}'::jsonb end,
    case when number % 11 = 0 then 'club' when number % 7 = 0 then '_personal:x' end
from generate_series(1, $1::bigint) as number
cross join lateral (
    select
        (array['insert', 'update', 'update', 'update', 'delete'])[number % 5 + 1] as op,
        timestamptz '2025-06-01T12:00:00Z' + (number / 3) * interval '1 second' as created,
        to_char(
            timestamptz '2025-06-01T12:00:00Z' at time zone 'UTC' + (number / 3 + (number % 13 - 9) * 100) * interval '1 second',
            'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'
        ) as at
) as made"#;

struct Database {
    name: String,
    url: String,
}

impl Database {
    async fn new() -> Self {
        let server = test_postgres::shared_url();
        let name = format!("sync_import_{:016x}", random());
        let admin = connect(&server).await;
        admin
            .batch_execute(&format!("create database {name}"))
            .await
            .expect("a database");
        let (base, _) = server.rsplit_once('/').expect("a URL with a name");
        let url = format!("{base}/{name}");
        Self { name, url }
    }

    /// One with so many rows of the replaced service.
    async fn replaced(rows: i64) -> Self {
        let database = Self::new().await;
        let raw = connect(&database.url).await;
        raw.batch_execute(TABLE).await.expect("the table");
        raw.execute(ROWS, &[&rows]).await.expect("the rows");
        database
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let sql = format!("drop database {} with (force)", self.name);
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                let admin = connect(&test_postgres::shared_url()).await;
                admin.batch_execute(&sql).await.expect("it is dropped");
            });
        });
        dropping.join().expect("it is dropped");
    }
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls)
        .await
        .expect("a connection");
    tokio::spawn(connection);
    client
}

fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    RandomState::new().build_hasher().finish()
}

fn command(to: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command
        .args(arguments)
        .env_clear()
        .env("DATABASE_URL", to)
        .env("SYNC_LOG", "warn")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn run(to: &str, arguments: &[&str]) -> Output {
    let child = command(to, arguments).spawn().expect("the binary runs");
    child.wait_with_output().expect("it ends")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What `import` reports, which ends well.
fn import(to: &str, from: &Database, more: &[&str]) -> String {
    let arguments = [&["import", "--from", &from.url], more].concat();
    let output = run(to, &arguments);
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

fn refused(to: &str, arguments: &[&str]) -> String {
    let output = run(to, arguments);
    assert!(!output.status.success(), "{}", text(&output.stdout));
    text(&output.stderr)
}

fn sqlite(folder: &Path) -> (String, std::path::PathBuf) {
    let path = folder.join("sync.db");
    (format!("sqlite:{}", path.display()), path)
}

/// Everything that the three users read as new devices, with the last cursor of each.
async fn everything(store: Arc<dyn Store>) -> Vec<Json> {
    let mut all = Vec::new();
    for user in ["anna", "ben", "carla"] {
        let now = Millis(1_900_000_000_000);
        grant(&*store, user, "club", Some(Role::Reader), now).await;
        let mut device = Device::new(&store, user, "new");
        device.now = now;
        all.push(device.pull().await);
    }
    all
}

async fn postgres(url: &str) -> Arc<dyn Store> {
    let store = PostgresStore::connect(Config::new(url)).await;
    Arc::new(store.expect("the database has its schema"))
}

fn count(report: &str, what: &str) -> u64 {
    let line = report.lines().find(|line| line.contains(what));
    let line = line.unwrap_or_else(|| panic!("{what} is not in:\n{report}"));
    let number = line.split_whitespace().next().expect("a number");
    number.parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_stores_take_over_the_same_whatever_happens_on_the_way() {
    let from = Database::replaced(3000).await;
    let folder = tempfile::tempdir().expect("a folder");
    let (to, path) = sqlite(folder.path());
    let report = import(&to, &from, &[]);
    assert!(report.starts_with("took over 3000 rows"), "{report}");
    let parts = [
        "live",
        "superseded",
        "lost:",
        "replays:",
        "said nothing",
        "kept aside",
        "dropped",
    ]
    .map(|what| count(&report, what));
    let [live, superseded, lost, _, _, parked, dropped] = parts;
    assert!(live > 100 && superseded > 500 && lost > 100, "{report}");
    assert_eq!((parked, dropped), (30, 0), "{report}");
    assert_eq!(count(&report, "id is longer than 256 bytes"), 30);
    // A second time there is nothing to do.
    let again = import(&to, &from, &[]);
    assert!(again.starts_with("took over 0 rows"), "{again}");
    let expected = everything(Arc::new(
        SqliteStore::open(&path, Rules::default()).expect("the database"),
    ))
    .await;
    assert!(expected[0].as_array().is_some_and(|rows| rows.len() > 50));

    // Into PostgreSQL, in small batches, killed again and again.
    let to = Database::new().await;
    let mut kills = 0;
    for turn in 0.. {
        let arguments = ["import", "--from", &from.url, "--batch", "20"];
        let mut child = command(&to.url, &arguments).spawn().expect("it runs");
        if turn < 4 && killed_in_the_middle(&mut child, &to.url).await {
            kills += 1;
            let serving = refused(&to.url, &["serve", "--jwks-url", "http://127.0.0.1:9/x"]);
            assert!(serving.contains("import"), "{serving}");
            continue;
        }
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success(), "{}", text(&output.stderr));
        let report = text(&output.stdout);
        let same = ["live", "superseded", "lost:", "replays:", "kept aside"];
        for (what, expected) in same
            .into_iter()
            .zip([live, superseded, lost, parts[3], parked])
        {
            assert_eq!(count(&report, what), expected, "{report}");
        }
        break;
    }
    assert!(kills > 1, "{kills}");
    assert_eq!(everything(postgres(&to.url).await).await, expected);
}

/// Waits until some more batches are in, then kills: whether it was in time.
async fn killed_in_the_middle(child: &mut Child, url: &str) -> bool {
    let mut first = None;
    loop {
        if child.try_wait().expect("it is there").is_some() {
            return false;
        }
        let rows = taken_over(url).await;
        let before = *first.get_or_insert(rows);
        if rows.unwrap_or(0) > before.unwrap_or(0) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    child.kill().expect("it is killed");
    child.wait().expect("it is gone");
    taken_over(url).await.is_some()
}

/// How many rows an import that is under way has taken over.
async fn taken_over(url: &str) -> Option<i64> {
    let raw = connect(url).await;
    let sql =
        "select (nullif(tally, '')::json ->> 'rows')::bigint from sync_import where until = -1";
    let row = raw.query_opt(sql, &[]).await.ok()??;
    row.get(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_the_replaced_service_go_on_with_their_cursors() {
    let from = Database::replaced(900).await;
    let to = Database::new().await;
    import(&to.url, &from, &["--batch", "70"]);
    let store = postgres(&to.url).await;
    let mut device = Device::new(&store, "anna", "another");
    device.now = Millis(1_900_000_000_000);
    // The last rows are 299 s after the first ones.
    device.since = "2025-06-01T12:04:00.123456Z".to_owned();
    let raw = connect(&to.url).await;
    let sql = "select count(*)
               from sync_changes
               where scope = 'u:anna' and dead_since is null and created_at > '2025-06-01T12:03:00.123Z'";
    let expected: i64 = raw.query_one(sql, &[]).await.expect("a count").get(0);
    let read = device.pull().await;
    let read = read.as_array().map_or(0, Vec::len);
    assert_eq!(i64::try_from(read), Ok(expected));
    assert!(expected > 10, "{expected}");
    assert_eq!(device.pull().await, json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_imported_is_refused_and_changes_nothing() {
    let from = Database::replaced(30).await;
    let to = Database::new().await;
    let migrated = run(&to.url, &["migrate"]);
    assert!(migrated.status.success(), "{}", text(&migrated.stderr));
    let same = format!("{}?connect_timeout=9", to.url);
    for (arguments, said) in [
        (vec!["import"], "--from"),
        (vec!["import", "--from", "mysql://x"], "the database URL"),
        (
            vec!["import", "--from", "postgresql://nobody@127.0.0.1:9/none"],
            "--from: ",
        ),
        (
            vec!["import", "--from", &to.url],
            "this is DATABASE_URL itself",
        ),
        (vec!["import", "--from", &same], "is one of this server"),
        (vec!["import", "--abandon"], "no import is under way"),
    ] {
        let told = refused(&to.url, &arguments);
        assert!(told.contains(said), "{told}");
    }
    let itself = refused(&from.url, &["import", "--from", &from.url]);
    assert!(itself.contains("this is DATABASE_URL itself"), "{itself}");
    let raw = connect(&from.url).await;
    let own = "select count(*) from pg_tables where tablename like 'sync_%'";
    let tables: i64 = raw.query_one(own, &[]).await.expect("a count").get(0);
    assert_eq!(tables, 1, "nothing was migrated");
    let store = postgres(&to.url).await;
    let mut device = Device::new(&store, "anna", "phone");
    device
        .push(json!([{"table": "tasks", "id": "own", "op": "insert", "data": {}}]))
        .await;
    let told = refused(&to.url, &["import", "--from", &from.url]);
    assert!(told.contains("changes of its own"), "{told}");
    assert_eq!(device.pull().await, json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_that_was_stopped_is_gone_on_with_or_abandoned() {
    let from = Database::replaced(6000).await;
    let to = Database::new().await;
    let arguments = ["import", "--from", &from.url, "--batch", "10"];
    let mut child = command(&to.url, &arguments).spawn().expect("it runs");
    while taken_over(&to.url).await.unwrap_or(0) < 20 {
        assert_eq!(child.try_wait().expect("it is there"), None);
    }
    let pid = child.id().to_string();
    let sent = Command::new("kill").args(["-INT", &pid]).status();
    assert!(sent.expect("kill runs").success());
    let output = child.wait_with_output().expect("it ends");
    assert!(!output.status.success());
    let told = text(&output.stderr);
    assert!(told.contains("run the same command again"), "{told}");
    let rows = taken_over(&to.url).await.expect("it is under way");
    let output = run(&to.url, &["import", "--abandon"]);
    let told = text(&output.stdout);
    assert!(told.contains(&format!("behind {rows} rows")), "{told}");
    let store = postgres(&to.url).await;
    let mut device = Device::new(&store, "anna", "another");
    assert!(
        device
            .pull()
            .await
            .as_array()
            .is_some_and(|rows| !rows.is_empty())
    );
    // Nothing was pushed yet, so the rest can still be taken over.
    let report = import(&to.url, &from, &[]);
    assert!(report.contains("6000 rows in all"), "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_can_be_stopped_while_the_old_table_lets_it_wait() {
    let from = Database::replaced(30).await;
    let to = Database::new().await;
    let mut raw = connect(&from.url).await;
    let holding = raw.transaction().await.expect("a transaction");
    let lock = "lock table sync_changes in access exclusive mode";
    holding.batch_execute(lock).await.expect("the lock");
    let arguments = ["import", "--from", &from.url];
    let mut child = command(&to.url, &arguments).spawn().expect("it runs");
    let admin = connect(&to.url).await;
    let waiting = "select 1 from pg_stat_activity where datname = $1 and wait_event_type = 'Lock'";
    while admin
        .query_opt(waiting, &[&from.name])
        .await
        .expect("an answer")
        .is_none()
    {
        assert_eq!(child.try_wait().expect("it is there"), None);
    }
    let pid = child.id().to_string();
    let sent = Command::new("kill").args(["-INT", &pid]).status();
    assert!(sent.expect("kill runs").success());
    let output = child.wait_with_output().expect("it ends");
    let told = text(&output.stderr);
    assert!(
        !output.status.success() && told.contains("before anything was taken over"),
        "{told}"
    );
    let into = format!("/{}\n", to.name);
    let first = told.split_inclusive('\n').next().unwrap_or("");
    assert!(
        first.starts_with("import: into PostgreSQL at ") && first.ends_with(&into),
        "{told}"
    );
    assert_eq!(taken_over(&to.url).await, None);
}
