//! The statements about business tables, and about the rows that could not be written into them.

/// Begins an attempt that can be taken back; until it ends, nothing that may be deferred is checked.
pub(crate) const ATTEMPT: &str = "\
-- attempt
savepoint attempt;
set constraints all deferred";

/// Ends an attempt that stands: what was deferred is checked here, and not at the commit.
pub(crate) const SETTLE: &str = "\
-- attempt
set constraints all immediate;
release savepoint attempt";

/// Takes an attempt back.
pub(crate) const GIVE_UP: &str = "\
-- attempt
rollback to savepoint attempt;
release savepoint attempt";

/// The columns of a table: $1 schema, $2 name. Type and kind of type are those of the column; of a domain the kind is that of
/// what it is made of.
pub(crate) const COLUMNS: &str = "\
-- read_columns
select
    held.attname::text,
    pg_catalog.format_type(held.atttypid, held.atttypmod),
    coalesce(base.typname, kind.typname)::text,
    held.attnotnull,
    held.atthasdef,
    held.attgenerated <> '' or held.attidentity = 'a',
    held.attidentity <> ''
from pg_catalog.pg_namespace as named
join pg_catalog.pg_class as found on found.relnamespace = named.oid
join pg_catalog.pg_attribute as held on held.attrelid = found.oid
join pg_catalog.pg_type as kind on kind.oid = held.atttypid
left join pg_catalog.pg_type as base on base.oid = kind.typbasetype
where named.nspname = $1
    and found.relname = $2
    and held.attnum > 0
    and not held.attisdropped
order by held.attnum";

/// Whether role `sync_app` may use the schema of a table, and read and write it: $1 schema, $2 name.
pub(crate) const RIGHTS: &str = "\
-- check
select
    has_schema_privilege('sync_app', named.oid, 'usage'),
    has_table_privilege('sync_app', found.oid, 'select')
        and has_table_privilege('sync_app', found.oid, 'insert')
        and has_table_privilege('sync_app', found.oid, 'update')
        and has_table_privilege('sync_app', found.oid, 'delete')
from pg_catalog.pg_namespace as named
join pg_catalog.pg_class as found on found.relnamespace = named.oid
where named.nspname = $1
    and found.relname = $2
    and found.relkind in ('r', 'p', 'v', 'f')";

/// The columns of each index of a table by which an upsert can find a row: $1 schema, $2 name.
pub(crate) const UNIQUE: &str = "\
-- check
select array(
    select held.attname::text
    from pg_catalog.pg_attribute as held
    where held.attrelid = index.indrelid
        and held.attnum = any((index.indkey::smallint[])[0:index.indnkeyatts - 1])
)
from pg_catalog.pg_namespace as named
join pg_catalog.pg_class as found on found.relnamespace = named.oid
join pg_catalog.pg_index as index on index.indrelid = found.oid
where named.nspname = $1
    and found.relname = $2
    and index.indisunique
    and index.indimmediate
    and index.indisvalid
    and index.indpred is null
    and index.indexprs is null";

/// The foreign keys of a table, with their columns and the table that each is about: $1 schema, $2 name.
pub(crate) const FOREIGN_KEYS: &str = "\
-- check
select
    held.conname::text,
    array(
        select child.attname::text
        from pg_catalog.pg_attribute as child
        where child.attrelid = held.conrelid
            and child.attnum = any(held.conkey)
    ),
    other_named.nspname::text,
    other.relname::text
from pg_catalog.pg_namespace as named
join pg_catalog.pg_class as found on found.relnamespace = named.oid
join pg_catalog.pg_constraint as held on held.conrelid = found.oid
join pg_catalog.pg_class as other on other.oid = held.confrelid
join pg_catalog.pg_namespace as other_named on other_named.oid = other.relnamespace
where named.nspname = $1
    and found.relname = $2
    and held.contype = 'f'
order by held.conname";

/// What a statement about a business table is made of. Everything is quoted.
pub(crate) struct Parts {
    /// The table.
    pub(crate) into: String,
    /// Its column of the user.
    pub(crate) user: String,
    /// Its column of the `pk`.
    pub(crate) key: String,
    /// The columns that are given, with their types.
    pub(crate) types: String,
    /// The columns that are given.
    pub(crate) names: String,
    /// What an update sets.
    pub(crate) sets: String,
}

/// Writes rows into a business table: $1 user, $2 the rows as JSON. No row of somebody else is updated, whatever the
/// table takes for the same user.
pub(crate) fn upsert(parts: &Parts) -> String {
    let Parts {
        into,
        user,
        key,
        types,
        names,
        sets,
    } = parts;
    format!(
        "\
-- upsert
insert into {into} as held ({names})
select {names}
from json_to_recordset($2::json) as given ({types})
where given.{user}::text collate \"C\" = $1::text
on conflict ({user}, {key}) do update
set {sets}
where held.{user}::text collate \"C\" = $1::text"
    )
}

/// Removes rows of a business table: $1 user, $2 user and `pk` of each as JSON.
pub(crate) fn remove(parts: &Parts) -> String {
    let Parts {
        into,
        user,
        key,
        types,
        ..
    } = parts;
    format!(
        "\
-- remove
delete from {into} as held
using json_to_recordset($2::json) as given ({types})
where held.{user} = given.{user}
    and held.{key} = given.{key}
    and held.{user}::text collate \"C\" = $1::text"
    )
}

/// Keeps failures, of each row the last: $1 user, $2 now; arrays: $3 apps, $4 tables, $5 records, $6 versions, $7 operations,
/// $8 payloads, $9 errors.
pub(crate) const KEEP_FAILURES: &str = "\
-- keep
insert into sync_failures as held (
    user_id, first_seen, retry_count,
    app_id, table_name, record_id, attempted_version, op, payload, error
)
select $1, $2, 0, new.*
from unnest($3::text[], $4::text[], $5::text[], $6::bigint[], $7::text[], $8::text[], $9::text[]) as new
on conflict (user_id, app_id, table_name, record_id) do update
set
    attempted_version = excluded.attempted_version,
    op = excluded.op,
    payload = excluded.payload,
    error = excluded.error,
    retry_count = case
        when held.attempted_version = excluded.attempted_version then held.retry_count + 1
        else 0
    end";

/// Forgets the failures of rows that were written: $1 user; arrays: $2 apps, $3 tables, $4 records.
pub(crate) const CLEAR_FAILURES: &str = "\
-- clear
delete from sync_failures as held
using unnest($2::text[], $3::text[], $4::text[]) as written (app_id, table_name, record_id)
where held.user_id = $1
    and held.app_id = written.app_id
    and held.table_name = written.table_name
    and held.record_id = written.record_id";

/// The failures of a user, the newest first: $1 user, $2 app or null, $3 table or null, $4 how many, $5 how many bytes of
/// payloads; those beyond come without.
pub(crate) const FAILURES: &str = "\
-- try_failures
select
    listed.id,
    listed.app_id,
    listed.table_name,
    listed.record_id,
    listed.attempted_version,
    listed.op,
    case when listed.running <= $5::bigint then listed.payload end,
    listed.error,
    listed.first_seen,
    listed.retry_count
from (
    select
        found.*,
        sum(octet_length(found.payload)) over (
            order by found.first_seen desc, found.id desc rows unbounded preceding
        ) as running
    from (
        select *
        from sync_failures
        where user_id = $1
            and ($2::text is null or app_id = $2)
            and ($3::text is null or table_name = $3)
        order by first_seen desc, id desc
        limit $4
    ) as found
) as listed
order by listed.first_seen desc, listed.id desc";

/// A failure, for nobody else to retry meanwhile: $1 its number, $2 user.
pub(crate) const LOCK_FAILURE: &str = "\
-- lock_failure
select app_id, table_name, record_id, attempted_version, op
from sync_failures
where id = $1
    and user_id = $2
for update nowait";

/// Forgets a failure: $1 its number.
pub(crate) const FORGET_FAILURE: &str = "\
-- retry_within
delete from sync_failures
where id = $1";

/// Says that a failure has failed again: $1 its number, $2 why.
pub(crate) const FAILED_AGAIN: &str = "\
-- retry_within
update sync_failures
set
    retry_count = retry_count + 1,
    error = $2
where id = $1";
