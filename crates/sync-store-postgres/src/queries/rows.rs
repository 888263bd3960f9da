//! The statements of the rows dialect.
//!
//! Ranges name the scope by itself and compare the rest of the index, `scope = … and (app_id, position) > (…)`: the second wall
//! says what the scope is equal to, too, and a scan that knows that begins at the scope, whatever else a comparison of whole rows
//! says. Without `position` alone in a condition no plan can walk the log by it.

/// What is remembered of changes of a device: $1 user, $2 device, $3 its numbers.
pub(crate) const UPLOADS: &str = "\
-- load_upload
select upload.source_change_id, upload.digest, upload.version
from unnest($3::bigint[]) as wanted (id)
cross join lateral (
    select source_change_id, digest, version
    from sync_uploads
    where user_id = $1
        and source_id = $2
        and source_change_id = wanted.id
    limit 1
) as upload";

/// Remembers changes of a device, over what was remembered of the same numbers: $1 user, $2 device, $3 time of receipt;
/// arrays: $4 its numbers, $5 digests, $6 versions.
pub(crate) const KEEP_UPLOADS: &str = "\
-- write_upload
insert into sync_uploads (user_id, source_id, created_at, source_change_id, digest, version)
select $1, $2, $3, new.*
from unnest($4::bigint[], $5::bigint[], $6::bigint[]) as new
on conflict (user_id, source_id, source_change_id) do update
set
    digest = excluded.digest,
    version = excluded.version,
    created_at = excluded.created_at";

/// Forgets what was uploaded at or before $1, $2 changes at most.
pub(crate) const FORGET_UPLOADS: &str = "\
-- forget_uploads
delete from sync_uploads
where ctid = any(array(
    select ctid
    from sync_uploads
    where created_at <= $1
    order by created_at
    limit $2::bigint
))";

/// Forgets all that a user has uploaded: $1 user.
pub(crate) const ERASE_UPLOADS: &str = "\
-- erase_user
delete from sync_uploads
where user_id = $1";

/// Where a personal scope stands for rows clients, and where an import has ended: $1 scope, $2 app (null: all).
pub(crate) const ROWS_STANDING: &str = "\
-- rows_standing
with recursive app (id) as (
    select coalesce($2::text, (
        select change.app_id
        from sync_changes as change
        where change.scope = $1
            and change.dead_since is null
        order by change.scope, change.app_id, change.position
        limit 1
    ))
    union all
    select (
        select change.app_id
        from sync_changes as change
        where change.scope = $1
            and change.app_id > app.id
            and change.dead_since is null
        order by change.scope, change.app_id, change.position
        limit 1
    )
    from app
    where app.id is not null
        and $2::text is null
)
select
    coalesce(max(newest.position), 0),
    (
        select import.until
        from sync_import as import
        where import.only_row
    ),
    array_agg(app.id) filter (where app.id is not null)
from app
left join lateral (
    select change.position
    from sync_changes as change
    where change.scope = $1
        and (change.app_id, change.position) <= (app.id, 9223372036854775807)
        and (change.app_id, change.position) >= (app.id, 0)
        and change.dead_since is null
    order by change.scope desc, change.app_id desc, change.position desc
    limit 1
) as newest on true";

/// Records of an app by the position of their newest live row: $1 scope, $2 app, $3 after, $4 until, $5 how many, $6 the device
/// whose uploads are left out (null: nobody's). The outer order leaves the scope out, which is constant there and sorts nothing:
/// with it the planner would not see that rows come in order already, and sort all there are. Ids that only look like UUIDs are
/// for the reader to pass over.
pub(crate) const ROWS: &str = "\
-- find_rows
select
    change.position,
    change.table_name,
    change.record_id,
    change.op,
    change.client_id,
    change.source_change_id,
    change.to_everyone,
    change.created_at,
    record.version,
    record.state,
    case when cardinality(record.rows) > 1 then (
        select array_agg(other.data order by other.position)
        from sync_changes as other
        where other.position = any(record.rows[:cardinality(record.rows) - 1])
            and other.scope = $1
    ) end,
    change.data
from (
    select *
    from sync_changes as change
    where change.scope = $1
        and (change.app_id, change.position) > ($2, $3::bigint)
        and (change.app_id, change.position) <= ($2, $4::bigint)
        and change.dead_since is null
        and (
            change.client_id <> $6 or change.source_change_id is null or change.to_everyone or $6 is null
        )
        and change.record_id like '________-____-____-____-____________'
    order by change.scope, change.app_id, change.position
) as change
cross join lateral (
    select kept.version, kept.state, kept.rows
    from sync_records as kept
    where kept.scope = $1
        and kept.app_id = change.app_id
        and kept.table_name = change.table_name
        and kept.record_id = change.record_id
    limit 1
) as record
where record.rows[cardinality(record.rows)] = change.position
order by change.app_id, change.position
limit $5::bigint";

/// Records by their keys: $1 scope, $2 app; arrays: $3 tables, $4 records. Columns as of [`ROWS`].
pub(crate) const ROWS_BY_KEY: &str = "\
-- find_rows_by_key
select
    change.position,
    change.table_name,
    change.record_id,
    change.op,
    change.client_id,
    change.source_change_id,
    change.to_everyone,
    change.created_at,
    record.version,
    record.state,
    case when cardinality(record.rows) > 1 then (
        select array_agg(other.data order by other.position)
        from sync_changes as other
        where other.position = any(record.rows[:cardinality(record.rows) - 1])
            and other.scope = $1
    ) end,
    change.data
from unnest($3::text[], $4::text[]) as wanted (table_name, record_id)
cross join lateral (
    select kept.version, kept.state, kept.rows
    from sync_records as kept
    where kept.scope = $1
        and kept.app_id = $2
        and kept.table_name = wanted.table_name
        and kept.record_id = wanted.record_id
    limit 1
) as record
cross join lateral (
    select *
    from sync_changes as newest
    where newest.position = record.rows[cardinality(record.rows)]
        and newest.scope = $1
    limit 1
) as change";
