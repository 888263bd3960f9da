//! The statements by which the table of a replaced service is taken over.

/// How far the import is.
pub(crate) const IMPORT_STATE: &str = "\
-- state
select until, last, mark, tally
from sync_import
where only_row";

/// The same, with other imports kept waiting until the transaction ends.
pub(crate) const LOCK_IMPORT: &str = "\
-- locked_state
select until, last, mark, tally
from sync_import
where only_row
for update";

/// Waits for every transaction that has looked at the log, and keeps those waiting that are about to.
pub(crate) const STOP_REQUESTS: &str = "\
-- begin
lock table sync_changes in access exclusive mode";

/// Keeps those waiting who write: sweeps of nodes that still run.
pub(crate) const STOP_SWEEPS: &str = "\
-- take
lock table sync_changes, sync_records in share row exclusive mode";

/// Where the log ends, and where the clock stands.
pub(crate) const ENDS: &str = "\
-- ends
select sync_greatest_position(), last
from sync_clock";

/// Acts in another role from here on: $1 role.
pub(crate) const BECOME: &str = "\
-- become
select set_config('role', $1, true)";

/// Works for another user from here on: $1 user.
pub(crate) const WORK_FOR: &str = "\
-- work_for
select set_config('sync.user', $1, true)";

/// Remembers how far the import is: $1 until, $2 last, $3 mark, $4 tally.
pub(crate) const REMEMBER: &str = "\
-- remember
update sync_import
set
    until = $1,
    last = $2,
    mark = $3,
    tally = $4
where only_row";

/// Moves the clock: $1 not below this position.
pub(crate) const ADVANCE: &str = "\
-- remember
update sync_clock
set last = greatest(last, $1::bigint)";

/// Appends rows, one array per column: [`super::APPEND`] for several apps and times.
pub(crate) const IMPORT_APPEND: &str = "\
-- append
insert into sync_changes (
    app_id,
    created_at,
    position,
    scope,
    table_name,
    record_id,
    id,
    op,
    data,
    field_timestamps,
    user_id,
    client_id,
    space_id,
    schema_version,
    actor,
    origin,
    opens,
    to_everyone,
    undated,
    size
)
select new.*
from unnest(
    $1::text[],
    $2::timestamptz[],
    $3::bigint[],
    $4::text[],
    $5::text[],
    $6::text[],
    $7::uuid[],
    $8::text[],
    $9::text[],
    $10::text[],
    $11::text[],
    $12::text[],
    $13::text[],
    $14::bigint[],
    $15::text[],
    $16::text[],
    $17::boolean[],
    $18::boolean[],
    $19::boolean[],
    $20::integer[]
) as new";

/// Marks rows dead: arrays: $1 positions, $2 since when; $3 the scopes they are in.
pub(crate) const IMPORT_BURY: &str = "\
-- bury
update sync_changes as change
set dead_since = dead.since
from unnest($1::bigint[], $2::timestamptz[]) as dead (position, since)
where change.position = dead.position
    and change.scope = any($3)";

/// Writes records over, one array per column: [`super::KEEP`] for several apps and times; $5 the rows as array literals.
pub(crate) const IMPORT_KEEP: &str = "\
-- keep
insert into sync_records (
    app_id,
    scope,
    table_name,
    record_id,
    rows,
    state,
    version,
    deleted_since
)
select
    new.app_id,
    new.scope,
    new.table_name,
    new.record_id,
    new.rows::bigint[],
    new.state,
    new.version,
    new.deleted_since
from unnest(
    $1::text[],
    $2::text[],
    $3::text[],
    $4::text[],
    $5::text[],
    $6::text[],
    $7::bigint[],
    $8::timestamptz[]
) as new (app_id, scope, table_name, record_id, rows, state, version, deleted_since)
on conflict (scope, app_id, table_name, record_id) do update
set
    rows = excluded.rows,
    state = excluded.state,
    version = excluded.version,
    deleted_since = case
        when excluded.deleted_since is not null
            then coalesce(sync_records.deleted_since, excluded.deleted_since)
    end";

/// Removes records that have moved elsewhere: arrays: $1 apps, $2 scopes, $3 tables, $4 records.
pub(crate) const IMPORT_REMOVE: &str = "\
-- remove
delete from sync_records as record
using unnest($1::text[], $2::text[], $3::text[], $4::text[]) as gone (app_id, scope, table_name, record_id)
where record.scope = gone.scope
    and record.app_id = gone.app_id
    and record.table_name = gone.table_name
    and record.record_id = gone.record_id";
