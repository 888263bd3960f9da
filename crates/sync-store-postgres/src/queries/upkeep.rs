//! The statements of upkeep: sweeping, figures, readiness, migrations and `check`.

/// The scopes of deleted records whose values are due, and how many in each: $1 deleted at or before, $2 how many records
/// at most, $3 scopes to pass over.
pub(crate) const DUE: &str = "\
-- lock_idle
select
    due.scope,
    count(*)
from (
    select scope
    from sync_records
    where deleted_since <= $1
        and scope <> all($3)
    order by deleted_since
    limit $2::bigint
) as due
group by due.scope";

/// Locks those of the scopes that nobody works in: $1 lock keys. Returns the keys that it got.
pub(crate) const TRY_LOCKS: &str = "\
-- try_lock
select wanted.key
from unnest($1::bigint[]) as wanted (key)
where pg_try_advisory_xact_lock(wanted.key)";

/// Deleted records of locked scopes: $1 deleted at or before, $2 how many at most, $3 scopes, $4 how many bytes their rows
/// have at most, the first record's excepted. The last column says how many there were before the bytes counted.
pub(crate) const DELETED: &str = "\
-- strip
select
    weighed.scope,
    weighed.app_id,
    weighed.table_name,
    weighed.record_id,
    weighed.rows,
    weighed.state,
    weighed.version,
    weighed.deleted_since,
    weighed.due
from (
    select
        record.*,
        count(*) over () as due,
        row_number() over in_order as place,
        sum(held.bytes) over in_order as running
    from (
        select *
        from sync_records
        where deleted_since <= $1
            and scope = any($3)
        order by deleted_since
        limit $2::bigint
    ) as record
    cross join lateral (
        select coalesce(sum(live.size), 0) as bytes
        from sync_changes as live
        where live.position = any(record.rows)
            and live.scope = record.scope
    ) as held
    window in_order as (order by record.deleted_since rows unbounded preceding)
) as weighed
where weighed.place = 1
    or weighed.running <= $4::bigint
order by weighed.place";

/// Leaves tombstones, one array per column: $1 scopes, $2 apps, $3 tables, $4 records, $5 rows as array literals, $6 states.
pub(crate) const STRIP: &str = "\
-- write
update sync_records as kept
set
    rows = left_over.rows::bigint[],
    state = left_over.state,
    deleted_since = null
from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[])
    as left_over (scope, app_id, table_name, record_id, rows, state)
where kept.scope = left_over.scope
    and kept.app_id = left_over.app_id
    and kept.table_name = left_over.table_name
    and kept.record_id = left_over.record_id";

/// Marks the rows of stripped records dead as of their delete: $1 positions, $2 since when, $3 the scopes they are in.
pub(crate) const BURY_STRIPPED: &str = "\
-- write
update sync_changes as change
set dead_since = stripped.since
from unnest($1::bigint[], $2::timestamptz[]) as stripped (position, since)
where change.position = stripped.position
    and change.scope = any($3)";

/// Rows by their positions $1 in the scopes $2, with the columns of [`super::PAGE`] and the app.
pub(crate) const ROWS: &str = "\
-- strip
select
    position,
    true,
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
    created_at,
    schema_version,
    actor,
    origin,
    opens,
    to_everyone,
    undated,
    source_change_id,
    app_id
from sync_changes
where position = any($1)
    and scope = any($2)";

/// Writes the values of rows over, one array per column: $1 positions, $2 values, $3 times, $4 sizes; $5 the scopes they
/// are in.
pub(crate) const SHORTEN: &str = "\
-- write
update sync_changes as change
set
    data = short.data,
    field_timestamps = short.field_timestamps,
    size = short.size
from unnest($1::bigint[], $2::text[], $3::text[], $4::integer[]) as short (position, data, field_timestamps, size)
where change.position = short.position
    and change.scope = any($5)";

/// Removes dead rows: $1 dead since at or before, $2 how many and $3 how many bytes at most; the first counts as fitting.
/// Returns their sizes.
pub(crate) const REMOVE_DEAD: &str = "\
-- remove_dead
delete from sync_changes
where position = any(array(
    select found.position
    from (
        select
            dead.position,
            dead.size,
            sum(dead.size) over (order by dead.dead_since, dead.position rows unbounded preceding) as running
        from (
            select position, dead_since, size
            from sync_changes
            where dead_since <= $1
            order by dead_since
            limit $2::bigint
            for update skip locked
        ) as dead
    ) as found
    where found.running - found.size <= $3::bigint
))
returning size::bigint";

/// About how many rows are dead: counted up to $1, and beyond that as the last analysis of the table has it.
pub(crate) const DEAD_ROWS: &str = "\
-- stats
select case
    when counted.dead < $1::bigint then counted.dead
    else greatest(counted.dead, (
        select reltuples::bigint
        from pg_catalog.pg_class
        where oid = 'sync_changes_dead'::regclass
    ))
end
from (
    select count(*) as dead
    from (
        select
        from sync_changes
        where dead_since is not null
        limit $1::bigint
    ) as dead_rows
) as counted";

/// Whether the database takes writes.
pub(crate) const READY: &str = "\
-- ready
select pg_is_in_recovery()";

/// Makes the table of migrations.
pub(crate) const MIGRATIONS_TABLE: &str = "\
-- migrate
create table if not exists sync_migrations (
    version integer primary key,
    name text not null,
    digest text not null,
    applied_at timestamptz not null default now()
)";

/// Keeps other migrations of this database waiting until the transaction ends.
pub(crate) const MIGRATION_LOCK: &str = "\
-- migrate
select pg_advisory_xact_lock(1937337955, 1)";

/// The migrations that were applied.
pub(crate) const APPLIED: &str = "\
-- applied
select version, digest
from sync_migrations
order by version";

/// Records a migration: $1 version, $2 name, $3 digest.
pub(crate) const RECORD_MIGRATION: &str = "\
-- migrate
insert into sync_migrations (version, name, digest)
values ($1, $2, $3)";

/// The server as `check` reports it.
pub(crate) const SERVER: &str = "\
-- check
select
    current_setting('server_version'),
    current_setting('synchronous_commit'),
    current_setting('fsync'),
    current_setting('max_connections'),
    current_setting('max_locks_per_transaction')::integer * (
        current_setting('max_connections')::integer + current_setting('max_prepared_transactions')::integer
    ),
    current_user::text,
    pg_is_in_recovery()";

/// The roles as `check` reports them: whether each may log in, passes row-level security or owns a table, and whether the
/// server's own user is a member.
pub(crate) const ROLES: &str = "\
-- check
select
    role.rolname::text,
    role.rolcanlogin,
    role.rolsuper or role.rolbypassrls,
    exists (
        select
        from pg_catalog.pg_class as owned
        where owned.relowner = role.oid
            and owned.relkind = 'r'
            and owned.relname like 'sync\\_%'
    ),
    pg_has_role(current_user, role.oid, 'member')
from pg_catalog.pg_roles as role
where role.rolname in ('sync_app', 'sync_maintenance')
order by role.rolname";

/// Tables with data on which row-level security is not enabled and forced.
pub(crate) const OPEN_TABLES: &str = "\
-- check
select expected.name
from unnest(array['sync_changes', 'sync_records', 'sync_grants', 'sync_parked', 'sync_uploads', 'sync_failures']) as expected (name)
left join pg_catalog.pg_class as found on found.oid = to_regclass(expected.name)
where not coalesce(found.relrowsecurity and found.relforcerowsecurity, false)
order by expected.name";

/// Draws nothing from the clock: the last position given out.
pub(crate) const CLOCK: &str = "\
-- check
select last
from sync_clock";

/// Has imports begin and go on only behind this transaction, and this one behind them.
pub(crate) const HOLD_LOG: &str = "\
-- is_importing
lock table sync_changes in row exclusive mode";

/// Whether an import is under way.
pub(crate) const IS_IMPORTING: &str = "\
-- is_importing
select until = -1
from sync_import
where only_row";
