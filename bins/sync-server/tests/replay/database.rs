//! A database for one replay: new, and gone afterwards.

use std::path::Path;

use tokio_postgres::NoTls;

use super::Fault;
use super::world::fresh_uuid;

/// Which store the server under test keeps its data in.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Store {
    /// A file.
    Sqlite,
    /// A database on the server that all tests of a run share.
    Postgres,
}

/// A database that nobody else uses.
pub(crate) struct Database {
    /// What the server takes as `DATABASE_URL`.
    pub(crate) url: String,
    on_server: Option<OnServer>,
}

struct OnServer {
    server: String,
    name: String,
}

impl Store {
    /// Makes a database; a file goes into this folder.
    pub(crate) fn make(self, folder: &Path) -> Result<Database, Fault> {
        match self {
            Self::Sqlite => {
                let url = format!("sqlite:{}", folder.join("replay.db").display());
                Ok(Database {
                    url,
                    on_server: None,
                })
            }
            Self::Postgres => {
                let (server, name) = (
                    test_postgres::shared_url(),
                    format!("replay_{}", fresh_uuid().replace('-', "_")),
                );
                execute(&server, &format!("CREATE DATABASE {name}"))?;
                let url = with_database(&server, &name)?;
                Ok(Database {
                    url,
                    on_server: Some(OnServer { server, name }),
                })
            }
        }
    }
}

impl Drop for OnServer {
    fn drop(&mut self) {
        // The server of the run goes with all its databases, so one that stays does no harm.
        let _ = execute(
            &self.server,
            &format!("DROP DATABASE {} WITH (FORCE)", self.name),
        );
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        drop(self.on_server.take());
    }
}

fn execute(url: &str, statement: &str) -> Result<(), Fault> {
    let told = |error: &dyn std::error::Error| format!("{statement}: {error}");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| told(&error))?;
    runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(url, NoTls)
            .await
            .map_err(|error| told(&error))?;
        tokio::select! {
            outcome = client.batch_execute(statement) => outcome.map_err(|error| told(&error)),
            ended = connection => Err(format!("{statement}: the connection ended: {ended:?}")),
        }
    })
}

/// The same URL with this database in the place of its own.
fn with_database(url: &str, name: &str) -> Result<String, Fault> {
    let (base, query) = url
        .split_once('?')
        .map_or((url, None), |(base, query)| (base, Some(query)));
    let authority = base
        .find("://")
        .map(|scheme| scheme + 3)
        .ok_or("the URL of the database has no scheme")?;
    let end = base[authority..]
        .find('/')
        .map_or(base.len(), |slash| authority + slash);
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    Ok(format!("{}/{name}{query}", &base[..end]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_name_of_the_database_changes() {
        let with = |url| with_database(url, "new");
        assert_eq!(
            with("postgresql://u:p@h:5/postgres"),
            Ok("postgresql://u:p@h:5/new".to_owned())
        );
        assert_eq!(
            with("postgresql://u@h"),
            Ok("postgresql://u@h/new".to_owned())
        );
        assert_eq!(
            with("postgresql:///old?host=/tmp/x"),
            Ok("postgresql:///new?host=/tmp/x".to_owned())
        );
        assert!(with("h/old").is_err());
    }
}
