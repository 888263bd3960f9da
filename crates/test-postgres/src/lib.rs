//! A throwaway PostgreSQL server for tests: real, on loopback, gone afterwards.
//!
//! Two ways to one:
//!
//! - [`shared_url`]: the server that `cargo xtask db -- COMMAND…` and `cargo xtask ci` start once for a whole run of tests.
//!   Every test makes a database of its own on it.
//! - [`Instance::start`]: a server of one's own, for a test that kills it ([`Instance::kill_hard`]) and wants it back with
//!   its data ([`Instance::restart`]).
//!
//! Knows nothing of the sync server, speaks no SQL and installs nothing.

mod account;
mod binaries;
mod error;
mod instance;
mod process;
mod setup;

pub use binaries::{Binaries, OLDEST_MAJOR_VERSION};
pub use error::Error;
pub use instance::Instance;
pub use setup::{Durability, Options};

/// The environment variable that holds the URL of the shared server.
pub const URL_VARIABLE: &str = "SYNC_TEST_DATABASE_URL";

/// The URL of the server shared by all tests of this run, as a superuser, of the form
/// `postgresql://user:password@127.0.0.1:port/postgres`.
///
/// # Panics
///
/// When `SYNC_TEST_DATABASE_URL` is not set: a test that needs a database fails without one and names the command that
/// starts one. It never skips.
#[must_use]
pub fn shared_url() -> String {
    #[expect(
        clippy::disallowed_methods,
        reason = "the only way from the command that starts the server to a test"
    )]
    let url = std::env::var(URL_VARIABLE);
    url.unwrap_or_else(|_| {
        panic!(
            "{URL_VARIABLE} is not set, and this test needs PostgreSQL. Run the tests with one:\n\n    \
             cargo xtask db -- cargo nextest run\n\nor run everything that CI runs: .ci/run"
        )
    })
}
