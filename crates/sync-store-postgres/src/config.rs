//! What the store is told: where the database is, the rules, and how many connections it may hold.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use sync_store::{Reach, RowTables, Rules, Scope};

use crate::materialise::Handler;

/// How many connections requests share, unless the settings say otherwise.
pub const POOL_SIZE: usize = 16;

/// What becomes of a push at the point of fault injection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It commits.
    Commit,
    /// It rolls back, and its caller is told that the store is unavailable.
    RollBack,
}

/// The point of fault injection: asked and awaited by each push that has written and not yet committed. Only tests set it.
pub type BeforeCommit = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Fate> + Send>> + Send + Sync>;

/// The first of the two walls between scopes: what the code takes its caller to reach. Only tests take it down, to see whether
/// row-level security holds alone.
#[derive(Clone, Debug, Default)]
pub enum CodeWall {
    /// The code goes by the grants.
    #[default]
    Standing,
    /// The code goes by nothing: everybody reaches all of these scopes. Locks and row-level security go by the grants.
    Removed(Arc<[Scope]>),
}

impl CodeWall {
    /// What the code takes a caller to reach who has these grants; and what the grants give, where that is another thing.
    pub(crate) fn reach(&self, granted: Reach) -> (Reach, Option<Reach>) {
        match self {
            Self::Standing => (granted, None),
            Self::Removed(scopes) => (granted.clone().unwalled(scopes), Some(granted)),
        }
    }
}

/// Where the database is, and how the store uses it.
#[derive(Clone)]
pub struct Config {
    /// `postgresql://user:password@host:port/database?sslmode=…`. Beside what tokio-postgres reads, `sslmode` may be
    /// `verify-ca` or `verify-full`, and `sslrootcert` may name a file of certificates.
    pub url: String,
    /// The rules of the engine.
    pub rules: Rules,
    /// How many connections requests share. Positions are drawn on one more.
    pub pool_size: usize,
    /// What is known of the tables of rows clients: which of them are written into business tables.
    pub tables: Arc<RowTables>,
    /// Who writes rows into tables of the business beside that, for programs that embed the store; the first that takes a
    /// table has it.
    pub handlers: Vec<Arc<dyn Handler>>,
    /// For tests that inject faults; `None` in a server.
    pub before_commit: Option<BeforeCommit>,
    /// For tests that take the first wall down; it stands in a server.
    pub code_wall: CodeWall,
}

impl Config {
    /// The database at this URL, with the usual rules and [`POOL_SIZE`] connections.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            rules: Rules::default(),
            pool_size: POOL_SIZE,
            tables: Arc::default(),
            handlers: Vec::new(),
            before_commit: None,
            code_wall: CodeWall::Standing,
        }
    }
}

impl fmt::Debug for Config {
    /// Without the URL: it holds a password.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Config")
            .field("rules", &self.rules)
            .field("pool_size", &self.pool_size)
            .finish_non_exhaustive()
    }
}
