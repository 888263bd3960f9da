//! Rows in business tables (cases 57 to 60): the real binary on PostgreSQL, with a file of tables; and what `check` says of them.

use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, Command, Output, Stdio};

use reqwest::{Client, Response};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_postgres::NoTls;

use crate::change::{applied, insert, new, pk, update, with};
use crate::device::Device;
use crate::world::hs256;

const SECRET: &str = "a secret of more than 32 bytes, for rows";

const BUSINESS: &str = "
create schema business;
grant usage on schema business to sync_app;
create table business.users (
    user_id text not null,
    id uuid not null,
    name text not null constraint polite check (name <> 'rude'),
    is_admin boolean not null default false,
    primary key (user_id, id)
);
grant select, insert, update, delete on business.users to sync_app;";

const TABLES: &str = r#"
[tables."business.users"]
into = "business.users"
user = "user_id"
columns = ["name"]
"#;

const OPERATING: &str = include_str!("../../../../docs/OPERATING.md");

const RUDE: &str =
    "PostgreSQL says 23514: new row for relation \"users\" violates check constraint \"polite\"";

/// A database with a business table, and the file that describes it.
struct Business {
    database: String,
    folder: TempDir,
    sql: tokio_postgres::Client,
}

impl Business {
    async fn new(tables: &str) -> Self {
        Self::of(BUSINESS, tables).await
    }

    async fn of(sql: &str, tables: &str) -> Self {
        let (server, name) = (test_postgres::shared_url(), RandomState::new().hash_one(0));
        let name = format!("materialised_{name:016x}");
        let create = format!("create database {name}");
        connect(&server).await.batch_execute(&create).await.unwrap();
        let (base, _) = server.rsplit_once('/').unwrap();
        let database = format!("{base}/{name}");
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("tables.toml"), tables).unwrap();
        let business = Self {
            sql: connect(&database).await,
            database,
            folder,
        };
        assert!(business.run("migrate").status.success());
        business.change(sql).await;
        business
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sync-server"));
        command
            .arg(name)
            .current_dir(self.folder.path())
            .env_clear()
            .env("DATABASE_URL", &self.database)
            .env("JWKS_URL", "http://127.0.0.1:9/jwks.json")
            .env("JWT_SECRET", SECRET)
            .env("SYNC_TABLES", "tables.toml")
            .stdin(Stdio::null());
        command
    }

    fn run(&self, name: &str) -> Output {
        self.command(name).output().unwrap()
    }

    /// Changes the business database.
    async fn change(&self, sql: &str) {
        self.sql.batch_execute(sql).await.unwrap();
    }

    /// The business rows, as `user:name`, and whether one of them is an admin.
    async fn rows(&self) -> Vec<String> {
        let sql = "select user_id || ':' || name || case when is_admin then '!' else '' end from business.users order by 1";
        let rows = self.sql.query(sql, &[]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    async fn serve(&self) -> Serving {
        // It is free again when the listener goes.
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let mut command = self.command("serve");
        command.args(["--port", &address.port().to_string()]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut serving = Serving {
            child: command.spawn().unwrap(),
            address,
            http: Client::builder().no_proxy().build().unwrap(),
        };
        serving.wait().await;
        serving
    }
}

/// The binary; it ends with this value.
struct Serving {
    child: Child,
    address: SocketAddr,
    http: Client,
}

impl Serving {
    /// Returns when it answers.
    async fn wait(&mut self) {
        let url = format!("http://{}/health", self.address);
        while self.http.get(&url).send().await.is_err() {
            assert!(self.child.try_wait().unwrap().is_none(), "it is up");
            tokio::task::yield_now().await;
        }
    }

    fn device(&self, user: &str) -> Device {
        // The token is good for as long as anybody will run this.
        let token = hs256(&json!({"sub": user, "did": "phone", "exp": 32_503_680_000_i64}));
        Device::new(self.address, self.http.clone(), token)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn connect(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn failures(device: &Device) -> Value {
    let list = device.get("/admin/materialize-failures?schema=business&table=users");
    let response = list.send().await.unwrap();
    assert_eq!(response.status(), 200);
    response.json().await.unwrap()
}

async fn retry(device: &Device, id: i64) -> Response {
    let path = format!("/admin/materialize-failures/retry?id={id}");
    device.post(&path).send().await.unwrap()
}

/// What a retry says that was tried.
async fn retried(device: &Device, id: i64) -> Value {
    let response = retry(device, id).await;
    assert_eq!(response.status(), 200);
    response.json().await.unwrap()
}

async fn assert_refused(response: Response, status: u16, code: &str) {
    assert_eq!(response.status(), status);
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["error"], code, "{body}");
}

/// Anna has uploaded three rows, of which one cannot be written; the number of that failure.
async fn one_of_three(anna: &Device) -> i64 {
    let three = [
        new(1, &pk(1), "A"),
        new(2, &pk(2), "rude"),
        insert(
            3,
            &pk(3),
            0,
            json!({"name": "C", "is_admin": true, "user_id": "ben"}),
        ),
    ];
    let told = anna.statuses(&three).await;
    assert_eq!(told, [applied(1, 1), applied(2, 1), applied(3, 1)]);
    failures(anna).await[0]["id"].as_i64().unwrap()
}

// Case 57.
#[tokio::test]
async fn one_bad_row_of_three_is_a_failure_and_all_are_applied() {
    let business = Business::new(TABLES).await;
    let serving = business.serve().await;
    let [anna, ben] = ["anna", "ben"].map(|user| serving.device(user));
    let id = one_of_three(&anna).await;
    assert_eq!(business.rows().await, ["anna:A", "anna:C"]);
    let mut listed = failures(&anna).await;
    let seen = listed[0]["first_seen"].take();
    assert!(seen.is_string(), "{seen}");
    let failure = json!({"id": id, "user_id": "anna", "schema": "business", "table": "users", "pk": pk(2),
        "attempted_version": 1, "op": "INSERT", "payload": {"id": pk(2), "name": "rude"}, "error": RUDE,
        "first_seen": null, "retry_count": 0});
    assert_eq!(listed, json!([failure]));
    assert_eq!(failures(&ben).await, json!([]));
}

// Case 58.
#[tokio::test]
async fn a_retry_that_fails_again_says_so_and_is_counted() {
    let business = Business::new(TABLES).await;
    let serving = business.serve().await;
    let anna = serving.device("anna");
    let id = one_of_three(&anna).await;
    let again = json!({"source_change_id": 0, "status": "materialize_error", "new_server_version": 1, "message": RUDE});
    for count in 1..3 {
        assert_eq!(retried(&anna, id).await, again);
        assert_eq!(failures(&anna).await[0]["retry_count"], count);
    }
}

// Case 59.
#[tokio::test]
async fn a_failure_goes_when_the_business_database_or_the_row_is_mended() {
    let business = Business::new(TABLES).await;
    let serving = business.serve().await;
    let anna = serving.device("anna");
    let id = one_of_three(&anna).await;
    business
        .change("alter table business.users drop constraint polite")
        .await;
    let done = json!({"source_change_id": 0, "status": "applied", "new_server_version": 1});
    assert_eq!(retried(&anna, id).await, done);
    assert_eq!(failures(&anna).await, json!([]));
    assert_eq!(business.rows().await, ["anna:A", "anna:C", "anna:rude"]);
    // A later success of the row clears its failure by itself.
    let mended = [
        insert(4, &pk(4), 0, json!({"name": null})),
        update(5, &pk(4), 1, json!({"name": "D"})),
    ];
    anna.applies(mended[0].clone()).await;
    let id = failures(&anna).await[0]["id"].as_i64().unwrap();
    anna.applies(mended[1].clone()).await;
    assert_eq!(failures(&anna).await, json!([]));
    assert_refused(retry(&anna, id).await, 404, "not_found").await;
}

// Case 60.
#[tokio::test]
async fn what_is_no_failure_of_the_user_is_not_found_and_one_at_work_is_busy_at_once() {
    let business = Business::new(TABLES).await;
    let serving = business.serve().await;
    let [anna, ben] = ["anna", "ben"].map(|user| serving.device(user));
    let id = one_of_three(&anna).await;
    assert_refused(retry(&ben, id).await, 404, "not_found").await;
    assert_refused(retry(&anna, id + 1).await, 404, "not_found").await;
    for body in ["", "{}", "{\"id\":0}"] {
        let request = anna.post("/admin/materialize-failures/retry").body(body);
        let response = request.send().await.unwrap();
        assert_refused(response, 400, "invalid_request").await;
    }
    let lock = format!("begin; select from sync_failures where id = {id} for update");
    business.change(&lock).await;
    assert_refused(retry(&anna, id).await, 409, "retry_in_progress").await;
    business.change("rollback").await;
    let body = json!({ "id": id }).to_string();
    let request = anna.post("/admin/materialize-failures/retry").body(body);
    let answer: Value = request.send().await.unwrap().json().await.unwrap();
    assert_eq!(answer["status"], "materialize_error");
}

#[tokio::test]
async fn a_check_says_of_each_business_table_whether_rows_can_be_written() {
    let posts =
        "[tables.\"business.posts\"]\ninto = \"business.posts\"\nuser = \"user_id\"\ncolumns = []";
    let business = Business::new(&format!("{TABLES}{posts}")).await;
    let output = business.run("check");
    assert!(!output.status.success());
    let said = String::from_utf8(output.stdout).unwrap();
    for line in [
        "ok      settings: every setting can be read",
        r#"ok      database: business.users into "business"."users": rows can be written"#,
        r#"FAILED  database: business.posts into "business"."posts": there is no such table: create table "business"."posts""#,
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
}

#[tokio::test]
async fn a_check_refuses_a_business_table_of_which_clients_could_write_every_column() {
    let business = Business::new(&TABLES.replace("columns", "# columns")).await;
    let output = business.run("check");
    let said = String::from_utf8(output.stdout).unwrap();
    let line = "SYNC_TABLES: tables.toml: [tables.\"business.users\"]: `into` wants `columns`";
    assert!(said.contains(line), "{said}");
}

#[tokio::test]
async fn the_example_of_the_operators_guide_works() {
    let block = |language: &str| {
        let (_, rest) = OPERATING.split_once(&format!("```{language}\n")).unwrap();
        rest.split_once("```").unwrap().0
    };
    let business = Business::of(block("sql"), block("toml")).await;
    let said = String::from_utf8(business.run("check").stdout).unwrap();
    let good = "rows can be written\n";
    assert_eq!(said.matches(good).count(), 2, "{said}");
    assert!(
        !said.contains("FAILED  database: business") && !said.contains("note: "),
        "{said}"
    );
    let serving = business.serve().await;
    let anna = serving.device("anna");
    let post = json!({"title": "T", "author_id": pk(1)});
    let post = with(insert(1, &pk(2), 0, post), "table", "posts");
    let told = anna.statuses(&[post, new(2, &pk(1), "A")]).await;
    assert_eq!(told, [applied(1, 1), applied(2, 1)]);
    let join = "select title || ' of ' || name from business.posts join business.users on users.id = author";
    let rows = business.sql.query(join, &[]).await.unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].get::<_, &str>(0), "T of A");
}
