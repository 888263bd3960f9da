//! What travels between sync clients and servers: the shapes of the changes dialect, how a push is read, its limits,
//! identifiers, and times as the wire writes them.
//!
//! This crate knows no IO, no clock and no store. Values are opaque: the envelope is parsed, the values stay the bytes
//! that arrived.

mod answer;
mod audience;
mod change;
mod changeset;
mod event_id;
mod ident;
mod inspect;
mod members;
mod read;
pub mod rows;
mod tables;
mod time;
mod value;

pub use answer::{
    Answer, Conflict, ErrorBody, FieldOut, SERVICE_NAME, ServerChange, Warning, WarningCode,
};
pub use audience::Audience;
pub use change::{Change, FieldWrite, Op, SUPPORTED_SCHEMA_VERSION};
pub use changeset::{Changeset, ChangesetError, MAX_BODY_BYTES, MAX_CHANGES, Parked};
pub use event_id::{EventId, EventIds};
pub use ident::{
    AppId, ClientId, FieldName, IdentError, MAX_IDENT_BYTES, RecordId, SpaceId, TableName, UserId,
};
pub use inspect::{MAX_FIELDS, MAX_LEVELS};
pub use members::Members;
pub use tables::Tables;
pub use time::{FieldTime, Millis, Timestamp};
pub use value::Value;
