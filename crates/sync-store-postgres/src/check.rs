//! What `sync-server check` says about the database: what works, and what does not.

mod tables;

use sync_store::{Finding, StoreError};
use tokio_postgres::Client;

use crate::config::Config;
use crate::draw::Drawer;
use crate::endpoint::Endpoint;
use crate::failure::store_error;
use crate::migrations::{CURRENT_VERSION, verify_on};
use crate::pool::pool;
use crate::queries::{self, upkeep};
use crate::session::{Acting, Session, answered};

/// The roles that migrations make.
const ROLES: [&str; 2] = ["sync_app", "sync_maintenance"];

/// Looks at the database and reports line by line, `ok` or `fault` first: the server, how it commits, the schema, the roles
/// and row-level security, business tables, room for locks, and the clock. Writes nothing but a gap in the positions.
///
/// # Errors
///
/// [`StoreError`] if the database cannot be reached at all.
pub async fn check(config: &Config) -> Result<Vec<Finding>, StoreError> {
    let endpoint = Endpoint::parse(&config.url)?;
    let client = endpoint.connect().await?;
    let mut lines = server(&client).await.map_err(store_error)?;
    match verify_on(&client).await {
        Ok(()) => lines.push(Finding::Well(format!(
            "the schema is at version {CURRENT_VERSION}"
        ))),
        Err(error) => {
            lines.push(Finding::Ill(error.to_string()));
            return Ok(lines);
        }
    }
    lines.extend(roles(&client).await.map_err(store_error)?);
    lines.extend(walls(&client).await.map_err(store_error)?);
    lines.extend(
        tables::check(&client, &config.tables)
            .await
            .map_err(store_error)?,
    );
    lines.push(acting(&endpoint).await);
    lines.push(clock(&endpoint, &client).await);
    Ok(lines)
}

async fn server(client: &Client) -> Result<Vec<Finding>, tokio_postgres::Error> {
    let row = client.query_one(upkeep::SERVER, &[]).await?;
    let (version, commits, flushes): (&str, &str, &str) = (row.get(0), row.get(1), row.get(2));
    let (connections, locks, user): (&str, i32, &str) = (row.get(3), row.get(4), row.get(5));
    let in_recovery: bool = row.get(6);
    Ok(vec![
        Finding::Well(format!(
            "PostgreSQL {version}, at most {connections} connections, signed in as {user}"
        )),
        verdict(
            !in_recovery,
            "the database takes writes",
            "the database is a standby and takes no writes",
        ),
        verdict(
            flushes == "on",
            &format!("fsync is on, synchronous_commit is {commits}; each push asks for on"),
            "fsync is off: acknowledged changes do not survive the machine",
        ),
        Finding::Well(format!(
            "room for {locks} locks at once, one per space of each running request"
        )),
    ])
}

async fn roles(client: &Client) -> Result<Vec<Finding>, tokio_postgres::Error> {
    let rows = client.query(upkeep::ROLES, &[]).await?;
    let mut lines = Vec::new();
    for role in ROLES {
        let Some(row) = rows.iter().find(|row| row.get::<_, &str>(0) == role) else {
            lines.push(Finding::Ill(format!("role {role} is missing")));
            continue;
        };
        let faults = [
            (row.get(1), "may log in"),
            (row.get(2), "passes row-level security"),
            (row.get(3), "owns tables"),
            (
                !row.get::<_, bool>(4),
                "does not have the server's user as a member",
            ),
        ];
        let faults: Vec<&str> = faults
            .into_iter()
            .filter_map(|(is_so, fault)| is_so.then_some(fault))
            .collect();
        lines.push(verdict(
            faults.is_empty(),
            &format!("role {role} cannot log in, owns no table and is held by row-level security"),
            &format!("role {role} {}", faults.join(" and ")),
        ));
    }
    Ok(lines)
}

async fn walls(client: &Client) -> Result<Vec<Finding>, tokio_postgres::Error> {
    let open = client.query(upkeep::OPEN_TABLES, &[]).await?;
    let names: Vec<&str> = open.iter().map(|row| row.get(0)).collect();
    Ok(vec![verdict(
        names.is_empty(),
        "row-level security is enabled and forced",
        &format!("row-level security is not in force on {}", names.join(", ")),
    )])
}

/// Whether the server's user may act in both roles.
async fn acting(endpoint: &Endpoint) -> Finding {
    let statements = &[queries::BEGIN, queries::OPEN, queries::COMMIT];
    let outcome = async {
        let pool = pool(endpoint, 1, statements)?;
        for acting in [Acting::ForUser, Acting::Maintenance] {
            let session = Session::take(&pool)
                .await
                .map_err(crate::failure::Failure::into_error)?;
            let outcome = async {
                answered(session.open(acting, "")).await?;
                session.commit().await
            }
            .await;
            let closed = session.close(outcome).await;
            closed.map_err(crate::failure::Failure::into_error)?;
        }
        Ok::<_, StoreError>(())
    };
    match outcome.await {
        Ok(()) => Finding::Well("the server acts in both roles".to_owned()),
        Err(error) => Finding::Ill(format!("the server cannot act in its roles: {error}")),
    }
}

/// Whether positions can be drawn.
async fn clock(endpoint: &Endpoint, client: &Client) -> Finding {
    let outcome = async {
        let last: i64 = client
            .query_one(upkeep::CLOCK, &[])
            .await
            .map_err(store_error)?
            .get(0);
        let drawn = Drawer::start(endpoint)?
            .draw(1, sync_protocol::Millis(0))
            .await?;
        Ok::<_, StoreError>((last, drawn.0))
    };
    match outcome.await {
        Ok((last, drawn)) if drawn > last => {
            Finding::Well(format!("the clock gives positions (now {drawn})"))
        }
        Ok((last, drawn)) => Finding::Ill(format!("the clock went from {last} back to {drawn}")),
        Err(error) => Finding::Ill(format!("the clock gives no positions: {error}")),
    }
}

fn verdict(is_well: bool, well: &str, ill: &str) -> Finding {
    if is_well {
        Finding::Well(well.to_owned())
    } else {
        Finding::Ill(ill.to_owned())
    }
}
