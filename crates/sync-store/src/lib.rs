//! What a store is: the [`Store`] trait, scopes, positions and cursors, the pure middle of an exchange that every
//! backend shares, the in-memory store that is their oracle, and the contract suite that each of them must pass.
//!
//! ```text
//! lock personal -> grants -> Intake -> lock the rest -> load -> Decision -> draw -> Writes -> delta -> answer
//! ```
//!
//! The crate knows no SQL, no HTTP and no tokens. A backend loads what [`Intake`] asks for, writes what [`Decision`]
//! says, and reads the delta that [`Window`] describes: nothing else differs between backends.

pub mod contract;
mod cursor;
mod decision;
mod entry;
mod erase;
mod export;
mod grants;
mod import;
mod intake;
mod memory;
mod outgoing;
mod request;
mod room;
mod rows;
mod scope;
mod state;
mod store;
mod targets;

pub use cursor::{Cursor, Position};
pub use decision::{Decision, Writes};
pub use entry::{Entry, Field, read_fields};
pub use erase::{Erased, Erasure, RecordPlace, Stage, claim_mark, erase};
pub use export::{EXPORT_BYTES, EXPORT_ITEMS, Export, Exported, Item, Place};
pub use grants::{DOUBT_MILLIS, Grant, Membership, Occasion, Regrant, Regranted};
pub use import::{
    Import, ImportBatch, ImportState, ImportWrites, Importer, KeptRecord, Mark, ParkedRow, Phase,
    ReplacedRow, SpacesOfUsers, Tally, UNDER_WAY, imported,
};
pub use intake::{Intake, Loaded, LoadedRow, MAX_LOAD_BYTES, RecordKey, ScopesMissing};
pub use memory::MemoryStore;
pub use outgoing::server_changes;
pub use request::{
    Delta, Denied, MAX_PAGE, PAGE_BYTES, PROMOTION_BATCH, Page, Promoted, Promotion, Pull, Push,
    Pushed, Rules, Touched, Window, pull_answer,
};
pub use rows::{
    BusinessTable, Download, DownloadBegun, FailureList, Failures, FoundRow, Logged, Merged,
    OwnRows, Retried, Retry, RowAfter, RowLimits, RowTable, RowTables, TableKey, Upload,
    UploadDecision, UploadIntake, UploadLoaded, UploadWrites, Uploaded, Wanted,
};
pub use scope::{Caller, Reach, Role, Scope, Stretch, personal, whole};
pub use state::{RecordState, strip_deleted};
pub use store::{Finding, ParkedChange, Pending, Stats, Store, StoreError, Swept};
