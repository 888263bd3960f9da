//! Settings of rows clients: how much one upload may hold.

use clap::Args;
use sync_protocol::{MAX_BODY_BYTES, MAX_CHANGES};
use sync_store::RowLimits;

#[derive(Clone, Debug, Args)]
pub(crate) struct RowSettings {
    /// Changes in one upload of a rows client; one with more is refused as a whole
    #[arg(long, env = "SYNC_UPLOAD_CHANGES", default_value_t = MAX_CHANGES, value_parser = at_least_one, global = true, hide_env_values = true)]
    pub(crate) sync_upload_changes: usize,
    /// Bytes of the payload of one row; a larger one is refused alone
    #[arg(long, env = "SYNC_UPLOAD_PAYLOAD_BYTES", default_value_t = MAX_BODY_BYTES, value_parser = at_least_one, global = true, hide_env_values = true)]
    pub(crate) sync_upload_payload_bytes: usize,
}

impl RowSettings {
    /// How much an upload may hold.
    pub(crate) fn limits(&self) -> RowLimits {
        RowLimits {
            changes: self.sync_upload_changes,
            payload_bytes: self.sync_upload_payload_bytes,
        }
    }
}

fn at_least_one(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| "it must be a number from 1 on".to_owned())
}
