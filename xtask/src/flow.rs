//! The seven steps that users of the replaced service know: two devices of one user sync a record.

use std::error::Error;
use std::hash::{BuildHasher, RandomState};
use std::process::ExitCode;

use sync_client::{Answer, Client, ClientError, NewChange, Options, Retry, sign_in};
use sync_protocol::{FieldTime, Op, Value};

use crate::Outcome;
use crate::server::{OwnServer, Profile};

/// The times of the update: whole seconds, as older clients write them.
const UPDATED_AT: &str = "2025-02-01T10:00:00Z";
const TABLE: &str = "tasks";

/// Two devices sync a record: sign in, insert, pull, update, pull, delete, and a push without a token.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The server to try, as http://127.0.0.1:3050; without one a development server of this repository is started.
    url: Option<String>,
    /// A bearer token, for servers without a development sign-in.
    #[arg(long)]
    token: Option<String>,
}

type Step = Result<(), Box<dyn Error>>;

pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let own = if arguments.url.is_none() {
        Some(OwnServer::development(Profile::Dev)?)
    } else {
        None
    };
    let url = arguments
        .url
        .clone()
        .or(own.as_ref().map(OwnServer::url))
        .unwrap_or_default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(flow(&url, arguments.token.clone()))?;
    Ok(ExitCode::SUCCESS)
}

/// One user's two devices, and the record that they share.
struct Story {
    url: String,
    a: Client,
    b: Client,
    record: String,
    /// How far B has read.
    b_since: String,
    /// How far A has read.
    a_since: String,
}

async fn flow(url: &str, token: Option<String>) -> Step {
    let run = RandomState::new().hash_one(url);
    let user = format!("flow-{run}");
    let token = match token {
        Some(token) => token,
        None => sign_in(url, &user, "client-a").await?.token,
    };
    let client = |name: &str| client(url, name, Some(token.clone()));
    let (a, b) = (client("client-a")?, client("client-b")?);
    let record = format!("record-{run}");
    let mut story = Story {
        url: url.to_owned(),
        a,
        b,
        record,
        b_since: String::new(),
        a_since: String::new(),
    };
    story.health().await?;
    story.a_inserts().await?;
    story.b_pulls().await?;
    story.b_updates().await?;
    story.a_pulls().await?;
    story.a_deletes().await?;
    story.unsigned().await?;
    println!("7 passed, 0 failed");
    Ok(())
}

fn client(url: &str, name: &str, token: Option<String>) -> Result<Client, ClientError> {
    let retry = Retry {
        tries: 3,
        ..Retry::default()
    };
    let options = Options {
        server: url.to_owned(),
        app: "flow".to_owned(),
        client_id: name.to_owned(),
        token,
        retry,
    };
    Client::new(options)
}

impl Story {
    async fn health(&self) -> Step {
        let health: serde_json::Value = reqwest::get(format!("{}/health", self.url))
            .await?
            .json()
            .await?;
        ensure(health["status"] == "ok", &format!("health says {health}"))?;
        done(1, "the server is healthy")
    }

    async fn a_inserts(&mut self) -> Step {
        let insert = NewChange::insert(TABLE, &self.record)
            .with("title", Value::string("E2E Test Task"))
            .with("completed", Value::parse("false")?);
        let answer = self.a.push("1970-01-01T00:00:00.000Z", &[insert]).await?;
        ensure(answer.conflicts.is_empty(), "an insert made a conflict")?;
        self.a_since = answer.synced_until;
        done(2, "A inserts a record")
    }

    async fn b_pulls(&mut self) -> Step {
        let mut pages = Vec::new();
        self.b_since = self
            .b
            .pull_to_head(TABLE, "1970-01-01T00:00:00Z", |page| pages.push(page))
            .await?;
        let found = changes_of(&pages, &self.record);
        let title = |change: &&sync_client::ServerChange| {
            change.data.as_ref()?.find("title").and_then(Value::text)
        };
        ensure(
            found.len() == 1 && found.first().and_then(title).as_deref() == Some("E2E Test Task"),
            &format!("B should see A's insert once, and sees {found:?}"),
        )?;
        done(3, "B pulls and sees it")
    }

    async fn b_updates(&self) -> Step {
        let update = NewChange::update(TABLE, &self.record)
            .set_at("title", Value::string("Updated by Client B"), UPDATED_AT)
            .set_at("completed", Value::parse("true")?, UPDATED_AT);
        let answer = self.b.push(&self.b_since, &[update]).await?;
        ensure(
            answer.conflicts.is_empty(),
            "a later update made a conflict",
        )?;
        done(4, "B updates two fields with times in whole seconds")
    }

    async fn a_pulls(&mut self) -> Step {
        let mut pages = Vec::new();
        self.a_since = self
            .a
            .pull_to_head(TABLE, &self.a_since, |page| pages.push(page))
            .await?;
        let expected = FieldTime::parse(UPDATED_AT).to_string();
        let found = changes_of(&pages, &self.record);
        let field = |name: &str| found.first()?.fields.as_ref()?.find(name);
        let values =
            ["title", "completed"].map(|name| field(name).map(|field| field.value.as_str()));
        let times = ["title", "completed"].map(|name| field(name).map(|field| field.at.as_str()));
        ensure(
            values == [Some("\"Updated by Client B\""), Some("true")]
                && times == [Some(expected.as_str()); 2],
            &format!("A should see both fields with their time, and sees {found:?}"),
        )?;
        done(5, "A pulls the update")
    }

    async fn a_deletes(&self) -> Step {
        let delete = NewChange::delete(
            TABLE,
            &self.record,
            FieldTime::parse("2025-02-01T10:00:01Z"),
        );
        self.a.push(&self.a_since, &[delete]).await?;
        let mut pages = Vec::new();
        self.b
            .pull_to_head(TABLE, &self.b_since, |page| pages.push(page))
            .await?;
        let deleted = changes_of(&pages, &self.record)
            .iter()
            .any(|change| change.op == Op::Delete);
        ensure(deleted, "B does not learn of the delete")?;
        done(6, "A deletes it, and B learns of it")
    }

    async fn unsigned(&self) -> Step {
        match client(&self.url, "bad", None)?.push("", &[]).await {
            Err(ClientError::Refused { status: 401, .. }) => {
                done(7, "a push without a token is 401")
            }
            other => Err(format!("a push without a token should be 401, and is {other:?}").into()),
        }
    }
}

fn changes_of<'a>(pages: &'a [Answer], record: &str) -> Vec<&'a sync_client::ServerChange> {
    pages
        .iter()
        .flat_map(|page| &page.server_changes)
        .filter(|change| change.id.as_str() == record)
        .collect()
}

fn ensure(holds: bool, otherwise: &str) -> Step {
    if holds { Ok(()) } else { Err(otherwise.into()) }
}

fn done(step: u8, what: &str) -> Step {
    println!("{step}. {what}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_devices_sync_a_record_through_a_development_server() {
        let outcome = run(&Arguments {
            url: None,
            token: None,
        });
        assert!(outcome.is_ok_and(|status| status == ExitCode::SUCCESS));
    }
}
