//! The statements about everything of a user or a space: exporting and erasing.
//!
//! Rows of the log come with the columns of [`super::PAGE`], their app and since when they are dead. Of what is read in bytes
//! the first counts as fitting.

/// Grants of a user: $1 user, $2 space behind which, $3 how many.
pub(crate) const GRANTS: &str = "\
-- export_grants
select space_id, role, position, asked, doubted, user_id
from sync_grants
where user_id = $1
    and space_id > $2
order by user_id, space_id
limit $3::bigint";

/// Grants of a space: $1 space, $2 user behind which, $3 how many.
pub(crate) const MEMBERS: &str = "\
-- export_grants
select space_id, role, position, asked, doubted, user_id
from sync_grants
where space_id = $1
    and user_id > $2
order by space_id, user_id
limit $3::bigint";

/// What is kept aside for a user: $1 user, $2 place behind which, $3 how many, $4 how many bytes.
pub(crate) const PARKED: &str = "\
-- export_parked
select page.raw, page.reason, page.app_id, page.place
from (
    select
        found.*,
        sum(found.size) over (order by found.place rows unbounded preceding) as running
    from (
        select user_id, place, app_id, raw, reason, size
        from sync_parked
        where user_id = $1
            and place > $2::bigint
        order by user_id, place
        limit $3::bigint
    ) as found
) as page
where page.running - page.size <= $4::bigint
order by page.place";

/// What a user has written, wherever: $1 user, $2 id from which on, $3 how many, $4 how many bytes.
pub(crate) const WRITTEN: &str = "\
-- export_changes
select
    page.position,
    true,
    page.scope,
    page.table_name,
    page.record_id,
    page.id,
    page.op,
    page.data,
    page.field_timestamps,
    page.user_id,
    page.client_id,
    page.space_id,
    page.created_at,
    page.schema_version,
    page.actor,
    page.origin,
    page.opens,
    page.to_everyone,
    page.undated,
    page.source_change_id,
    page.app_id,
    page.dead_since
from (
    select
        found.*,
        sum(found.size) over (order by found.user_id, found.id rows unbounded preceding) as running
    from (
        select *
        from sync_changes as change
        where change.user_id = $1
            and change.id >= $2
        order by change.user_id, change.id
        limit $3::bigint
    ) as found
) as page
where page.running - page.size <= $4::bigint
order by page.user_id, page.id";

/// Live rows of a scope: $1 scope, $2 app and $3 position behind which, $4 how many, $5 how many bytes.
pub(crate) const LIVE: &str = "\
-- export_changes
select
    page.position,
    true,
    page.scope,
    page.table_name,
    page.record_id,
    page.id,
    page.op,
    page.data,
    page.field_timestamps,
    page.user_id,
    page.client_id,
    page.space_id,
    page.created_at,
    page.schema_version,
    page.actor,
    page.origin,
    page.opens,
    page.to_everyone,
    page.undated,
    page.source_change_id,
    page.app_id,
    page.dead_since
from (
    select
        found.*,
        sum(found.size) over (order by found.scope, found.app_id, found.position rows unbounded preceding) as running
    from (
        select *
        from sync_changes as change
        where change.scope = $1
            and (change.scope, change.app_id, change.position) > ($1, $2, $3::bigint)
            and change.dead_since is null
        order by change.scope, change.app_id, change.position
        limit $4::bigint
    ) as found
) as page
where page.running - page.size <= $5::bigint
order by page.scope, page.app_id, page.position";

/// Dead rows of a scope: $1 scope, $2 position behind which, $3 how many, $4 how many bytes.
pub(crate) const DEAD: &str = "\
-- export_changes
select
    page.position,
    true,
    page.scope,
    page.table_name,
    page.record_id,
    page.id,
    page.op,
    page.data,
    page.field_timestamps,
    page.user_id,
    page.client_id,
    page.space_id,
    page.created_at,
    page.schema_version,
    page.actor,
    page.origin,
    page.opens,
    page.to_everyone,
    page.undated,
    page.source_change_id,
    page.app_id,
    page.dead_since
from (
    select
        found.*,
        sum(found.size) over (order by found.scope, found.position rows unbounded preceding) as running
    from (
        select *
        from sync_changes as change
        where change.scope = $1
            and change.position > $2::bigint
            and change.dead_since is not null
        order by change.scope, change.position
        limit $3::bigint
    ) as found
) as page
where page.running - page.size <= $4::bigint
order by page.scope, page.position";

/// A member of a space, if there is one: $1 space.
pub(crate) const A_MEMBER: &str = "\
-- erase_member
select user_id
from sync_grants
where space_id = $1
    and role is not null
order by space_id, user_id
limit 1";

/// Removes what is kept aside for a user: $1 user.
pub(crate) const ERASE_PARKED: &str = "\
-- erase_records
delete from sync_parked
where user_id = $1";

/// Removes what could not be written into business tables for a user: $1 user.
pub(crate) const ERASE_FAILURES: &str = "\
-- erase_user
delete from sync_failures
where user_id = $1";

/// Removes records of a scope together with their rows: $1 scope, $2 how many records, $3 how many rows; the first record
/// counts as fitting. Returns how many records and
/// rows it was, and how many rows the records had.
pub(crate) const ERASE_RECORDS: &str = "\
-- erase_records
with batch as (
    select found.app_id, found.table_name, found.record_id
    from (
        select
            first_ones.*,
            sum(cardinality(first_ones.rows)) over (
                order by first_ones.app_id, first_ones.table_name, first_ones.record_id
                rows unbounded preceding
            ) as running
        from (
            select *
            from sync_records as record
            where record.scope = $1
            order by record.scope, record.app_id, record.table_name, record.record_id
            limit $2::bigint
        ) as first_ones
    ) as found
    where found.running - cardinality(found.rows) <= $3::bigint
), gone as (
    delete from sync_records as record
    using batch
    where record.scope = $1
        and record.app_id = batch.app_id
        and record.table_name = batch.table_name
        and record.record_id = batch.record_id
    returning record.rows
), rows_gone as (
    delete from sync_changes as change
    where change.scope = $1
        and change.position = any(array(
            select unnest(gone.rows)
            from gone
        ))
    returning 1
)
select
    (select count(*) from gone),
    (select count(*) from rows_gone),
    (select coalesce(sum(cardinality(gone.rows)), 0) from gone)";

/// Some rows that a user has written, wherever: $1 user, $2 how many.
pub(crate) const FIRST_WRITTEN: &str = "\
-- erase_rows
select position, scope, app_id, table_name, record_id
from sync_changes
where user_id = $1
order by user_id, id
limit $2::bigint";

/// Removes rows: $1 positions, $2 the scopes they are in.
pub(crate) const ERASE_ROWS: &str = "\
-- erase_rows
delete from sync_changes
where position = any($1)
    and scope = any($2)";

/// Takes the names off rows: $1 positions, $2 the scopes they are in, $3 what stands for the user.
pub(crate) const RENAME: &str = "\
-- erase_rows
update sync_changes
set
    user_id = $3,
    client_id = '',
    actor = null
where position = any($1)
    and scope = any($2)";

/// Removes dead rows of a scope: $1 scope, $2 how many.
pub(crate) const ERASE_DEAD: &str = "\
-- erase_scope_rows
delete from sync_changes as change
where change.scope = $1
    and change.position = any(array(
        select dead.position
        from sync_changes as dead
        where dead.scope = $1
            and dead.dead_since is not null
        order by dead.scope, dead.position
        limit $2::bigint
    ))";

/// Removes live rows of a scope that no record has: $1 scope, $2 how many. There are none, unless something was damaged.
pub(crate) const ERASE_LIVE: &str = "\
-- erase_scope_rows
delete from sync_changes as change
where change.scope = $1
    and change.position = any(array(
        select live.position
        from sync_changes as live
        where live.scope = $1
            and live.dead_since is null
        order by live.scope, live.app_id, live.position
        limit $2::bigint
    ))";

/// Those of some records that have a claim; arrays: $1 scopes, $2 apps, $3 tables, $4 records; $5 how the claim begins.
pub(crate) const CLAIMED: &str = "\
-- erase_rows
select kept.scope, kept.app_id, kept.table_name, kept.record_id, kept.state
from (
    select distinct wanted.*
    from unnest($1::text[], $2::text[], $3::text[], $4::text[]) as wanted (scope, app_id, table_name, record_id)
) as written
cross join lateral (
    select *
    from sync_records as record
    where record.scope = written.scope
        and record.app_id = written.app_id
        and record.table_name = written.table_name
        and record.record_id = written.record_id
    limit 1
) as kept
where strpos(kept.state, $5) > 0";

/// Records of a scope behind a place, with the text of those that have a claim: $1 scope; $2 app, $3 table and $4 record of
/// the place, $5 how the claim begins, $6 how many records, $7 how many bytes of text.
pub(crate) const CLAIMS: &str = "\
-- erase_claims
select
    page.scope,
    page.app_id,
    page.table_name,
    page.record_id,
    case when page.bytes > 0 then page.state end
from (
    select
        found.*,
        sum(found.bytes) over (
            order by found.scope, found.app_id, found.table_name, found.record_id
            rows unbounded preceding
        ) as running
    from (
        select
            record.*,
            case when strpos(record.state, $5) > 0 then octet_length(record.state) else 0 end as bytes
        from sync_records as record
        where record.scope = $1
            and (record.scope, record.app_id, record.table_name, record.record_id) > ($1, $2, $3, $4)
        order by record.scope, record.app_id, record.table_name, record.record_id
        limit $6::bigint
    ) as found
) as page
where page.running - page.bytes <= $7::bigint
order by page.scope, page.app_id, page.table_name, page.record_id";

/// Writes the texts of records over, one array per column: $1 scopes, $2 apps, $3 tables, $4 records, $5 texts.
pub(crate) const RESTATE: &str = "\
-- restate
update sync_records as kept
set state = new.state
from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[])
    as new (scope, app_id, table_name, record_id, state)
where kept.scope = new.scope
    and kept.app_id = new.app_id
    and kept.table_name = new.table_name
    and kept.record_id = new.record_id";

/// Forgets that a user had access to a space: $1 user, $2 space.
pub(crate) const FORGET_GRANT: &str = "\
-- erase_claims
delete from sync_grants
where user_id = $1
    and space_id = $2
    and role is null";
